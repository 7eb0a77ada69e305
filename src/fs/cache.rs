//! A bounded cache of decoded records that never shows an older state than the newest operation.

use std::collections::HashMap;
use std::hash::Hash;

use crate::base::sync::{Arc, AtomicU64, Mutex, Ordering};

/// Decoded records in two halves: when the young one is full it becomes the old one, and what was
/// not used since is forgotten. Only operations change it, so inside one it is up to date.
pub(super) struct RecordCache<K, V> {
    halves: Mutex<Halves<K, V>>,
    half_len: usize,
    /// Counts changes, so that a reader that began before one does not bring back the old state.
    changes: AtomicU64,
}

struct Halves<K, V> {
    young: HashMap<K, Arc<V>>,
    old: HashMap<K, Arc<V>>,
}

impl<K: Eq + Hash + Copy, V> RecordCache<K, V> {
    /// Returns an empty cache of at most twice `half_len` records.
    pub(super) fn new(half_len: usize) -> Self {
        Self {
            halves: Mutex::new(Halves {
                young: HashMap::new(),
                old: HashMap::new(),
            }),
            half_len,
            changes: AtomicU64::new(0),
        }
    }

    /// Returns a mark to hand to [`Self::insert_if_unchanged`]; take it before reading the store.
    pub(super) fn mark(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    pub(super) fn get(&self, key: K) -> Option<Arc<V>> {
        let mut h = self.halves.lock();
        if let Some(v) = h.young.get(&key) {
            return Some(Arc::clone(v));
        }
        let v = h.old.remove(&key)?;
        self.insert(&mut h, key, Arc::clone(&v));
        Some(v)
    }

    /// Sets what an operation has made of a record; none if it is gone.
    pub(super) fn set(&self, key: K, value: Option<&Arc<V>>) {
        let mut h = self.halves.lock();
        self.changes.fetch_add(1, Ordering::Release);
        h.old.remove(&key);
        match value {
            Some(v) => self.insert(&mut h, key, Arc::clone(v)),
            None => drop(h.young.remove(&key)),
        }
    }

    /// Keeps what a reader has found, unless an operation has changed anything since `mark`.
    pub(super) fn insert_if_unchanged(&self, key: K, value: &Arc<V>, mark: u64) {
        let mut h = self.halves.lock();
        if self.changes.load(Ordering::Acquire) == mark {
            self.insert(&mut h, key, Arc::clone(value));
        }
    }

    fn insert(&self, h: &mut Halves<K, V>, key: K, value: Arc<V>) {
        if h.young.len() >= self.half_len {
            h.old = std::mem::take(&mut h.young);
        }
        h.young.insert(key, value);
    }
}
