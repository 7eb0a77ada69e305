//! A volume for tests: real records, real packs, a clock that only goes when it is asked, a store
//! that counts and whose power can be cut.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::base::sync::{Arc, AtomicBool, AtomicU64, Ordering};
use crate::base::{Clock, Ino, PackNo, Timestamp};
use crate::block::{BlockSettings, Blocks, Compression};
use crate::crypto::Keyset;
use crate::fs::core::Core;
use crate::fs::{Attr, Caller, Done, Fs, FsError, SetAttr, WriteFlags};
use crate::kv::faulty::{Faults, FaultyStore};
use crate::kv::files::PackFiles;
use crate::kv::rocks::Rocks;
use crate::kv::{Access, Change, Family, Kv, KvError, KvRead, Packs, Pair};
use crate::meta::Names;
use crate::sealed::{PACK_MAX_BYTES, Records, SealedPacks};
use crate::txn::Txn;

pub(in crate::fs) const ROOT: Caller = Caller { uid: 0, gid: 0 };

/// Bytes of a chunk in tests: small, so that files have many.
pub(in crate::fs) const CHUNK: usize = 16 << 10;

/// A test fails when an answer does not come in this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns what an operation answers.
pub(in crate::fs) fn wait<T: Send + 'static>(start: impl FnOnce(Done<T>)) -> Result<T, FsError> {
    let (tx, rx) = crossbeam_channel::bounded(1);
    start(Box::new(move |r| tx.send(r).unwrap()));
    rx.recv_timeout(PATIENCE).expect("an answer comes")
}

/// Each look at the time of day is a microsecond later than the one before.
pub(in crate::fs) struct Ticking {
    micros: AtomicU64,
    /// Seconds that [`Self::advance`] has added.
    ahead: AtomicU64,
}

impl Ticking {
    pub(in crate::fs) fn advance(&self, seconds: u64) {
        self.ahead.fetch_add(seconds, Ordering::Relaxed);
        self.micros
            .fetch_add(seconds * 1_000_000, Ordering::Relaxed);
    }
}

impl Clock for Ticking {
    fn now(&self) -> Timestamp {
        let micros = self.micros.fetch_add(1, Ordering::Relaxed);
        Timestamp {
            secs: i64::try_from(micros / 1_000_000).unwrap(),
            nanos: u32::try_from(micros % 1_000_000).unwrap() * 1000,
        }
    }

    fn monotonic(&self) -> Instant {
        Instant::now() + Duration::from_secs(self.ahead.load(Ordering::Relaxed))
    }
}

/// A store that counts, and takes no more writes once its power is cut.
pub(in crate::fs) struct Store {
    kv: Arc<dyn Kv>,
    is_cut: AtomicBool,
    pub(in crate::fs) gets: AtomicU64,
    pub(in crate::fs) scans: AtomicU64,
    pub(in crate::fs) changes: AtomicU64,
    pub(in crate::fs) batches: AtomicU64,
}

impl Store {
    /// Returns reads of single keys, scans, changes and batches since the last call.
    pub(in crate::fs) fn take_counts(&self) -> [u64; 4] {
        [&self.gets, &self.scans, &self.changes, &self.batches]
            .map(|c| c.swap(0, Ordering::Relaxed))
    }
}

impl KvRead for Store {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.kv.get(family, key)
    }

    fn multi_get(&self, family: Family, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        self.gets.fetch_add(keys.len() as u64, Ordering::Relaxed);
        self.kv.multi_get(family, keys)
    }

    fn scan(&self, f: Family, from: &[u8], to: &[u8], limit: usize) -> Result<Vec<Pair>, KvError> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.kv.scan(f, from, to, limit)
    }

    fn for_each(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        self.kv.for_each(family, from, to, each)
    }
}

impl Kv for Store {
    fn write(&self, batch: Vec<Change>, sync: bool) -> Result<(), KvError> {
        if self.is_cut.load(Ordering::Acquire) {
            return Err(KvError::Io {
                op: "write",
                source: std::io::Error::other("the store has failed"),
            });
        }
        self.changes
            .fetch_add(batch.len() as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.kv.write(batch, sync)
    }

    /// Range reads go through a view of their own.
    fn snapshot(&self) -> Result<Arc<dyn KvRead>, KvError> {
        self.scans.fetch_add(1, Ordering::Relaxed);
        self.kv.snapshot()
    }

    fn flush(&self) -> Result<(), KvError> {
        self.kv.flush()
    }

    fn flush_later(&self) {
        self.kv.flush_later();
    }

    fn compact(&self) -> Result<(), KvError> {
        self.kv.compact()
    }

    fn recover(&self) -> Result<(), KvError> {
        self.kv.recover()
    }

    fn memory_bytes(&self) -> u64 {
        self.kv.memory_bytes()
    }
}

/// How a test volume is opened.
#[derive(Clone, Copy)]
pub(in crate::fs) struct Setup {
    pub(in crate::fs) quota_bytes: Option<u64>,
    pub(in crate::fs) read_only: bool,
    /// Bits of the hash of names that count.
    pub(in crate::fs) name_mask: u128,
    pub(in crate::fs) pack_bytes: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            quota_bytes: None,
            read_only: false,
            name_mask: u128::MAX,
            pack_bytes: PACK_MAX_BYTES,
        }
    }
}

