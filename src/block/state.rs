//! What the content store keeps in memory: blocks that somebody holds, packs, and what is to land.
//!
//! Locks: the state's one mutex is below the open group (an operation may take it; nobody begins an
//! operation or asks the transactions for a record under it) and above nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use crate::base::sync::Arc;
use crate::base::{ContentId, PackNo};
use crate::format::blockref::{Place, Shape};
use crate::format::punch::Range;

use super::frames::SealedBlock;
use super::pack::Pack;
use super::{BlockError, Landed};

/// Where a block lies, and how it is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Location {
    pub(super) place: Place,
    pub(super) shape: Shape,
}

impl Location {
    pub(super) fn range(&self) -> Range {
        Range {
            offset: self.place.offset,
            len: self.shape.sealed_len(),
        }
    }
}

/// How far a block that somebody holds has come.
#[derive(Clone)]
pub(super) enum Stage {
    /// Nobody knows yet whether the store has it.
    Unknown,
    /// On its way to a pack.
    InFlight(Arc<SealedBlock>),
    /// Its pack could not be written.
    Failed(Arc<SealedBlock>),
    /// On the medium, and named by no record.
    Landed(Location),
    /// Named by a record of the latest state.
    Referenced,
    /// No longer named by a record; its bytes are kept while it is held.
    Gone(Location),
}

/// A block that somebody holds.
pub(super) struct Hold {
    pub(super) handles: usize,
    pub(super) stage: Stage,
}

/// A block on its way to a pack.
pub(super) struct Queued {
    pub(super) block: Arc<SealedBlock>,
    /// It is a copy for the cleaner, which nobody holds.
    pub(super) is_copy: bool,
}

/// What the threads are told; each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stop {
    No,
    /// The cleaner ends.
    Cleaner,
    /// Land everything, then end.
    Close,
    /// End at once: the volume is dropped as a crash would.
    Abandon,
}

/// The state of an open content store.
pub(super) struct State {
    pub(super) holds: HashMap<ContentId, Hold>,
    pub(super) packs: BTreeMap<PackNo, Pack>,
    /// Packs the cleaner should look at.
    pub(super) todo: BTreeSet<PackNo>,
    /// Bounded by the callers, who look at the unlanded bytes before they go on.
    pub(super) queue: VecDeque<Queued>,
    pub(super) queued_bytes: usize,
    /// The pack thread has blocks it has not synced.
    pub(super) is_landing: bool,
    pub(super) waiters: Vec<Landed>,
    /// A failure that no waiter has been told.
    pub(super) failure: Option<BlockError>,
    /// Copies that have landed, for the cleaner.
    pub(super) copied: HashMap<ContentId, Location>,
    pub(super) blocks: u64,
    pub(super) stop: Stop,
}

impl State {
    pub(super) fn new(packs: BTreeMap<PackNo, Pack>, blocks: u64) -> Self {
        Self {
            todo: packs.keys().copied().collect(),
            packs,
            blocks,
            holds: HashMap::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            is_landing: false,
            waiters: Vec::new(),
            failure: None,
            copied: HashMap::new(),
            stop: Stop::No,
        }
    }

    /// Returns a pack that a location or an account names.
    pub(super) fn pack(&mut self, no: PackNo) -> Option<&mut Pack> {
        self.packs.get_mut(&no)
    }

    pub(super) fn enqueue(&mut self, queued: Queued) {
        self.queued_bytes += queued.block.bytes.len();
        self.queue.push_back(queued);
    }

    /// Takes back one use of a location that no record names.
    pub(super) fn unuse(&mut self, location: &Location) {
        if let Some(pack) = self.packs.get_mut(&location.place.pack) {
            pack.users -= 1;
            self.todo.insert(pack.no);
        }
    }

    /// The same for one that never had a record: its bytes are dead.
    pub(super) fn forsake(&mut self, location: &Location) {
        if let Some(pack) = self.packs.get_mut(&location.place.pack) {
            pack.unrecorded.push(location.range());
        }
        self.unuse(location);
    }

    /// Gives a handle back; with the last one the block is forgotten.
    pub(super) fn let_go(&mut self, id: &ContentId) {
        let hold = self.holds.get_mut(id).expect("a handle keeps its hold");
        hold.handles -= 1;
        if hold.handles > 0 {
            return;
        }
        match self.holds.remove(id).map(|h| h.stage) {
            Some(Stage::Landed(at)) => self.forsake(&at),
            Some(Stage::Gone(at)) => self.unuse(&at),
            _ => {}
        }
    }
}
