//! Contents of files: dirty buffers, flush, fold, truncation, the end of orphans, space.
//!
//! The dirty state of a file (`file`) lies over its committed state (`stored`): pages over blocks
//! over holes. A flush (`flush`, `apply`) brings it into the open group. One background thread goes
//! on with what must not keep a request waiting (`jobs`).
//!
//! Locks: a file's lock, then the open group, then caches and counters. Callers are told without
//! any of them held.

mod apply;
mod file;
mod flush;
mod fold;
mod geometry;
mod jobs;
mod layout;
mod orphan;
mod range;
mod read;
mod space;
mod stored;
mod truncate;
mod write;
mod zero;

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::base::sync::{Arc, AtomicUsize, Mutex, Weak};
use crate::base::{Ino, Timestamp};
use crate::block::Blocks;
use crate::meta::{Extents, Inode};

use super::FsError;
use super::cache::RecordCache;
use super::core::Core;

use file::{File, Files, Times};
use flush::Calls;
use fold::Fold;
use geometry::Geometry;
use jobs::{Job, Jobs};
use layout::Layout;
use space::Space;

/// Extent records kept in each half of their cache: at most 2.2 KiB each.
const EXTENTS_HALF: usize = 1024;

/// How often the background thread looks at the time.
const TICK: Duration = Duration::from_secs(1);

/// Ticks after which everything dirty is flushed and committed: with the time a commit takes, what
/// is older than five seconds is durable.
const FLUSH_TICKS: u32 = 3;

/// The contents of all files of a volume.
pub(in crate::fs) struct Data {
    me: Weak<Self>,
    core: Arc<Core>,
    blocks: Arc<Blocks>,
    geometry: Geometry,
    files: Files,
    layout: Layout,
    extent_cache: RecordCache<(Ino, u64), Extents>,
    space: Space,
    fold: Fold,
    jobs: Arc<Jobs>,
    /// Inodes without a name that the kernel may still know.
    orphans: Mutex<HashSet<Ino>>,
    orphan_count: AtomicUsize,
    /// Inodes with an orphan record for a truncation.
    cutting: Mutex<HashSet<Ino>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Data {
    /// Opens the contents; also resumes the orphans and truncations a crash left.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(super) fn open(
        core: Arc<Core>,
        blocks: Arc<Blocks>,
        quota_bytes: Option<u64>,
    ) -> Result<Arc<Self>, FsError> {
        let geometry = Geometry::new(blocks.settings().chunk_bytes);
        let used_pages = core.txn.root().used_pages;
        let data = Arc::new_cyclic(|me| Self {
            me: me.clone(),
            geometry,
            files: Files::new(),
            layout: Layout::new(),
            extent_cache: RecordCache::new(EXTENTS_HALF),
            space: Space::new(quota_bytes, used_pages),
            fold: Fold::new(Arc::clone(&core.clock), geometry.pages_per_chunk()),
            jobs: Arc::default(),
            orphans: Mutex::default(),
            orphan_count: AtomicUsize::new(0),
            cutting: Mutex::default(),
            thread: Mutex::new(None),
            core,
            blocks,
        });
        if !data.core.read_only {
            data.resume()?;
            let worker = Arc::clone(&data);
            let thread = std::thread::Builder::new()
                .name("coffer-data".into())
                .spawn(move || worker.run())
                .expect("a thread can be started while the volume opens");
            *data.thread.lock() = Some(thread);
        }
        Ok(data)
    }

    fn run(&self) {
        let mut tick = Instant::now() + TICK;
        let mut ticks = 0;
        loop {
            match self.jobs.next(tick) {
                Job::Stop => return,
                Job::Landed(ino, result) => self.landed(ino, &result),
                Job::FlushAll => self.flush_for_room(),
                Job::Cut(ino) => self.cut(ino),
                Job::Reap(ino) => self.reap(ino),
                Job::Zero(ino, range, done) => self.zero_next(ino, range, done),
                Job::Tick => {
                    tick = Instant::now() + TICK;
                    ticks += 1;
                    if ticks % FLUSH_TICKS == 0 {
                        self.commit_soon();
                    }
                    self.fold_step();
                }
            }
            self.release_parked(false);
        }
    }