/// What a volume lies on.
enum Disk {
    /// RocksDB and pack files, opened anew with the volume.
    Dir(tempfile::TempDir),
    /// Stores in memory whose power can be cut at any write.
    Faulty(FaultyStore),
}

impl Disk {
    fn stores(&self) -> (Arc<dyn Kv>, Arc<dyn Packs>) {
        match self {
            Self::Dir(dir) => {
                let rocks = Rocks::open(&dir.path().join("kv"), Access::Create).unwrap();
                let packs = PackFiles::open(&dir.path().join("packs"), false).unwrap();
                (Arc::new(rocks), Arc::new(packs))
            }
            Self::Faulty(store) => (
                Arc::clone(&store.kv) as Arc<dyn Kv>,
                Arc::clone(&store.packs) as Arc<dyn Packs>,
            ),
        }
    }
}

struct Open {
    fs: Arc<Fs>,
    store: Arc<Store>,
}

pub(in crate::fs) struct Volume {
    disk: Disk,
    pub(in crate::fs) clock: Arc<Ticking>,
    setup: Setup,
    open: Option<Open>,
}

impl std::ops::Deref for Volume {
    type Target = Arc<Fs>;

    fn deref(&self) -> &Arc<Fs> {
        &self.open.as_ref().unwrap().fs
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        if let Some(open) = self.open.take() {
            let ended = open.fs.shutdown();
            if !std::thread::panicking() {
                ended.unwrap();
            }
        }
    }
}

impl Volume {
    /// Returns a new volume, empty but for the root directory of mode 0755.
    pub(in crate::fs) fn new() -> Self {
        Self::with(Setup::default())
    }

