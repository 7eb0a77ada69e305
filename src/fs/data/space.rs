//! Space: the quota, the room left in the store, and the bound of dirty data.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::base::sync::{Arc, AtomicU64, AtomicUsize, Mutex, Ordering};
use crate::base::{ChunkIx, Ino};
use crate::fs::{FsError, StatFs};
use crate::meta::Inode;

use super::Data;
use super::file::{Base, Chunk, File};
use super::geometry::PAGE;

/// Dirty data and data on its way to the packs, in bytes: beyond it writers wait.
pub(super) const DIRTY_MAX_BYTES: usize = 64 << 20;

/// Dirty data at which flushing begins without being asked.
const DIRTY_START_BYTES: usize = DIRTY_MAX_BYTES / 4;

/// How long a reading of the store's free space is used.
const FREE_AGE: Duration = Duration::from_millis(200);

/// Free space below which no new names or inodes are made: what their records and the log may need
/// before the next reading.
const METADATA_MIN_BYTES: u64 = 4 << 20;

/// A quota that nothing reaches.
const NO_QUOTA: u64 = u64::MAX;

type Parked = Box<dyn FnOnce() + Send>;

/// Counters of space, and the writers that wait for some.
pub(super) struct Space {
    /// [`NO_QUOTA`] for none.
    quota_pages: AtomicU64,
    used_pages: AtomicU64,
    reserved_pages: AtomicU64,
    dirty_bytes: AtomicUsize,
    free: Mutex<Free>,
    parked: Mutex<VecDeque<Parked>>,
}

struct Free {
    at: Option<Instant>,
    bytes: u64,
}

fn quota_pages(quota_bytes: Option<u64>) -> u64 {
    quota_bytes.map_or(NO_QUOTA, |b| b / PAGE)
}

impl Space {
    pub(super) fn new(quota_bytes: Option<u64>, used_pages: u64) -> Self {
        Self {
            quota_pages: AtomicU64::new(quota_pages(quota_bytes)),
            used_pages: AtomicU64::new(used_pages),
            reserved_pages: AtomicU64::new(0),
            dirty_bytes: AtomicUsize::new(0),
            free: Mutex::new(Free { at: None, bytes: 0 }),
            parked: Mutex::new(VecDeque::new()),
        }
    }

    fn quota_pages(&self) -> u64 {
        self.quota_pages.load(Ordering::Acquire)
    }

    pub(super) fn has_quota(&self) -> bool {
        self.quota_pages() != NO_QUOTA
    }

    /// Reserves quota for pages that were holes.
    pub(super) fn reserve(&self, pages: u64) -> Result<(), FsError> {
        let reserved = self.reserved_pages.fetch_add(pages, Ordering::AcqRel) + pages;
        if self.used_pages.load(Ordering::Acquire) + reserved > self.quota_pages() {
            self.unreserve(pages);
            return Err(FsError::Quota);
        }
        Ok(())
    }

    pub(super) fn unreserve(&self, pages: u64) {
        self.reserved_pages.fetch_sub(pages, Ordering::AcqRel);
    }

    /// Notes a change of the pages in use, made inside an operation.
    pub(super) fn used(&self, before: u64, after: u64) {
        if after >= before {
            self.used_pages.fetch_add(after - before, Ordering::AcqRel);
        } else {
            self.used_pages.fetch_sub(before - after, Ordering::AcqRel);
        }
    }

    pub(super) fn used_pages(&self) -> u64 {
        self.used_pages.load(Ordering::Acquire)
    }

    pub(super) fn dirtied(&self, bytes: usize) {
        self.dirty_bytes.fetch_add(bytes, Ordering::AcqRel);
    }

    pub(super) fn cleaned(&self, bytes: usize) {
        self.dirty_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }
}

impl Data {
    /// Takes room for `bytes` from the store's free space.
    pub(super) fn admit_bytes(&self, bytes: u64) -> Result<(), FsError> {
        let mut free = self.space.free.lock();
        let now = self.core.clock.monotonic();
        let fresh = free.at.is_some_and(|at| now < at + FREE_AGE);
        if !fresh || free.bytes < bytes {
            free.bytes = self.blocks.free_bytes()?;
            free.at = Some(now);
        }
        if free.bytes < bytes {
            return Err(FsError::NoSpace);
        }
        free.bytes -= bytes;
        Ok(())
    }

    /// Fails with `NoSpace` when the store's file system has no room left for new metadata. For
    /// operations that make names or inodes, not for those that remove.
    ///
    /// # Errors
    /// Also when the store cannot be asked.
    pub(in crate::fs) fn admit_metadata(&self) -> Result<(), FsError> {
        self.admit_bytes(METADATA_MIN_BYTES)?;
        self.space.free.lock().bytes += METADATA_MIN_BYTES - PAGE;
        Ok(())
    }

