//! What is known of one pack: its account, the ids in it, and what is dead in it.
//!
//! The records of a pack change only through an operation, together with this mirror of them, so
//! that both always tell the latest state.

use crate::base::{ContentId, Epoch, PackNo};
use crate::format::account::PackAccount;
use crate::format::key::Key;
use crate::format::punch::{Range, encode_ids, encode_ranges};
use crate::txn::Op;

use super::ranges::RangeSet;

/// Ids in one list record: it is written again with each group that adds one, so it is short.
pub(super) const LIST_IDS: usize = 32;

/// Ranges in one record of dead ranges at most.
pub(super) const PUNCH_RANGES: usize = 128;

/// A record of dead ranges.
pub(super) struct Dead {
    pub(super) seq: u32,
    /// The newest group in which something of it died.
    pub(super) group: u64,
    pub(super) ranges: RangeSet,
}

/// A pack.
pub(super) struct Pack {
    pub(super) no: PackNo,
    pub(super) account: PackAccount,
    /// Blocks are appended to it.
    pub(super) is_open: bool,
    /// Blocks in it that somebody may still name or read without a record: nothing is punched and
    /// it is neither sealed nor removed before there are none.
    pub(super) users: usize,
    /// Copying it failed, or its file is not whole: it stays as it is until the next start.
    pub(super) is_stuck: bool,
    /// The ids of its last list record.
    pub(super) last_ids: Vec<ContentId>,
    pub(super) dead: Vec<Dead>,
    /// Dead, and in no record yet: found again at the next start as long as the pack is not sealed.
    pub(super) unrecorded: Vec<Range>,
}

impl Pack {
    pub(super) fn new(no: PackNo, epoch: Epoch) -> Self {
        Self::with_account(no, PackAccount::new(epoch))
    }

    pub(super) fn with_account(no: PackNo, account: PackAccount) -> Self {
        Self {
            no,
            account,
            is_open: false,
            users: 0,
            is_stuck: false,
            last_ids: Vec::new(),
            dead: Vec::new(),
            unrecorded: Vec::new(),
        }
    }

    pub(super) fn put_account(&self, op: &mut Op<'_>) {
        op.put(Key::account(self.no), self.account.encode());
    }

    /// Counts a block that a record names from now on, and lists it.
    pub(super) fn settle(&mut self, op: &mut Op<'_>, id: ContentId, sealed_len: u32) {
        self.account.live += sealed_len;
        assert!(self.account.live + self.account.punched <= self.account.written);
        if self.account.lists == 0 || self.last_ids.len() == LIST_IDS {
            self.account.lists += 1;
            self.last_ids.clear();
        }
        self.last_ids.push(id);
        let key = Key::pack_list(self.no, self.account.lists - 1);
        op.put(key, encode_ids(&self.last_ids));
        self.put_account(op);
    }

    /// Counts a block that no record names any more as dead.
    pub(super) fn bury(&mut self, op: &mut Op<'_>, range: Range) {
        // Records that do not agree are found by the scan of the digests, and nothing is punched.
        self.account.live = self.account.live.saturating_sub(range.len);
        self.record_dead(op, range);
        self.put_account(op);
    }

    /// Puts dead ranges into records; the caller puts the account.
    pub(super) fn record_dead(&mut self, op: &mut Op<'_>, range: Range) {
        let group = op.group();
        let full = |d: &Dead| d.group != group || d.ranges.len() >= PUNCH_RANGES;
        if self.dead.last().is_none_or(full) {
            self.dead.push(Dead {
                seq: self.account.next_punch,
                group,
                ranges: RangeSet::default(),
            });
            self.account.next_punch += 1;
        }
        let last = self.dead.last_mut().expect("there is one now");
        last.ranges.insert(range);
        let ranges: Vec<Range> = last.ranges.iter().collect();
        op.put(Key::punch(self.no, last.seq), encode_ranges(&ranges));
    }

    /// Puts what is dead and in no record yet into records; the caller puts the account.
    pub(super) fn record_unrecorded(&mut self, op: &mut Op<'_>) {
        for range in std::mem::take(&mut self.unrecorded) {
            self.record_dead(op, range);
        }
    }

    /// Returns the bytes the pack has in its file system.
    pub(super) fn stored_bytes(&self) -> u64 {
        u64::from(self.account.written - self.account.punched)
    }
}
