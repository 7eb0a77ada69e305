//! Faults for tests: stores whose calls, disk and power fail when they are told to.
//!
//! [`FaultyKv`] and [`FaultyPacks`] wrap any store. What the wrapped store has done since its last
//! sync can be undone, so that a power cut leaves what a disk may leave: of the key-value store some
//! prefix of the unsynced batches, of a pack any mixture of old and new sectors. A store that is
//! closed without a cut keeps everything.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::base::sync::{Arc, AtomicU64, Mutex, Ordering, RwLock, RwLockWriteGuard};
use crate::base::{AlignedBuf, PackNo};

use super::memory::{MemoryKv, MemoryPacks};
use super::{Change, Family, Kv, KvError, KvRead, Packs, Pair};

/// The unit in which a disk keeps or loses what was written.
const SECTOR_BYTES: usize = 512;

/// The unit in which a file grows.
const BLOCK_BYTES: usize = 4096;

/// What a call does to a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// It only looks.
    Read,
    /// It changes or syncs.
    Change,
}

/// What goes wrong, and when; shared by the parts of one store, which hang on one power supply and
/// write to one disk.
pub struct Faults {
    plan: Mutex<Plan>,
    gate: RwLock<()>,
    before_scan: Mutex<Option<Hook>>,
}

type Hook = Box<dyn FnOnce() + Send>;

struct Plan {
    reads: u64,
    changes: u64,
    fail: Option<(Call, u64)>,
    has_failed: bool,
    cut: Option<u64>,
    dead: bool,
    room_bytes: Option<u64>,
    random: u64,
}

/// How a change that is let through ends.
#[derive(PartialEq, Eq)]
enum Fate {
    Done,
    /// The power goes while it is under way.
    Cut,
}

fn no_power(op: &'static str) -> KvError {
    KvError::Io {
        op,
        source: io::Error::other("the power is cut"),
    }
}

impl Faults {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            plan: Mutex::new(Plan {
                reads: 0,
                changes: 0,
                fail: None,
                has_failed: false,
                cut: None,
                dead: false,
                room_bytes: None,
                random: seed,
            }),
            gate: RwLock::new(()),
            before_scan: Mutex::new(None),
        })
    }

    /// Returns how many calls of a sort there were.
    pub fn calls(&self, call: Call) -> u64 {
        let plan = self.plan.lock();
        match call {
            Call::Read => plan.reads,
            Call::Change => plan.changes,
        }
    }

    /// Makes one call fail without effect: 0 is the next of its sort.
    pub fn fail_call(&self, call: Call, n: u64) {
        let at = self.calls(call) + n;
        self.plan.lock().fail = Some((call, at));
    }

    /// Cuts the power during a change: 0 is the next.
    pub fn cut_power_at(&self, n: u64) {
        let at = self.calls(Call::Change) + n;
        self.plan.lock().cut = Some(at);
    }

    /// Cuts the power now.
    pub fn cut_power(&self) {
        self.plan.lock().dead = true;
    }

    /// Returns true after a power cut.
    pub fn is_dead(&self) -> bool {
        self.plan.lock().dead
    }

    /// Bounds what can still be written, keys and values and pack bytes together.
    pub fn set_room(&self, bytes: Option<u64>) {
        self.plan.lock().room_bytes = bytes;
    }

    /// Keeps every change waiting until the guard is dropped.
    pub fn pause_changes(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write()
    }

    /// Calls `hook` once, before the next scan of the newest state begins.
    pub fn before_scan(&self, hook: Hook) {
        *self.before_scan.lock() = Some(hook);
    }

    /// Forgets what is to fail and what has failed, but for a power cut that has happened.
    pub fn cancel(&self) {
        let mut plan = self.plan.lock();
        plan.cut = None;
        plan.fail = None;
        plan.has_failed = false;
    }

    /// Returns true if a call was made to fail since the last [`Self::cancel`].
    pub fn has_failed(&self) -> bool {
        self.plan.lock().has_failed
    }

    /// Returns true if a power cut or a failure is still to come.
    pub fn is_armed(&self) -> bool {
        let plan = self.plan.lock();
        plan.cut.is_some() || plan.fail.is_some()
    }

    fn revive(&self) {
        self.cancel();
        self.plan.lock().dead = false;
    }

    fn random(&self) -> u64 {
        // SplitMix64.
        let mut plan = self.plan.lock();
        plan.random = plan.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = plan.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn coin(&self) -> bool {
        self.random() & 1 == 0
    }

    fn below(&self, n: usize) -> usize {
        usize::try_from(self.random() % (n as u64)).expect("the rest is below n")
    }

    fn read(&self, op: &'static str) -> Result<(), KvError> {
        let mut plan = self.plan.lock();
        let at = plan.reads;
        plan.reads += 1;
        if plan.dead {
            return Err(no_power(op));
        }
        if plan.fail == Some((Call::Read, at)) {
            plan.has_failed = true;
            plan.fail = None;
            return Err(broken(op));
        }
        Ok(())
    }

    fn change(&self, op: &'static str, bytes: u64) -> Result<Fate, KvError> {
        drop(self.gate.read());
        let mut plan = self.plan.lock();
        let at = plan.changes;
        plan.changes += 1;
        if plan.dead {
            return Err(no_power(op));
        }
        if plan.fail == Some((Call::Change, at)) {
            plan.has_failed = true;
            plan.fail = None;
            return Err(broken(op));
        }
        if plan.cut == Some(at) {
            plan.dead = true;
            plan.cut = None;
            return Ok(Fate::Cut);
        }
        if let Some(room) = &mut plan.room_bytes {
            *room = room.checked_sub(bytes).ok_or(KvError::NoSpace { op })?;
        }
        Ok(Fate::Done)
    }

    fn give_back(&self, bytes: u64) {
        if let Some(room) = &mut self.plan.lock().room_bytes {
            *room += bytes;
        }
    }
}

