//! A volume in memory whose records and packs can be changed from below.

use std::time::Duration;

use crate::base::sync::Arc;
use crate::base::{Ino, PackNo, SystemClock, Timestamp};
use crate::block::{BlockSettings, Blocks, Compression};
use crate::crypto::Keyset;
use crate::format::key::{Key, Letter};
use crate::format::settings::Settings;
use crate::fs::{Caller, Done, Fs, FsError, FsSettings, WriteFlags};
use crate::kv::memory::{MemoryKv, MemoryPacks};
use crate::kv::{Change, Family, Kv, KvRead, Packs, Pair};
use crate::maint::{CheckOptions, Code, Report, Target, check};
use crate::meta::Names;
use crate::sealed::{Records, SealedPacks};
use crate::txn::{Op, Txn};

pub(super) const ROOT: Caller = Caller { uid: 0, gid: 0 };

/// Bytes of a chunk: small, so that files have many.
pub(super) const CHUNK: usize = 16 << 10;

const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn wait<T: Send + 'static>(start: impl FnOnce(Done<T>)) -> Result<T, FsError> {
    let (tx, rx) = crossbeam_channel::bounded(1);
    start(Box::new(move |r| tx.send(r).unwrap()));
    rx.recv_timeout(PATIENCE).expect("an answer comes")
}

/// Returns bytes that look random and are the same for the same seed.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0; len];
    let mut hasher = blake3::Hasher::new();
    hasher.update(&seed.to_le_bytes());
    hasher.finalize_xof().fill(&mut out);
    out
}

/// A volume of which the stores and the keys exist.
pub(super) struct Volume {
    pub(super) kv: Arc<MemoryKv>,
    pub(super) packs: Arc<MemoryPacks>,
    pub(super) keyset: Arc<Keyset>,
    pub(super) names: Names,
}

