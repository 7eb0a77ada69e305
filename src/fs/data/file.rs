//! The dirty state of a file: what no group holds yet.
//!
//! Invariants
//! * a dirty page holds zeros beyond the live size, and no page lies wholly beyond it;
//! * a chunk of the store from `cut` on is void: it reads as zeros;
//! * a file that is clean is not in the map.
//!
//! Locks: a file's lock is taken before the open group, and never while a shard of the map is held.

use std::collections::{BTreeMap, HashMap};

use crate::base::sync::{Arc, Mutex};
use crate::base::{ChunkIx, Ino, PAGE_BYTES, Timestamp};
use crate::block::Stored;
use crate::fs::{Done, FsError};
use crate::meta::Inode;

use super::read::{page_at, page_index};

/// What lies under the dirty pages of a chunk.
pub(super) enum Base {
    /// What the groups hold.
    Committed,
    /// Nothing: zeros.
    Hole,
    /// A block handed to the store that replaces everything committed.
    Block(Stored),
}

/// A chunk with changes that are in no group.
pub(super) struct Chunk {
    pub(super) base: Base,
    /// Whole pages by their index in the chunk.
    pub(super) pages: BTreeMap<u32, Box<[u8]>>,
    /// The file's sequence number when it became dirty.
    pub(super) since: u64,
    /// The quota counts it as a chunk that holds no committed data.
    pub(super) is_fresh: bool,
}

/// What a flush covers: the state of the file when it began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Covered {
    /// Chunks that became dirty with this sequence number or before.
    pub(super) since: u64,
    pub(super) size: u64,
}

/// Times that are committed together with the data they belong to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) mtime: Timestamp,
    pub(super) ctime: Timestamp,
}

impl Times {
    /// Puts them into an inode, whose ctime may be of a later change.
    pub(super) fn lay_over(self, inode: &mut Inode) {
        inode.mtime = self.mtime;
        inode.ctime = inode.ctime.max(self.ctime);
    }
}

/// The dirty state of one file.
pub(super) struct File {
    /// Live size in bytes.
    pub(super) size: u64,
    /// Live size or times are in no group.
    pub(super) meta_dirty: bool,
    /// mtime and ctime that belong to data in no group.
    pub(super) times: Option<Times>,
    pub(super) chunks: BTreeMap<ChunkIx, Chunk>,
    /// Those of `chunks` that are fresh.
    pub(super) fresh_chunks: u64,
    /// Quota pages reserved for what is dirty.
    pub(super) reserved: u64,
    /// A truncation in progress: stored chunks from here on are void.
    pub(super) cut: Option<ChunkIx>,
    /// Rises with each flush.
    pub(super) seq: u64,
    /// The flush in progress.
    pub(super) flushing: Option<Covered>,
    /// Wait for the flush in progress.
    pub(super) current: Vec<Done<()>>,
    /// Wait for the next one.
    pub(super) next: Vec<Done<()>>,
    /// No longer in the map.
    gone: bool,
}

/// Returns a page of zeros.
pub(super) fn zero_page() -> Box<[u8]> {
    vec![0; PAGE_BYTES].into_boxed_slice()
}

impl Chunk {
    pub(super) fn new(base: Base, since: u64) -> Self {
        Self {
            base,
            pages: BTreeMap::new(),
            since,
            is_fresh: false,
        }
    }

    /// Returns true if all of it will read as zeros.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self.base, Base::Hole) && self.pages.is_empty()
    }

    /// Lets nothing of its pages lie beyond `at`.
    pub(super) fn cut_pages(&mut self, at: usize) {
        drop(self.pages.split_off(&page_index(at.div_ceil(PAGE_BYTES))));
        if let Some((page, data)) = self.pages.iter_mut().next_back() {
            let keep = at.saturating_sub(page_at(*page)).min(PAGE_BYTES);
            data.get_mut(keep..).into_iter().for_each(|d| d.fill(0));
        }
    }

    /// Bytes of its dirty buffers.
    pub(super) fn dirty_bytes(&self) -> usize {
        self.pages.len() * PAGE_BYTES
    }
}

impl File {
    fn new(size: u64) -> Self {
        Self {
            size,
            meta_dirty: false,
            times: None,
            chunks: BTreeMap::new(),
            fresh_chunks: 0,
            reserved: 0,
            cut: None,
            seq: 0,
            flushing: None,
            current: Vec::new(),
            next: Vec::new(),
            gone: false,
        }
    }

