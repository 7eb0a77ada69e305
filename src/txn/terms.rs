//! The digest terms of the records last written, so that an overwrite needs no read.

use std::collections::HashMap;

use crate::format::key::Key;

/// Terms in each half: what a hash table of 32 Ki slots takes, about 2.5 MiB.
const HALF_LEN: usize = 28 << 10;

/// Terms of records as the store holds them, in two halves: when the young one is full it becomes
/// the old one, and what was not written since is forgotten.
#[derive(Default)]
pub(super) struct Terms {
    young: HashMap<Key, [u8; 32]>,
    old: HashMap<Key, [u8; 32]>,
}

impl Terms {
    pub(super) fn get(&self, key: &Key) -> Option<&[u8; 32]> {
        self.young.get(key).or_else(|| self.old.get(key))
    }

    /// Notes what a commit has made of a record; none if it is gone.
    pub(super) fn set(&mut self, key: Key, term: Option<[u8; 32]>) {
        self.old.remove(&key);
        let Some(term) = term else {
            self.young.remove(&key);
            return;
        };
        if self.young.len() >= HALF_LEN && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, term);
    }
}