impl Volume {
    /// Returns an empty volume.
    pub(super) fn empty() -> Self {
        let keyset = Arc::new(Keyset::for_tests(1));
        let volume = Self {
            kv: Arc::default(),
            packs: Arc::default(),
            names: Names::new(Arc::clone(&keyset)),
            keyset,
        };
        let now = Timestamp::default();
        let settings = Settings {
            quota_bytes: None,
            compression: 1,
        };
        let fill = |op: &mut Op<'_>| {
            op.put_new(Key::settings(), settings.encode());
            Fs::create_root(op, &volume.names, now, 0, 0, 0o755);
        };
        Txn::create(volume.records(), Arc::new(SystemClock), [7; 16], fill).unwrap();
        volume
    }

    /// Returns a volume with something of every kind in it.
    pub(super) fn filled() -> Self {
        let volume = Self::empty();
        volume.with(|fs| {
            let r = Ino::ROOT;
            let dir = fs.mkdir(ROOT, r, b"dir", 0o755, 0).unwrap().ino;
            let sub = fs.mkdir(ROOT, dir, b"sub", 0o755, 0).unwrap().ino;
            write(fs, r, b"small", b"a few bytes");
            let big = write(fs, dir, b"big", &noise(1, 5 * CHUNK + 100));
            write(fs, dir, b"twin", &noise(1, 5 * CHUNK + 100));
            write(fs, sub, b"other", &noise(2, 3 * CHUNK));
            let sparse = write(fs, sub, b"sparse", b"head");
            write_at(fs, sparse, 100 * CHUNK as u64, &noise(3, CHUNK));
            let paged = write(fs, sub, b"paged", &noise(4, 4 * CHUNK));
            write_at(fs, paged, 5000, b"changed later");
            fs.link(big, r, b"big link").unwrap();
            fs.symlink(ROOT, sub, b"symlink", b"../big").unwrap();
            fs.mknod(ROOT, sub, b"fifo", libc::S_IFIFO | 0o600, 0, 0)
                .unwrap();
            fs.setxattr(ROOT, big, b"user.small", b"value", 0).unwrap();
            fs.setxattr(ROOT, big, b"user.large", &noise(5, 8000), 0)
                .unwrap();
            fs.mkdir(ROOT, r, b"empty", 0o755, 0).unwrap();
        });
        volume
    }

    pub(super) fn records(&self) -> Records {
        Records::new(
            Arc::clone(&self.kv) as Arc<dyn Kv>,
            Arc::clone(&self.keyset),
        )
    }

    pub(super) fn sealed_packs(&self) -> SealedPacks {
        let packs = Arc::clone(&self.packs) as Arc<dyn Packs>;
        SealedPacks::new(packs, Arc::clone(&self.keyset))
    }

    /// Opens the file system, lets `use_it` work, and closes it.
    pub(super) fn with<T>(&self, use_it: impl FnOnce(&Arc<Fs>) -> T) -> T {
        let (fs, _) = self.open();
        let out = use_it(&fs);
        fs.shutdown().unwrap();
        out
    }

    /// Opens the file system.
    pub(super) fn open(&self) -> (Arc<Fs>, Arc<Txn>) {
        let txn = Txn::open(self.records(), Arc::new(SystemClock), Box::new(|_| ())).unwrap();
        let settings = BlockSettings {
            chunk_bytes: u32::try_from(CHUNK).unwrap(),
            compression: Compression::Lz4,
            cache_bytes: 1 << 20,
        };
        let blocks = Blocks::open(Arc::clone(&txn), self.sealed_packs(), settings).unwrap();
        let clock = Arc::new(SystemClock);
        let fs = Fs::open(Arc::clone(&txn), blocks, clock, FsSettings::default()).unwrap();
        (fs, txn)
    }

    /// Changes records as a bug would: in an ordinary commit.
    pub(super) fn commit(&self, change: impl FnOnce(&mut Op<'_>)) {
        let txn = Txn::open(self.records(), Arc::new(SystemClock), Box::new(|_| ())).unwrap();
        change(&mut txn.begin().unwrap());
        txn.close().unwrap();
    }

    /// Returns the payload at a key.
    pub(super) fn payload(&self, key: &Key) -> Vec<u8> {
        self.records().get(key).unwrap().expect("a record").payload
    }

    /// Returns the keys of a letter.
    pub(super) fn keys(&self, letter: Letter) -> Vec<Key> {
        let from = Key::new(letter, &[]);
        let found = self.records().scan(&from, &from.prefix_end(), 10_000);
        found.unwrap().into_iter().map(|(k, _)| k).collect()
    }

    /// Returns the sealed value at a key.
    pub(super) fn sealed(&self, key: &Key) -> Vec<u8> {
        self.kv
            .get(family(key), key.as_bytes())
            .unwrap()
            .expect("a record")
    }

    /// Writes below everything that seals.
    pub(super) fn tamper(&self, key: &[u8], value: Option<Vec<u8>>) {
        let family = match key.first() {
            Some(b'P') => Family::Page,
            _ => Family::Meta,
        };
        let change = match value {
            Some(value) => Change::Put(family, key.to_vec(), value),
            None => Change::Delete(family, key.to_vec()),
        };
        self.kv.write(vec![change], true).unwrap();
    }

    /// Flips a bit of a sealed record.
    pub(super) fn flip(&self, key: &Key) {
        let mut sealed = self.sealed(key);
        *sealed.last_mut().unwrap() ^= 1;
        self.tamper(key.as_bytes(), Some(sealed));
    }

    /// Flips a bit of a pack.
    pub(super) fn flip_pack(&self, no: PackNo, at: u32) {
        let mut page = vec![0; 4096];
        let start = u64::from(at) / 4096 * 4096;
        self.packs.read_at(no, start, &mut page).unwrap();
        page[usize::try_from(at).unwrap() % 4096] ^= 1;
        self.packs.write_at(no, start, &page).unwrap();
    }

    pub(super) fn lookup(&self, path: &str) -> Ino {
        let mut at = Ino::ROOT;
        for name in path.split('/') {
            let key = self
                .names
                .dirent(at, &self.names.name_hash(at, name.as_bytes()));
            let entries = crate::meta::decode_dirents(&self.payload(&key)).unwrap();
            at = entries
                .iter()
                .find(|e| e.name == name.as_bytes())
                .unwrap()
                .ino;
        }
        at
    }

    pub(super) fn check(&self) -> Report {
        self.check_with(CheckOptions::default())
    }

    pub(super) fn check_data(&self) -> Report {
        self.check_with(CheckOptions { read_data: true })
    }

    fn check_with(&self, options: CheckOptions) -> Report {
        let (records, packs) = (self.records(), self.sealed_packs());
        let target = Target {
            records: &records,
            packs: &packs,
            chunk_bytes: u32::try_from(CHUNK).unwrap(),
        };
        check(target, options, &|_| true).unwrap()
    }

    /// Returns all records.
    pub(super) fn dump(&self) -> Vec<Pair> {
        let all = |f| self.kv.scan(f, &[], &[0xff; 64], usize::MAX).unwrap();
        let mut out = all(Family::Meta);
        out.extend(all(Family::Page));
        out
    }
}

fn family(key: &Key) -> Family {
    match key.as_bytes().first() {
        Some(b'P') => Family::Page,
        _ => Family::Meta,
    }
}

pub(super) fn write(fs: &Arc<Fs>, dir: Ino, name: &[u8], data: &[u8]) -> Ino {
    let mode = libc::S_IFREG | 0o644;
    let ino = fs.mknod(ROOT, dir, name, mode, 0, 0).unwrap().ino;
    write_at(fs, ino, 0, data);
    ino
}

pub(super) fn write_at(fs: &Arc<Fs>, ino: Ino, offset: u64, data: &[u8]) {
    let flags = WriteFlags::default();
    wait(|done| fs.write(ROOT, ino, offset, data, flags, done)).unwrap();
    wait(|done| fs.fsync(ino, false, done)).unwrap();
}

/// Returns the kinds found with their counts.
pub(super) fn codes(report: &Report) -> Vec<(Code, u64)> {
    report.counts.iter().map(|(c, n)| (*c, *n)).collect()
}
