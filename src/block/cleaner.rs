//! The cleaner: gives the space of dead blocks back (DESIGN 5.3).
//!
//! It looks once a second at the packs in which something has changed: seals full ones, punches what
//! is dead, copies forward what little lives in a pack, removes what is empty. Nothing is destroyed
//! before this mount's scan has verified all set digests, and nothing that a reader may still see.

use std::time::Duration;

use crate::base::PackNo;
use crate::base::sync::{Arc, Ordering};
use crate::format::key::Key;
use crate::sealed::SealedPacks;

use super::pack::{PUNCH_RANGES, Pack};
use super::ranges::RangeSet;
use super::resume::{listed_ids, live_blocks};
use super::state::Stop;
use super::{BlockError, Shared, failed};

/// How often the cleaner looks.
const TICK: Duration = Duration::from_secs(1);

/// A pack with less than this share alive is copied forward.
const SPARSE_SHARE: u64 = 4;

/// The same where holes cannot be punched, so that only copying gives space back.
const SPARSE_SHARE_WITHOUT_HOLES: u64 = 2;

/// Records of dead ranges of a pack that are made fewer, if that helps, with nothing to punch.
const MERGE_RECORDS: usize = 64;

/// What the cleaner can do with a pack.
#[derive(Debug, PartialEq, Eq)]
enum Task {
    /// Nothing before something changes in it.
    Rest,
    /// Nothing now: something in it is still in use.
    Wait,
    Seal,
    Punch(Hole),
    Remove,
    Copy,
}

/// What to punch.
#[derive(Debug, PartialEq, Eq)]
struct Hole {
    /// The records it comes from.
    seqs: Vec<u32>,
    whole: RangeSet,
    edges: RangeSet,
}

/// What the cleaner remembers between its looks.
#[derive(Default)]
pub(super) struct Cleaning {
    /// Files whose records are gone, and the group that removed those.
    removed: Vec<(PackNo, u64)>,
    /// Stores seen at the last look.
    stores: u64,
    no_holes: bool,
}

impl Cleaning {
    /// Starts with files that no record names.
    pub(super) fn new(strays: Vec<PackNo>) -> Self {
        Self {
            removed: strays.into_iter().map(|no| (no, 0)).collect(),
            ..Self::default()
        }
    }
}

impl Shared {
    /// Cleans until the store is closed.
    pub(super) fn run_cleaner(self: &Arc<Self>) {
        let mut told = String::new();
        loop {
            {
                let mut state = self.state.lock();
                if state.stop == Stop::No {
                    self.wake_cleaner.wait_for(&mut state, TICK);
                }
                if state.stop != Stop::No {
                    return;
                }
            }
            if let Err(e) = self.clean() {
                if self.txn.poison().is_some() {
                    return;
                }
                // The same is tried, and fails, at every look: once is enough to know.
                let failure = e.to_string();
                if failure != told {
                    eprintln!(
                        "coffer: ERROR the space of dead blocks is not given back: {failure}"
                    );
                    told = failure;
                }
            }
        }
    }

    /// Does what can be done now.
    ///
    /// # Errors
    /// When the store fails; what is undone is tried at the next look.
    pub(super) fn clean(self: &Arc<Self>) -> Result<(), BlockError> {
        let mut cleaning = self.cleaning.lock();
        let has_room = self.reserve.restore(&self.packs).map_err(failed)?;
        if !self.txn.is_verified() {
            return Ok(());
        }
        if !has_room {
            // What was deleted comes back as soon as a commit has made it so.
            self.txn.commit(Box::new(drop));
        }
        let stores = self.stores.load(Ordering::Relaxed);
        let is_quiet = std::mem::replace(&mut cleaning.stores, stores) == stores;
        let mut result = self.remove_files(&mut cleaning);
        let packs: Vec<PackNo> = self.state.lock().todo.iter().copied().collect();
        for no in packs {
            if self.state.lock().stop != Stop::No {
                break;
            }
            result = result.and(self.tend(no, &mut cleaning, is_quiet || !has_room));
        }
        result
    }

    /// Works on one pack until there is nothing to do now.
    fn tend(
        self: &Arc<Self>,
        no: PackNo,
        cleaning: &mut Cleaning,
        may_copy: bool,
    ) -> Result<(), BlockError> {
        loop {
            let task = {
                let mut state = self.state.lock();
                let task = state
                    .packs
                    .get(&no)
                    .map(|p| self.task(p, cleaning.no_holes));
                let task = task.unwrap_or(Task::Rest);
                if task == Task::Rest {
                    state.todo.remove(&no);
                }
                task
            };
            match task {
                Task::Copy if may_copy => self.copy_forward(no)?,
                Task::Rest | Task::Wait | Task::Copy => return Ok(()),
                Task::Seal => self.seal_pack(no)?,
                Task::Punch(hole) => {
                    if !self.punch(no, &hole)? {
                        cleaning.no_holes = true;
                    }
                }
                Task::Remove => {
                    if let Some(group) = self.retire(no)? {
                        cleaning.removed.push((no, group));
                    }
                }
            }
        }
    }

