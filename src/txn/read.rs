//! Reads of the latest acknowledged state: the open group over the closing one over the store.
//!
//! The groups are looked at under the lock, the store without it. A commit may end in between: what
//! the closing group held is then found in the store as well, and the group still lies over it.

use crate::base::sync::Arc;
use crate::format::key::Key;
use crate::sealed::{Record, SealedError};

use super::group::Group;
use super::{State, Txn, TxnError};

/// What the groups do to a range of keys.
pub(super) struct PendingRange {
    from: Key,
    to: Key,
    limit: usize,
    closing: Option<Arc<Group>>,
    open: Vec<(Key, Option<Vec<u8>>)>,
}

impl State {
    /// Copies what the open group does to the first records of a range. The range may come back
    /// shorter: it then ends after `limit` records of that group.
    pub(super) fn pending_range(&self, from: &Key, to: &Key, limit: usize) -> PendingRange {
        let (mut open, mut live, mut to) = (Vec::new(), 0, *to);
        for (key, value) in self.open.range(*from..to) {
            if live == limit {
                to = *key;
                break;
            }
            live += usize::from(value.is_some());
            open.push((*key, value.cloned()));
        }
        PendingRange {
            from: *from,
            to,
            limit,
            closing: self.closing.clone(),
            open,
        }
    }
}

/// Merges pending changes over the pairs that `stored` returns for a range.
pub(super) fn scan(
    pending: PendingRange,
    stored: impl Fn(&Key, &Key, usize) -> Result<Vec<(Key, Record)>, SealedError>,
) -> Result<Vec<(Key, Vec<u8>)>, TxnError> {
    let PendingRange {
        mut from,
        to,
        limit,
        closing,
        open,
    } = pending;
    let mut out = Vec::new();
    let mut open = open.into_iter().peekable();
    // Pending removals can hide what the store returns, so a short result is completed.
    while out.len() < limit && from < to {
        let want = limit - out.len();
        let found = stored(&from, &to, want)?;
        let end = match found.last() {
            Some((last, _)) if found.len() >= want => last.successor(),
            _ => to,
        };
        let mut found = found.into_iter().peekable();
        let closing = closing.iter().flat_map(|g| g.range(from..end));
        let mut closing = closing.peekable();
        while out.len() < limit {
            let heads = [
                found.peek().map(|(k, _)| *k),
                closing.peek().map(|(k, _)| **k),
                open.peek().map(|(k, _)| *k),
            ];
            let Some(key) = heads.into_iter().flatten().filter(|k| *k < end).min() else {
                break;
            };
            let below = found.next_if(|(k, _)| *k == key);
            let mut value = below.map(|(_, r)| r.payload);
            if let Some((_, v)) = closing.next_if(|(k, _)| **k == key) {
                value = v.cloned();
            }
            if let Some((_, v)) = open.next_if(|(k, _)| *k == key) {
                value = v;
            }
            out.extend(value.map(|v| (key, v)));
        }
        from = end;
    }
    Ok(out)
}

impl Txn {
    /// Returns the record at `key` in the latest state.
    ///
    /// # Errors
    /// When the store fails or the value is not authentic.
    pub fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TxnError> {
        if let Some(pending) = self.state.lock().pending(key) {
            return Ok(pending);
        }
        Ok(self.records.get(key)?.map(|r| r.payload))
    }

    /// Returns the records at `keys` (all of one family), in their order, each in the latest state
    /// of some moment during the call.
    ///
    /// # Errors
    /// When the store fails or a value is not authentic.
    pub fn multi_get(&self, keys: &[Key]) -> Result<Vec<Option<Vec<u8>>>, TxnError> {
        let found: Vec<Option<Option<Vec<u8>>>> = {
            let state = self.state.lock();
            keys.iter().map(|k| state.pending(k)).collect()
        };
        let missing: Vec<Key> = keys
            .iter()
            .zip(&found)
            .filter(|(_, f)| f.is_none())
            .map(|(k, _)| *k)
            .collect();
        let mut rest = self.records.multi_get(&missing)?.into_iter();
        Ok(found
            .into_iter()
            .map(|f| f.unwrap_or_else(|| rest.next().flatten().map(|r| r.payload)))
            .collect())
    }

    /// Returns at most `limit` records with `from <= key < to` of the latest state, ascending. Both
    /// keys have the same letter.
    ///
    /// # Errors
    /// When the store fails or a value is not authentic.
    pub fn scan(
        &self,
        from: &Key,
        to: &Key,
        limit: usize,
    ) -> Result<Vec<(Key, Vec<u8>)>, TxnError> {
        // Both are of the same moment: no operation and no commit comes between them.
        let (pending, snapshot) = {
            let state = self.state.lock();
            let pending = state.pending_range(from, to, limit);
            (pending, self.records.snapshot()?)
        };
        scan(pending, |from, to, n| {
            self.records.scan_in(&*snapshot, from, to, n)
        })
    }
}