    /// Flushes everything; if that fails, nobody waits for room any longer: further writes learn why.
    fn flush_for_room(&self) {
        let me = self.me.clone();
        self.flush_all(Box::new(move |r| {
            if let (Err(_), Some(data)) = (r, me.upgrade()) {
                data.release_parked(true);
            }
        }));
    }

    /// Flushes and commits everything, without waiting.
    fn commit_soon(&self) {
        if self.files.list().is_empty() {
            return;
        }
        let me = self.me.clone();
        self.flush_all(Box::new(move |_| {
            if let Some(data) = me.upgrade() {
                data.core.txn.commit(Box::new(drop));
            }
        }));
    }

    fn with_file<T>(&self, ino: Ino, f: impl FnOnce(&mut File) -> T) -> Result<T, FsError> {
        let size = || Ok(self.core.inode(ino)?.size_bytes);
        self.files.with(ino, size, f)
    }

    fn check_writable(&self) -> Result<(), FsError> {
        if self.core.read_only {
            return Err(FsError::ReadOnly);
        }
        if self.core.txn.is_poisoned() {
            return Err(FsError::Io("C-POISON"));
        }
        Ok(())
    }

    /// Returns an inode with the live size and times of data that is still dirty.
    ///
    /// # Errors
    /// When there is none, or the store fails.
    pub(in crate::fs) fn live(&self, ino: Ino) -> Result<Arc<Inode>, FsError> {
        // The inode is read under the file's lock, so that no flush comes between the two.
        let dirty = self.files.with_dirty(ino, |f| {
            let mut inode = Inode::clone(&*self.core.inode(ino)?);
            inode.size_bytes = f.size;
            if let Some(times) = f.times {
                times.lay_over(&mut inode);
            }
            let chunks = f.chunks.values();
            let fresh = chunks.filter(|c| !c.is_empty()).count() as u64;
            let used = self.geometry.used_chunks(inode.used_pages);
            inode.used_pages = self.geometry.used_pages(used.max(fresh), inode.size_bytes);
            Ok(Arc::new(inode))
        });
        dirty.unwrap_or_else(|| self.core.inode(ino))
    }

    /// Returns true if data of a file is in no group.
    pub(in crate::fs) fn is_dirty(&self, ino: Ino) -> bool {
        self.files.is_dirty(ino)
    }

    /// Sets the times of data that is still dirty: they are committed with it. Returns false if
    /// nothing is dirty: then they belong into the inode.
    pub(in crate::fs) fn set_times(&self, ino: Ino, mtime: Timestamp, ctime: Timestamp) -> bool {
        let set = self.files.with_dirty(ino, |f| {
            if !f.is_clean() {
                f.times = Some(Times { mtime, ctime });
            }
            !f.is_clean()
        });
        set.unwrap_or(false)
    }

    /// Tells everybody who waits for a file that it cannot be flushed.
    fn fail(&self, f: &mut File, error: &FsError) -> Calls {
        let mut calls = Calls::default();
        f.flushing = None;
        calls.add(std::mem::take(&mut f.current), &Err(error.clone()));
        calls.add(std::mem::take(&mut f.next), &Err(error.clone()));
        calls
    }

    /// Removes all orphans, brings all data into a group and ends the thread; waits.
    ///
    /// # Errors
    /// When data could not be brought into a group; what was durable before stays so.
    pub(super) fn shutdown(&self) -> Result<(), FsError> {
        let (tx, rx) = crossbeam_channel::bounded(1);
        self.flush_all(Box::new(move |r| drop(tx.send(r))));
        let flushed = rx.recv().unwrap_or(Err(FsError::Io("C-STORE")));
        let orphans: Vec<Ino> = self.orphans.lock().iter().copied().collect();
        for ino in orphans {
            self.reap(ino);
        }
        self.jobs.stop();
        if let Some(thread) = self.thread.lock().take() {
            drop(thread.join());
        }
        flushed
    }
}