    fn task(&self, pack: &Pack, no_holes: bool) -> Task {
        if pack.is_stuck {
            return Task::Rest;
        }
        if pack.users > 0 {
            return Task::Wait;
        }
        if !pack.is_open && pack.account.live == 0 {
            return Task::Remove;
        }
        if !pack.is_open && !pack.account.sealed {
            return Task::Seal;
        }
        let (mut seqs, mut all, mut waits) = (Vec::new(), RangeSet::default(), false);
        for dead in &pack.dead {
            if self.txn.is_unreachable(dead.group) {
                seqs.push(dead.seq);
                dead.ranges.iter().for_each(|r| all.insert(r));
            } else {
                waits = true;
            }
        }
        let (whole, edges) = all.whole_units();
        let is_wordy = seqs.len() >= MERGE_RECORDS && edges.len() * 2 < seqs.len() * PUNCH_RANGES;
        if !no_holes && (whole.len() > 0 || is_wordy) {
            return Task::Punch(Hole { seqs, whole, edges });
        }
        if waits {
            return Task::Wait;
        }
        let share = if no_holes {
            SPARSE_SHARE_WITHOUT_HOLES
        } else {
            SPARSE_SHARE
        };
        let is_sparse = u64::from(pack.account.live) * share < u64::from(pack.account.written);
        if is_sparse && !pack.is_open {
            return Task::Copy;
        }
        Task::Rest
    }

    /// Puts all that is dead in a full pack into records.
    fn seal_pack(&self, no: PackNo) -> Result<(), BlockError> {
        let mut op = self.txn.begin()?;
        let mut state = self.state.lock();
        let pack = state.pack(no).expect("only the cleaner removes packs");
        pack.record_unrecorded(&mut op);
        pack.account.sealed = true;
        pack.last_ids = Vec::new();
        pack.put_account(&mut op);
        Ok(())
    }

    /// Punches, then forgets the dead ranges but for their edges. False where holes are not possible.
    fn punch(&self, no: PackNo, hole: &Hole) -> Result<bool, BlockError> {
        for range in hole.whole.iter() {
            if !self.packs.punch(no, range).map_err(failed)? {
                return Ok(false);
            }
        }
        if hole.whole.len() > 0 {
            // Else a power loss could bring the blocks back after their records have gone.
            self.packs.sync(no).map_err(failed)?;
        }
        let mut op = self.txn.begin()?;
        let mut state = self.state.lock();
        let pack = state.pack(no).expect("only the cleaner removes packs");
        pack.dead.retain(|d| !hole.seqs.contains(&d.seq));
        for seq in &hole.seqs {
            op.delete(Key::punch(no, *seq));
        }
        for edge in hole.edges.iter() {
            pack.record_dead(&mut op, edge);
        }
        let account = &mut pack.account;
        account.punched = (account.punched + hole.whole.bytes())
            .min(account.written.saturating_sub(account.live));
        pack.put_account(&mut op);
        Ok(true)
    }

    /// Removes the records of an empty pack and returns the group that does so; its file goes once
    /// that is durable.
    fn retire(&self, no: PackNo) -> Result<Option<u64>, BlockError> {
        let listed = self.ids_in(no)?;
        if !live_blocks(&self.txn, no, &listed)?.is_empty() {
            // The account is wrong: keep everything.
            eprintln!("coffer: ERROR C-SETDIGEST: pack {no} is not empty as its account says");
            self.mark_stuck(no);
            return Ok(None);
        }
        let mut op = self.txn.begin()?;
        let mut state = self.state.lock();
        let Some(pack) = state.packs.remove(&no) else {
            return Ok(None);
        };
        state.todo.remove(&no);
        op.delete(Key::account(no));
        (0..pack.account.lists).for_each(|n| op.delete(Key::pack_list(no, n)));
        let seqs = pack.dead.iter().map(|d| d.seq);
        seqs.for_each(|seq| op.delete(Key::punch(no, seq)));
        Ok(Some(op.group()))
    }

    /// Returns the content ids listed for a pack.
    pub(super) fn ids_in(&self, no: PackNo) -> Result<Vec<crate::base::ContentId>, BlockError> {
        let lists = self.state.lock().packs.get(&no).map(|p| p.account.lists);
        listed_ids(&self.txn, no, lists.unwrap_or(0))
    }

    pub(super) fn mark_stuck(&self, no: PackNo) {
        if let Some(pack) = self.state.lock().pack(no) {
            pack.is_stuck = true;
        }
    }

    /// Removes the files of packs that nobody can see any more.
    fn remove_files(&self, cleaning: &mut Cleaning) -> Result<(), BlockError> {
        let mut result = Ok(());
        cleaning.removed.retain(|(no, group)| {
            if !self.txn.is_unreachable(*group) {
                return true;
            }
            let done = remove(&self.packs, *no);
            let keep = done.is_err();
            result = std::mem::replace(&mut result, Ok(())).and(done);
            keep
        });
        result
    }
}

fn remove(packs: &SealedPacks, no: PackNo) -> Result<(), BlockError> {
    packs.remove(no).map_err(failed)
}