    pub(in crate::fs) fn with(setup: Setup) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("packs")).unwrap();
        Self::on(Disk::Dir(dir), setup)
    }

    /// Returns a new volume on stores with faults.
    pub(in crate::fs) fn faulty(seed: u64) -> Self {
        Self::faulty_with(seed, Setup::default())
    }

    /// The same, opened otherwise.
    pub(in crate::fs) fn faulty_with(seed: u64, setup: Setup) -> Self {
        Self::on(Disk::Faulty(FaultyStore::in_memory(seed)), setup)
    }

    fn on(disk: Disk, setup: Setup) -> Self {
        let clock = Arc::new(Ticking {
            micros: AtomicU64::new(1_000_000_000_000_000),
            ahead: AtomicU64::new(0),
        });
        let keyset = Arc::new(Keyset::for_tests(1));
        let records = Records::new(disk.stores().0, Arc::clone(&keyset));
        let names = Names::new(keyset);
        let now = clock.now();
        let fill = |op: &mut crate::txn::Op<'_>| Fs::create_root(op, &names, now, 0, 0, 0o755);
        Txn::create(records, Arc::clone(&clock) as Arc<dyn Clock>, [7; 16], fill).unwrap();
        let mut volume = Self {
            disk,
            clock,
            setup,
            open: None,
        };
        volume.start();
        volume
    }

    fn start(&mut self) {
        self.try_start().unwrap();
    }

    fn try_start(&mut self) -> Result<(), FsError> {
        let keyset = Arc::new(Keyset::for_tests(1));
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let (kv, packs) = self.disk.stores();
        let store = Arc::new(Store {
            kv,
            is_cut: AtomicBool::new(false),
            gets: AtomicU64::new(0),
            scans: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            batches: AtomicU64::new(0),
        });
        let kv = Arc::clone(&store) as Arc<dyn Kv>;
        let records = Records::new(kv, Arc::clone(&keyset));
        let txn = Txn::open(records, Arc::clone(&clock), Box::new(|_| ()))?;
        let packs = SealedPacks::new(packs, keyset);
        let settings = BlockSettings {
            chunk_bytes: u32::try_from(CHUNK).unwrap(),
            compression: Compression::Lz4,
            cache_bytes: 1 << 20,
        };
        let pack_bytes = self.setup.pack_bytes;
        let opened = Blocks::open_sized(Arc::clone(&txn), packs, settings, pack_bytes);
        let blocks = opened.inspect_err(|_| drop(txn.close()))?;
        let mut core = Core::new(Arc::clone(&txn), clock, self.setup.read_only);
        core.names.name_mask = self.setup.name_mask;
        let opened = Fs::with_core(Arc::new(core), blocks, self.setup.quota_bytes);
        let fs = opened.inspect_err(|_| drop(txn.close()))?;
        self.open = Some(Open { fs, store });
        Ok(())
    }

    pub(in crate::fs) fn store(&self) -> &Store {
        &self.open.as_ref().unwrap().store
    }

    /// Ends cleanly and opens again.
    pub(in crate::fs) fn reopen(&mut self) {
        self.try_reopen().unwrap();
    }

    /// Ends and opens again as far as the store lets it; what has failed is not open then.
    pub(in crate::fs) fn try_reopen(&mut self) -> Result<(), FsError> {
        let ended = self.open.take().unwrap().fs.shutdown();
        ended.and(self.try_start())
    }

    /// Ends cleanly and opens again, to read only.
    pub(in crate::fs) fn reopen_read_only(&mut self) {
        self.setup.read_only = true;
        self.reopen();
    }

    /// Cuts the power and opens again: what no commit holds is lost.
    pub(in crate::fs) fn crash(&mut self) {
        self.lose_power();
        self.start();
        let verdict = self.core.txn.verify().unwrap();
        assert_eq!(verdict.bad_buckets, Vec::<usize>::new());
    }

    /// As [`Self::crash`], and cuts the power once more during a write of the next start.
    pub(in crate::fs) fn crash_twice(&mut self, write: u64) {
        self.lose_power();
        if let Some(faults) = self.faults() {
            faults.cut_power_at(write);
        }
        drop(self.try_start());
        self.crash();
    }

    fn lose_power(&mut self) {
        if let Some(faults) = self.faults() {
            faults.cut_power();
        }
        if let Some(open) = self.open.take() {
            open.store.is_cut.store(true, Ordering::Release);
            drop(open.fs.shutdown());
        }
        if let Disk::Faulty(store) = &self.disk {
            store.restart();
        }
    }

    /// Returns the lengths of the packs.
    pub(in crate::fs) fn pack_lens(&self) -> BTreeMap<PackNo, u64> {
        let list = match &self.disk {
            Disk::Dir(dir) => {
                PackFiles::open(&dir.path().join("packs"), true).and_then(|packs| packs.list())
            }
            Disk::Faulty(store) => store.packs.list(),
        };
        list.unwrap().into_iter().collect()
    }

    /// Returns the faults of a volume on a faulty store.
    pub(in crate::fs) fn faults(&self) -> Option<&Faults> {
        match &self.disk {
            Disk::Dir(_) => None,
            Disk::Faulty(store) => Some(&store.faults),
        }
    }

    /// Returns true after a fault that [`Self::crash`] has not yet ended.
    pub(in crate::fs) fn has_failed(&self) -> bool {
        self.faults()
            .is_some_and(|f| f.is_dead() || f.hit().is_some())
    }

    /// Stops taking writes, as a store does that has failed.
    pub(in crate::fs) fn fail_writes(&self) {
        self.store().is_cut.store(true, Ordering::Release);
    }

    /// Ends a volume whose store has failed.
    pub(in crate::fs) fn abandon(mut self) {
        let open = self.open.take().unwrap();
        drop(open.fs.shutdown());
    }

    pub(in crate::fs) fn file(&self, parent: Ino, name: &[u8]) -> Ino {
        self.try_file(parent, name).unwrap().ino
    }

    pub(in crate::fs) fn try_file(&self, parent: Ino, name: &[u8]) -> Result<Attr, FsError> {
        self.mknod(ROOT, parent, name, libc::S_IFREG | 0o644, 0, 0)
    }

    pub(in crate::fs) fn dir(&self, parent: Ino, name: &[u8]) -> Ino {
        self.mkdir(ROOT, parent, name, 0o755, 0).unwrap().ino
    }

    pub(in crate::fs) fn write_at(
        &self,
        ino: Ino,
        offset: u64,
        data: &[u8],
    ) -> Result<(), FsError> {
        let flags = WriteFlags::default();
        let n = wait(|done| self.write(ROOT, ino, offset, data, flags, done))?;
        assert_eq!(usize::try_from(n).unwrap(), data.len());
        Ok(())
    }

    pub(in crate::fs) fn read_at(&self, ino: Ino, offset: u64, len: u32) -> Vec<u8> {
        let mut out = Vec::new();
        self.read(ino, offset, len, &mut out).unwrap();
        out
    }

    pub(in crate::fs) fn contents(&self, ino: Ino) -> Vec<u8> {
        let size = self.getattr(ino).unwrap().size_bytes;
        self.read_at(ino, 0, u32::try_from(size).unwrap())
    }

    pub(in crate::fs) fn sync(&self, ino: Ino) -> Result<(), FsError> {
        wait(|done| self.fsync(ino, false, done))
    }

    pub(in crate::fs) fn set(
        &self,
        caller: Caller,
        ino: Ino,
        set: SetAttr,
    ) -> Result<Attr, FsError> {
        wait(|done| self.setattr(caller, ino, &set, done))
    }

    pub(in crate::fs) fn mv(
        &self,
        from: (Ino, &[u8]),
        to: (Ino, &[u8]),
        flags: u32,
    ) -> Result<(), FsError> {
        wait(|done| self.rename(ROOT, from, to, flags, done))
    }

    /// Returns the names of a directory, without `.` and `..`, sorted.
    pub(in crate::fs) fn names(&self, ino: Ino) -> Vec<Vec<u8>> {
        let mut names = Vec::new();
        self.readdir(ino, 2, &mut |e| {
            names.push(e.name.to_vec());
            true
        })
        .unwrap();
        names.sort();
        names
    }

    /// Returns the number of inodes that exist.
    pub(in crate::fs) fn inodes(&self) -> u64 {
        self.core.txn.root().inodes
    }
}
