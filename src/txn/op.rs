//! An operation in progress on the open group.

use std::cell::RefCell;

use crate::base::sync::{Arc, MutexGuard};
use crate::format::key::Key;
use crate::format::root::Root;

use super::read::scan;
use super::{GROUP_BYTES, State, Txn, TxnError};

/// An operation: its changes land in one group, whole.
///
/// There is no way back: dropping it applies what it has changed. An operation that cannot read the
/// store after its first change is half done, so it poisons the volume, unless it knows better
/// ([`Self::tolerate`]).
pub struct Op<'a> {
    txn: &'a Txn,
    /// Held from the first change on.
    state: Option<MutexGuard<'a, State>>,
    /// Why it is half done, if it is.
    half_done: RefCell<Option<TxnError>>,
    _turn: MutexGuard<'a, ()>,
}

impl<'a> Op<'a> {
    pub(super) fn new(txn: &'a Txn, turn: MutexGuard<'a, ()>) -> Self {
        Self {
            txn,
            state: None,
            half_done: RefCell::default(),
            _turn: turn,
        }
    }

    fn state(&mut self) -> &mut State {
        let txn = self.txn;
        self.state.get_or_insert_with(|| {
            let mut state = txn.state.lock();
            if state.open.is_empty() {
                state.open.opened = txn.clock.monotonic();
            }
            state
        })
    }

    fn look<T>(&self, f: impl FnOnce(&State) -> T) -> T {
        match &self.state {
            Some(state) => f(state),
            None => f(&self.txn.state.lock()),
        }
    }

    fn checked<T>(&self, found: Result<T, TxnError>) -> Result<T, TxnError> {
        if let (Err(e), Some(_)) = (&found, &self.state) {
            self.half_done.replace(Some(e.clone()));
        }
        found
    }

    /// Returns the record at `key`, with what this operation has changed.
    ///
    /// # Errors
    /// When the store fails or the value is not authentic.
    pub fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, TxnError> {
        match self.look(|s| s.pending(key)) {
            Some(pending) => Ok(pending),
            None => {
                let found = self.txn.records.get(key).map_err(TxnError::from);
                Ok(self.checked(found)?.map(|r| r.payload))
            }
        }
    }

    /// Says that the operation is whole although a read has failed in it: what it was read for was
    /// left as it was.
    pub fn tolerate(&self) {
        self.half_done.replace(None);
    }

    /// Returns at most `limit` records with `from <= key < to`, ascending.
    ///
    /// # Errors
    /// When the store fails or a value is not authentic.
    pub fn scan(
        &self,
        from: &Key,
        to: &Key,
        limit: usize,
    ) -> Result<Vec<(Key, Vec<u8>)>, TxnError> {
        // No group closes while an operation lives: what changes in the store meanwhile is at most
        // the closing group, which lies over the store here.
        let pending = self.look(|s| s.pending_range(from, to, limit));
        let records = &self.txn.records;
        self.checked(scan(pending, |from, to, n| records.scan(from, to, n)))
    }

    /// Sets a record.
    pub fn put(&mut self, key: Key, payload: Vec<u8>) {
        self.state().open.put(key, payload, false);
    }

    /// Sets a record that is known not to exist: its commit needs no read.
    pub fn put_new(&mut self, key: Key, payload: Vec<u8>) {
        self.state().open.put(key, payload, true);
    }

    /// Removes a record; an absent one is no error.
    pub fn delete(&mut self, key: Key) {
        self.state().open.delete(key);
    }

    /// Returns the counters that go into the next root.
    pub fn root(&mut self) -> &mut Root {
        let state = self.state();
        state.open.touch();
        &mut state.root
    }

    /// Returns the number of the open group.
    #[must_use]
    pub fn group(&self) -> u64 {
        self.look(|s| s.open.no)
    }
}

impl Drop for Op<'_> {
    fn drop(&mut self) {
        let Some(state) = self.state.as_mut() else {
            return;
        };
        let cause = match self.half_done.get_mut() {
            Some(e) => Some(e.to_string()),
            None => std::thread::panicking().then(|| "a panic".to_owned()),
        };
        if let Some(cause) = cause {
            let cause = format!("an operation could not be finished: {cause}");
            self.txn.set_poison(state, &Arc::from(cause));
        }
        if state.open.bytes > GROUP_BYTES {
            state.asked = true;
        }
        self.txn.note_congestion(state);
        if state.asked || state.asleep {
            self.txn.wake.notify_all();
        }
    }
}