fn broken(op: &'static str) -> KvError {
    KvError::Io {
        op,
        source: io::Error::other("a fault was injected"),
    }
}

/// A whole store with faults.
pub struct FaultyStore {
    /// What goes wrong in both parts.
    pub faults: Arc<Faults>,
    /// The key-value store.
    pub kv: Arc<FaultyKv>,
    /// The packs.
    pub packs: Arc<FaultyPacks>,
}

impl FaultyStore {
    /// Returns an empty store in memory.
    pub fn in_memory(seed: u64) -> Self {
        Self::over(
            Arc::new(MemoryKv::default()),
            Arc::new(MemoryPacks::default()),
            seed,
        )
    }

    /// Returns a store over others.
    pub fn over(kv: Arc<dyn Kv>, packs: Arc<dyn Packs>, seed: u64) -> Self {
        let faults = Faults::new(seed);
        Self {
            kv: Arc::new(FaultyKv {
                inner: kv,
                faults: Arc::clone(&faults),
                undo: Mutex::default(),
                flushes_begun: AtomicU64::new(0),
            }),
            packs: Arc::new(FaultyPacks {
                inner: packs,
                faults: Arc::clone(&faults),
                unsynced: Mutex::default(),
                reserve_bytes: Mutex::new(0),
            }),
            faults,
        }
    }

    /// Brings the store back with what a power cut has left; does nothing if there was none.
    pub fn restart(&self) {
        if self.faults.is_dead() {
            self.kv.lose_unsynced();
            self.packs.lose_unsynced();
        }
        self.faults.revive();
    }
}

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

    fn lose_unsynced(&self) {
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
        let hook = self.faults.before_scan.lock().take();
        if let Some(hook) = hook {
            hook();
        }
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

    fn lose_unsynced(&self) {
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
        self.unsynced(pack, "truncate", 0, || self.inner.truncate(pack, len))
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
        Ok(self.faults.plan.lock().room_bytes.unwrap_or(free))
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
