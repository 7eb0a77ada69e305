//! The packs with faults.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use crate::base::sync::{Arc, Mutex};
use crate::base::{AlignedBuf, PackNo};
use crate::kv::{KvError, Packs};

use super::Faults;
use super::faults::{Fate, no_power};

/// The unit in which a disk keeps or loses what was written.
const SECTOR_BYTES: usize = 512;

/// The unit in which a file grows.
const BLOCK_BYTES: usize = 4096;

/// Packs with faults.
pub struct FaultyPacks {
    inner: Arc<dyn Packs>,
    faults: Arc<Faults>,
    unsynced: Mutex<Unsynced>,
    reserve_bytes: Mutex<u64>,
}

#[derive(Default)]
struct Unsynced {
    /// What the medium holds of the packs changed since their last sync.
    durable: BTreeMap<PackNo, Vec<u8>>,
    /// Packs with a failed sync: what they lacked then, no later sync brings.
    spoiled: BTreeSet<PackNo>,
}

impl FaultyPacks {
    pub(super) fn new(inner: Arc<dyn Packs>, faults: Arc<Faults>) -> Self {
        Self {
            inner,
            faults,
            unsynced: Mutex::default(),
            reserve_bytes: Mutex::new(0),
        }
    }

    fn content(&self, pack: PackNo) -> Result<Option<Vec<u8>>, KvError> {
        let list = self.inner.list()?;
        let Some((_, len)) = list.iter().find(|(p, _)| *p == pack) else {
            return Ok(None);
        };
        let mut bytes = vec![0; usize::try_from(*len).expect("packs of tests are small")];
        self.inner.read_at(pack, 0, &mut bytes)?;
        Ok(Some(bytes))
    }

    /// Does a change that a power cut may undo.
    fn unsynced<T>(
        &self,
        pack: PackNo,
        op: &'static str,
        bytes: u64,
        f: impl FnOnce() -> Result<T, KvError>,
    ) -> Result<T, KvError> {
        let fate = self.faults.change(op, bytes)?;
        {
            let mut unsynced = self.unsynced.lock();
            if let Entry::Vacant(missing) = unsynced.durable.entry(pack) {
                if let Some(content) = self.content(pack)? {
                    missing.insert(content);
                }
            }
        }
        let done = f()?;
        match fate {
            Fate::Done => Ok(done),
            Fate::Cut => Err(no_power(op)),
        }
    }

    pub(super) fn lose_unsynced(&self) {
        let unsynced = std::mem::take(&mut *self.unsynced.lock());
        for (pack, old) in unsynced.durable {
            self.lose(pack, &old)
                .expect("the wrapped store of a test works");
        }
        *self.reserve_bytes.lock() = 0;
    }

    fn lose(&self, pack: PackNo, old: &[u8]) -> Result<(), KvError> {
        let left = match self.content(pack)? {
            None if self.faults.coin() => return Ok(()),
            None => old.to_vec(),
            Some(new) => self.mixture(old, &new),
        };
        self.inner.remove(pack)?;
        self.inner.create(pack)?;
        let whole = left.len().next_multiple_of(BLOCK_BYTES);
        let mut padded = AlignedBuf::with_capacity(whole);
        padded.append(&left);
        padded.resize(whole);
        self.inner.write_at(pack, 0, &padded)?;
        self.inner.truncate(pack, left.len() as u64)?;
        self.inner.sync(pack)
    }

    /// Returns what a disk may hold that was asked to make `new` of `old`.
    fn mixture(&self, old: &[u8], new: &[u8]) -> Vec<u8> {
        let grown = new.len().saturating_sub(old.len()).div_ceil(BLOCK_BYTES);
        let len = if grown > 0 {
            (old.len() + self.faults.below(grown + 1) * BLOCK_BYTES).min(new.len())
        } else if self.faults.coin() {
            old.len()
        } else {
            new.len()
        };
        let mut left = vec![0; len];
        for (n, sector) in left.chunks_mut(SECTOR_BYTES).enumerate() {
            let from = if self.faults.coin() { old } else { new };
            let at = n * SECTOR_BYTES;
            let there = from.get(at..).unwrap_or_default();
            for (to, from) in sector.iter_mut().zip(there) {
                *to = *from;
            }
        }
        left
    }
}