    /// Calls `go` now, or once there is less dirty data than the bound.
    pub(super) fn pace(&self, go: Parked) {
        if self.space.dirty_bytes.load(Ordering::Acquire) >= DIRTY_START_BYTES {
            self.jobs.flush_all();
        }
        if self.has_room() {
            return go();
        }
        self.space.parked.lock().push_back(go);
        // Whatever the writer waits for, the background thread looks again once it is over.
        let jobs = Arc::clone(&self.jobs);
        if self.core.txn.is_congested() {
            self.core.txn.commit(Box::new(move |_| jobs.flush_all()));
        } else {
            self.blocks.land(Box::new(move |_| jobs.flush_all()));
        }
    }

    fn has_room(&self) -> bool {
        let unwritten =
            self.space.dirty_bytes.load(Ordering::Acquire) + self.blocks.unlanded_bytes();
        unwritten < DIRTY_MAX_BYTES && !self.core.txn.is_congested()
    }

    /// Lets waiting writers go if there is room again, or if waiting is in vain.
    pub(super) fn release_parked(&self, in_vain: bool) {
        if in_vain || self.has_room() {
            let parked = std::mem::take(&mut *self.space.parked.lock());
            for go in parked {
                go();
            }
        }
    }

    /// Reserves quota for what a file will hold once it is `size` bytes long and `chunk` has data.
    pub(super) fn reserve(
        &self,
        ino: Ino,
        f: &mut File,
        chunk: Option<ChunkIx>,
        size: u64,
    ) -> Result<(), FsError> {
        if !self.space.has_quota() {
            return Ok(());
        }
        let inode = self.core.inode(ino)?;
        let fresh = match chunk {
            Some(ix) if self.is_fresh(ino, f, ix, &inode)? => Some(ix),
            _ => None,
        };
        let chunks = f.fresh_chunks + u64::from(fresh.is_some());
        let to_come = self.pages_to_come(f, &inode, chunks, size);
        if to_come > f.reserved {
            self.space.reserve(to_come - f.reserved)?;
            f.reserved = to_come;
        }
        if let Some(ix) = fresh {
            f.chunk(ix).is_fresh = true;
            f.fresh_chunks += 1;
        }
        Ok(())
    }

    /// Returns true if the quota counts a chunk neither as committed nor as dirty.
    fn is_fresh(&self, ino: Ino, f: &File, ix: ChunkIx, inode: &Inode) -> Result<bool, FsError> {
        match f.chunks.get(&ix) {
            Some(c) => Ok(!c.is_fresh && matches!(c.base, Base::Hole)),
            None if f.is_void(ix) => Ok(true),
            None => {
                let (group, slot) = self.geometry.slot(ix);
                let e = self.extents(&*self.core.txn, ino, inode, group)?;
                Ok(e.block(slot).is_none() && !e.has_pages(slot))
            }
        }
    }

    /// Returns the pages that the flush of a file will add to those in use.
    fn pages_to_come(&self, f: &File, inode: &Inode, fresh_chunks: u64, size: u64) -> u64 {
        if f.cut.is_some() {
            // What is being cut is still counted, so there is nothing to compare with.
            return fresh_chunks * self.geometry.pages_per_chunk();
        }
        let chunks = self.geometry.used_chunks(inode.used_pages) + fresh_chunks;
        let after = self.geometry.used_pages(chunks, size.max(f.size));
        after.saturating_sub(inode.used_pages)
    }

    /// Gives back what is reserved for a file beyond what its flush will add.
    pub(super) fn unreserve(&self, f: &mut File, inode: &Inode) {
        let to_come = self.pages_to_come(f, inode, f.fresh_chunks, f.size);
        let excess = f.reserved.saturating_sub(to_come);
        self.space.unreserve(excess);
        f.reserved -= excess;
    }

    /// Forgets a chunk that is no longer dirty.
    pub(super) fn forget_chunk(&self, f: &mut File, chunk: &Chunk) {
        self.space.cleaned(chunk.dirty_bytes());
        f.fresh_chunks -= u64::from(chunk.is_fresh);
    }

    /// Sets the quota from now on; what was reserved under the old one stays reserved.
    pub(in crate::fs) fn set_quota(&self, quota_bytes: Option<u64>) {
        let pages = quota_pages(quota_bytes);
        self.space.quota_pages.store(pages, Ordering::Release);
    }

    /// Returns the space of the volume, or of its quota, in logical pages.
    ///
    /// # Errors
    /// When the store cannot be asked.
    pub(in crate::fs) fn statfs(&self) -> Result<StatFs, FsError> {
        let used = self.space.used_pages();
        let store_free = self.blocks.free_bytes()? / PAGE;
        let (blocks, free_blocks) = match self.space.quota_pages() {
            NO_QUOTA => (used + store_free, store_free),
            quota => (quota, quota.saturating_sub(used).min(store_free)),
        };
        let inodes = self.core.txn.inodes();
        Ok(StatFs {
            blocks,
            free_blocks,
            files: inodes + free_blocks,
            free_files: free_blocks,
        })
    }
}
