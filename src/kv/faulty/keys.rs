//! The key-value store with faults.

use crate::base::sync::{Arc, AtomicU64, Mutex, Ordering};
use crate::kv::{Change, Family, Kv, KvError, KvRead, Pair};

use super::Faults;
use super::faults::{Fate, no_power};

/// A key-value store with faults.
pub struct FaultyKv {
    inner: Arc<dyn Kv>,
    faults: Arc<Faults>,
    /// For each unsynced batch, oldest first, what takes it back.
    undo: Mutex<Vec<Vec<Change>>>,
    /// Calls of [`Kv::flush_later`].
    pub flushes_begun: AtomicU64,
}

impl FaultyKv {
    pub(super) fn new(inner: Arc<dyn Kv>, faults: Arc<Faults>) -> Self {
        Self {
            inner,
            faults,
            undo: Mutex::default(),
            flushes_begun: AtomicU64::new(0),
        }
    }

    fn undo_of(&self, batch: &[Change]) -> Result<Vec<Change>, KvError> {
        batch
            .iter()
            .map(|change| {
                let (Change::Put(f, k, _) | Change::Delete(f, k)) = change;
                let old = self.inner.get(*f, k)?;
                Ok(match old {
                    Some(v) => Change::Put(*f, k.clone(), v),
                    None => Change::Delete(*f, k.clone()),
                })
            })
            .collect()
    }

    pub(super) fn lose_unsynced(&self) {
        let mut undo = self.undo.lock();
        let kept = self.faults.below(undo.len() + 1);
        for batch in undo.drain(..).skip(kept).rev() {
            self.inner
                .write(batch, true)
                .expect("the wrapped store of a test works");
        }
    }
}

impl KvRead for FaultyKv {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.faults.read("get")?;
        self.inner.get(family, key)
    }

    fn multi_get(&self, family: Family, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        self.faults.read("multi_get")?;
        self.inner.multi_get(family, keys)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Pair>, KvError> {
        self.faults.read("scan")?;
        self.faults.call_hook();
        self.inner.scan(family, from, to, limit)
    }

    fn for_each(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        self.faults.read("scan")?;
        self.inner.for_each(family, from, to, each)
    }
}

impl Kv for FaultyKv {
    fn write(&self, batch: Vec<Change>, sync: bool) -> Result<(), KvError> {
        let bytes: usize = batch.iter().map(Change::encoded_bytes).sum();
        let fate = self.faults.change("write", bytes as u64)?;
        if fate == Fate::Cut && self.faults.coin() {
            return Err(no_power("write"));
        }
        let mut undo = self.undo.lock();
        let back = self.undo_of(&batch)?;
        self.inner.write(batch, sync)?;
        if fate == Fate::Cut || sync {
            // The log is a sequence: what is before a batch that has survived has survived too.
            undo.clear();
        } else {
            undo.push(back);
        }
        match fate {
            Fate::Done => Ok(()),
            Fate::Cut => Err(no_power("write")),
        }
    }

    fn recover(&self) -> Result<(), KvError> {
        self.faults.read("recover")?;
        self.inner.recover()
    }

    fn snapshot(&self) -> Result<Arc<dyn KvRead>, KvError> {
        self.faults.read("snapshot")?;
        self.inner.snapshot()
    }

    fn flush(&self) -> Result<(), KvError> {
        if self.faults.change("flush", 0)? == Fate::Cut {
            return Err(no_power("flush"));
        }
        self.undo.lock().clear();
        self.inner.flush()
    }

    fn flush_later(&self) {
        self.flushes_begun.fetch_add(1, Ordering::Relaxed);
        self.inner.flush_later();
    }

    fn compact(&self) -> Result<(), KvError> {
        self.flush()?;
        self.inner.compact()
    }

    fn is_read_only(&self) -> bool {
        self.inner.is_read_only()
    }

    fn memory_bytes(&self) -> u64 {
        self.inner.memory_bytes()
    }
}