impl Packs for FaultyPacks {
    fn create(&self, pack: PackNo) -> Result<(), KvError> {
        let fate = self.faults.change("create", 0)?;
        if fate == Fate::Cut && self.faults.coin() {
            return Err(no_power("create"));
        }
        self.inner.create(pack)?;
        // The directory is synced: removals before it are durable too.
        let there: BTreeSet<PackNo> = self.inner.list()?.into_iter().map(|(p, _)| p).collect();
        self.unsynced
            .lock()
            .durable
            .retain(|p, _| there.contains(p));
        match fate {
            Fate::Done => Ok(()),
            Fate::Cut => Err(no_power("create")),
        }
    }

    fn write_at(&self, pack: PackNo, offset: u64, data: &[u8]) -> Result<(), KvError> {
        self.unsynced(pack, "write", data.len() as u64, || {
            self.inner.write_at(pack, offset, data)
        })
    }

    fn sync(&self, pack: PackNo) -> Result<(), KvError> {
        let fate = match self.faults.change("sync", 0) {
            Ok(fate) => fate,
            Err(e) => {
                self.unsynced.lock().spoiled.insert(pack);
                return Err(e);
            }
        };
        if fate == Fate::Cut && self.faults.coin() {
            return Err(no_power("sync"));
        }
        self.inner.sync(pack)?;
        let mut unsynced = self.unsynced.lock();
        if !unsynced.spoiled.contains(&pack) {
            unsynced.durable.remove(&pack);
        }
        match fate {
            Fate::Done => Ok(()),
            Fate::Cut => Err(no_power("sync")),
        }
    }

    fn read_at(&self, pack: PackNo, offset: u64, out: &mut [u8]) -> Result<(), KvError> {
        self.faults.read("read")?;
        self.inner.read_at(pack, offset, out)
    }

    fn punch(&self, pack: PackNo, offset: u64, len: u64) -> Result<bool, KvError> {
        let punched = self.unsynced(pack, "punch", 0, || self.inner.punch(pack, offset, len))?;
        if punched {
            self.faults.give_back(len);
        }
        Ok(punched)
    }

    fn truncate(&self, pack: PackNo, len: u64) -> Result<(), KvError> {
        self.unsynced(pack, "truncate", 0, || self.inner.truncate(pack, len))?;
        let mut unsynced = self.unsynced.lock();
        let durable = unsynced.durable.get(&pack).map_or(0, Vec::len);
        if len <= durable as u64 {
            // What a failed sync has missed is cut away.
            unsynced.spoiled.remove(&pack);
        }
        Ok(())
    }

    fn remove(&self, pack: PackNo) -> Result<(), KvError> {
        let len = self.content(pack)?.map_or(0, |c| c.len());
        self.unsynced(pack, "remove", 0, || self.inner.remove(pack))?;
        self.faults.give_back(len as u64);
        Ok(())
    }

    fn list(&self) -> Result<Vec<(PackNo, u64)>, KvError> {
        self.faults.read("list")?;
        self.inner.list()
    }

    fn free_bytes(&self) -> Result<u64, KvError> {
        self.faults.read("free")?;
        let free = self.inner.free_bytes()?;
        Ok(self.faults.room().unwrap_or(free))
    }

    fn size_bytes(&self) -> Result<u64, KvError> {
        self.inner.size_bytes()
    }

    fn set_reserve(&self, bytes: u64) -> Result<(), KvError> {
        let mut held = self.reserve_bytes.lock();
        self.faults.change("reserve", bytes.saturating_sub(*held))?;
        self.faults.give_back(held.saturating_sub(bytes));
        *held = bytes;
        Ok(())
    }
}
