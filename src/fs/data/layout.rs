//! Tells readers of the committed state whether it changed under them.
//!
//! A reader looks at extents, pages and blocks one after the other; a flush changes them together.
//! So a reader notes the count of changes before, and reads again if it differs afterwards.

use crate::base::Ino;
use crate::base::sync::{AtomicU64, Ordering};

/// Counters are shared by files of equal hash; more of them only save repeated reads.
const SLOTS: usize = 256;

#[derive(Default)]
struct Slot {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// Counts of layout changes.
pub(super) struct Layout {
    slots: Vec<Slot>,
}

/// A change in progress.
pub(super) struct Change<'a>(&'a Slot);

impl Drop for Change<'_> {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::SeqCst);
    }
}

impl Layout {
    pub(super) fn new() -> Self {
        Self {
            slots: (0..SLOTS).map(|_| Slot::default()).collect(),
        }
    }

    fn slot(&self, ino: Ino) -> &Slot {
        let ix = usize::try_from(ino.0 % SLOTS as u64).expect("less than the number of slots");
        self.slots.get(ix).expect("less than the number of slots")
    }

    /// Begins a change; it ends when the value is dropped.
    pub(super) fn change(&self, ino: Ino) -> Change<'_> {
        let slot = self.slot(ino);
        slot.begun.fetch_add(1, Ordering::SeqCst);
        Change(slot)
    }

    /// Returns a mark for [`Self::is_unchanged`], or none while a change is in progress.
    pub(super) fn mark(&self, ino: Ino) -> Option<u64> {
        let slot = self.slot(ino);
        let ended = slot.ended.load(Ordering::SeqCst);
        (slot.begun.load(Ordering::SeqCst) == ended).then_some(ended)
    }

    /// Returns true if no change has begun since the mark was taken.
    pub(super) fn is_unchanged(&self, ino: Ino, mark: u64) -> bool {
        self.slot(ino).begun.load(Ordering::SeqCst) == mark
    }
}
