//! A transaction group: the pending records of many operations.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Instant;

use crate::format::key::{KEY_MAX_BYTES, Key};

/// What a group does to a key.
struct Pending {
    /// The new payload; none removes the record.
    payload: Option<Vec<u8>>,
    /// The key is known to be absent before this group.
    fresh: bool,
}

/// Changes that will become durable together.
pub(super) struct Group {
    /// The generation its commit will make.
    pub(super) no: u64,
    /// When its first change came.
    pub(super) opened: Instant,
    /// Payload bytes it holds.
    pub(super) bytes: usize,
    touched: bool,
    map: BTreeMap<Key, Pending>,
}

impl Group {
    pub(super) fn new(no: u64, now: Instant) -> Self {
        Self {
            no,
            opened: now,
            bytes: 0,
            touched: false,
            map: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.map.is_empty() && !self.touched
    }

    /// Makes the group worth a commit even without records: the root itself has changed.
    pub(super) fn touch(&mut self) {
        self.touched = true;
    }

    pub(super) fn get(&self, key: &Key) -> Option<Option<&Vec<u8>>> {
        self.map.get(key).map(|p| p.payload.as_ref())
    }

    pub(super) fn range(&self, keys: Range<Key>) -> impl Iterator<Item = (&Key, Option<&Vec<u8>>)> {
        let range = self.map.range(keys.start..keys.end.max(keys.start));
        range.map(|(k, p)| (k, p.payload.as_ref()))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, Option<&Vec<u8>>, bool)> {
        self.map
            .iter()
            .map(|(k, p)| (k, p.payload.as_ref(), p.fresh))
    }

    pub(super) fn len(&self) -> usize {
        self.map.len()
    }

    pub(super) fn put(&mut self, key: Key, payload: Vec<u8>, fresh: bool) {
        self.bytes += payload.len() + KEY_MAX_BYTES;
        match self.map.get_mut(&key) {
            // What was absent before the group stays so, whatever the group did in between.
            Some(p) => {
                self.bytes -= p.payload.as_ref().map_or(0, Vec::len) + KEY_MAX_BYTES;
                p.payload = Some(payload);
            }
            None => drop(self.map.insert(
                key,
                Pending {
                    payload: Some(payload),
                    fresh,
                },
            )),
        }
    }

    pub(super) fn delete(&mut self, key: Key) {
        // Somebody may wait for a change that is taken back here: the group stays one to commit.
        self.touched = true;
        if let Some(p) = self.map.get_mut(&key) {
            self.bytes -= p.payload.as_ref().map_or(0, Vec::len);
            p.payload = None;
            if p.fresh {
                self.bytes -= KEY_MAX_BYTES;
                self.map.remove(&key);
            }
        } else {
            self.bytes += KEY_MAX_BYTES;
            self.map.insert(
                key,
                Pending {
                    payload: None,
                    fresh: false,
                },
            );
        }
    }
}
