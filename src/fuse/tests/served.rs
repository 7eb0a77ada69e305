//! A volume in memory, mounted.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use tempfile::TempDir;

use super::super::{
    FuseError, MountOptions, RequestCounts, RequestKind, ServeOptions, mount, serve, unmount,
};
use crate::base::SystemClock;
use crate::base::sync::Arc;
use crate::block::{BlockSettings, Blocks, Compression};
use crate::crypto::Keyset;
use crate::fs::{Fs, FsSettings};
use crate::kv::faulty::FaultyStore;
use crate::meta::Names;
use crate::sealed::{Records, SealedPacks};
use crate::txn::Txn;

/// A mounted volume; a test that fails takes the mount away too.
pub(super) struct Served {
    dir: TempDir,
    pub(super) store: FaultyStore,
    pub(super) counts: Arc<RequestCounts>,
    fs: Arc<Fs>,
    session: Option<JoinHandle<Result<(), FuseError>>>,
}

impl Served {
    /// Mounts a new volume.
    pub(super) fn new() -> Self {
        let store = FaultyStore::in_memory(1);
        let keyset = Arc::new(Keyset::for_tests(1));
        let names = Names::new(Arc::clone(&keyset));
        let records = Records::new(store.kv.clone(), keyset);
        Txn::create(records, Arc::new(SystemClock), [7; 16], |op| {
            let now = std::time::SystemTime::now().into();
            Fs::create_root(op, &names, now, 0, 0, 0o755);
        })
        .expect("a new volume");
        Self::mounted(store)
    }

    fn mounted(store: FaultyStore) -> Self {
        let dir = TempDir::new().expect("a directory");
        let fs = open(&store);
        let options = MountOptions {
            allow_other: true,
            suid: true,
            dev: true,
            ..MountOptions::default()
        };
        let device = mount(dir.path(), "coffer:test", options).expect("root and FUSE are here");
        let counts = Arc::new(RequestCounts::default());
        let (ready, is_ready) = mpsc::channel();
        let session = {
            let (fs, counts) = (Arc::clone(&fs), Arc::clone(&counts));
            let threads = NonZero::new(2).expect("2 is not 0");
            let options = ServeOptions { threads, counts };
            thread::spawn(move || {
                serve(fs, device, &options, move || {
                    ready.send(()).expect("the test waits for it");
                })
            })
        };
        let served = Self {
            dir,
            store,
            counts,
            fs,
            session: Some(session),
        };
        is_ready.recv().expect("the session opens");
        served
    }

    /// Returns the path of a file in the mount.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the mount point.
    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns how many requests of a kind there were.
    pub(super) fn count(&self, kind: RequestKind) -> u64 {
        self.counts.get(kind)
    }

    /// Unmounts, ends the volume, and mounts it again.
    pub(super) fn remount(mut self) -> Self {
        self.end();
        let store = std::mem::replace(&mut self.store, FaultyStore::in_memory(2));
        Self::mounted(store)
    }

    fn end(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        unmount(self.dir(), true).expect("lazily everything goes");
        let ended = session.join().expect("no panic");
        ended.expect("an unmount is a good end");
        self.fs.shutdown().expect("the volume ends well");
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if thread::panicking() {
            // What can be taken away is; the test has failed already.
            drop(unmount(self.dir(), true));
            return;
        }
        self.end();
    }
}

fn open(store: &FaultyStore) -> Arc<Fs> {
    let keyset = Arc::new(Keyset::for_tests(1));
    let clock = Arc::new(SystemClock);
    let records = Records::new(store.kv.clone(), Arc::clone(&keyset));
    let txn = Txn::open(records, clock.clone(), Box::new(|_| ())).expect("a volume");
    let packs = SealedPacks::new(store.packs.clone(), keyset);
    let settings = BlockSettings {
        chunk_bytes: 16 << 10,
        compression: Compression::Lz4,
        cache_bytes: 1 << 20,
    };
    let blocks = Blocks::open(Arc::clone(&txn), packs, settings).expect("its blocks");
    let settings = FsSettings {
        read_only: false,
        quota_bytes: None,
    };
    Fs::open(txn, blocks, clock, settings).expect("its files")
}