    /// Notes the time of a change of the contents.
    pub(super) fn touch(&mut self, now: Timestamp) {
        self.times = Some(Times {
            mtime: now,
            ctime: now,
        });
    }

    /// Returns true if a group holds everything.
    pub(super) fn is_clean(&self) -> bool {
        let nothing = self.chunks.is_empty() && !self.meta_dirty && self.times.is_none();
        // What a failed change has reserved goes back with a flush.
        nothing && self.reserved == 0
    }

    fn is_idle(&self) -> bool {
        self.is_clean() && self.cut.is_none() && self.flushing.is_none() && self.next.is_empty()
    }

    /// Returns true if the store's chunk counts for nothing.
    pub(super) fn is_void(&self, chunk: ChunkIx) -> bool {
        self.cut.is_some_and(|cut| chunk >= cut)
    }

    /// Returns the chunk's dirty state, made if there was none.
    pub(super) fn chunk(&mut self, ix: ChunkIx) -> &mut Chunk {
        let base = if self.is_void(ix) {
            Base::Hole
        } else {
            Base::Committed
        };
        let since = self.seq;
        self.chunks
            .entry(ix)
            .or_insert_with(|| Chunk::new(base, since))
    }
}

/// Shards of the map: more than threads, so that they seldom meet.
const SHARDS: usize = 64;

type Shard = Mutex<HashMap<Ino, Arc<Mutex<File>>>>;

/// The files with dirty state.
pub(super) struct Files {
    shards: Vec<Shard>,
}

impl Files {
    pub(super) fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
        }
    }

    fn shard(&self, ino: Ino) -> &Shard {
        let n = SHARDS as u64;
        let ix = usize::try_from(ino.0 % n).expect("less than the number of shards");
        self.shards.get(ix).expect("less than the number of shards")
    }

    /// Calls `f` with the file locked; `size` tells the committed size if the file was clean.
    pub(super) fn with<T>(
        &self,
        ino: Ino,
        size: impl Fn() -> Result<u64, FsError>,
        f: impl FnOnce(&mut File) -> T,
    ) -> Result<T, FsError> {
        loop {
            let found = self.shard(ino).lock().get(&ino).map(Arc::clone);
            let file = match found {
                Some(file) => file,
                None => {
                    // The size is read under the new file's lock, so no flush can be between.
                    let file = Arc::new(Mutex::new(File::new(0)));
                    let mut guard = file.lock();
                    match self.shard(ino).lock().entry(ino) {
                        std::collections::hash_map::Entry::Occupied(_) => continue,
                        std::collections::hash_map::Entry::Vacant(v) => {
                            v.insert(Arc::clone(&file));
                        }
                    }
                    match size() {
                        Ok(s) => guard.size = s,
                        Err(e) => {
                            self.remove(ino, &mut guard);
                            return Err(e);
                        }
                    }
                    let out = f(&mut guard);
                    self.leave(ino, &mut guard);
                    drop(guard);
                    return Ok(out);
                }
            };
            let mut guard = file.lock();
            if guard.gone {
                continue;
            }
            let out = f(&mut guard);
            self.leave(ino, &mut guard);
            return Ok(out);
        }
    }

    /// Calls `f` with the file locked if it has dirty state.
    pub(super) fn with_dirty<T>(&self, ino: Ino, f: impl FnOnce(&mut File) -> T) -> Option<T> {
        let file = self.shard(ino).lock().get(&ino).map(Arc::clone)?;
        let mut guard = file.lock();
        if guard.gone {
            return None;
        }
        let out = f(&mut guard);
        self.leave(ino, &mut guard);
        Some(out)
    }

    /// Returns true if a file has dirty state at this moment.
    pub(super) fn is_dirty(&self, ino: Ino) -> bool {
        self.shard(ino).lock().contains_key(&ino)
    }

    fn leave(&self, ino: Ino, file: &mut File) {
        if file.is_idle() {
            self.remove(ino, file);
        }
    }

    fn remove(&self, ino: Ino, file: &mut File) {
        file.gone = true;
        self.shard(ino).lock().remove(&ino);
    }

    /// Returns the files with dirty state at some moment of the call.
    pub(super) fn list(&self) -> Vec<Ino> {
        self.shards
            .iter()
            .flat_map(|s| s.lock().keys().copied().collect::<Vec<_>>())
            .collect()
    }
}
