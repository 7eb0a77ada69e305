//! Truncation, and the removal of stored data in bounded steps.

use crate::base::{ChunkIx, Ino, PAGE_BYTES};
use crate::format::key::Key;
use crate::fs::FsError;
use crate::meta::{InodeFlags, Orphan};
use crate::txn::Op;

use super::Data;
use super::apply::Mapping;
use super::file::{Base, File};
use super::flush::Calls;
use super::geometry::SIZE_MAX;
use super::read::page_index;
use super::write::is_zero;

/// Extent groups that one operation removes at most.
const STEP_GROUPS: usize = 4;

/// No truncation is in progress.
pub(super) const NO_CUT: u64 = u64::MAX;

/// What is to be removed: found, with all that can fail, before the first change.
#[derive(Default)]
pub(super) struct Stored {
    /// Chunks with the keys of their pages.
    chunks: Vec<(ChunkIx, Vec<Key>)>,
    /// Nothing else is left to remove.
    pub(super) is_all: bool,
}

impl Stored {
    /// Removes it.
    pub(super) fn clear(self, op: &mut Op<'_>, mapping: &mut Mapping<'_>) {
        for (ix, keys) in self.chunks {
            mapping.clear(op, ix, keys);
        }
    }
}

impl Data {
    /// Sets the size and mtime/ctime; the other attributes are not touched.
    ///
    /// # Errors
    /// When the size is beyond the limit, or the store fails.
    pub(in crate::fs) fn truncate(&self, ino: Ino, size_bytes: u64) -> Result<(), FsError> {
        self.check_writable()?;
        if size_bytes > SIZE_MAX {
            return Err(FsError::TooLarge);
        }
        self.with_file(ino, |f| {
            if size_bytes < f.size {
                self.shrink(ino, f, size_bytes)?;
            } else {
                self.reserve(ino, f, None, size_bytes)?;
            }
            f.size = size_bytes;
            f.meta_dirty = true;
            f.touch(self.core.now());
            if let Ok(inode) = self.core.inode(ino) {
                self.unreserve(f, &inode);
            }
            Ok(())
        })?
    }

    fn shrink(&self, ino: Ino, f: &mut File, size: u64) -> Result<(), FsError> {
        let boundary = self.geometry.chunk_of(size);
        let at = self.geometry.len_within(boundary, size);
        // What can fail comes first: the kept part of what will be cut.
        let block = match f.chunks.get(&boundary).map(|c| &c.base) {
            Some(Base::Block(stored)) if at > 0 => {
                let mut kept = vec![0; at];
                self.blocks.read(&stored.id(), 0, &mut kept)?;
                Some(kept)
            }
            _ => None,
        };
        if self.core.inode(ino)?.size_bytes > size {
            self.cut_stored(ino, f, size)?;
        }
        let gone = f.chunks.split_off(&self.geometry.chunk_after(size));
        gone.values().for_each(|c| self.forget_chunk(f, c));
        if let Some(chunk) = f.chunks.get_mut(&boundary) {
            let before = chunk.dirty_bytes();
            if let Some(kept) = block {
                chunk.base = Base::Hole;
                for (page, data) in kept.chunks(PAGE_BYTES).enumerate() {
                    let mut whole = data.to_vec();
                    whole.resize(PAGE_BYTES, 0);
                    let page = page_index(page);
                    chunk.pages.entry(page).or_insert(whole.into_boxed_slice());
                }
            }
            chunk.cut_pages(at);
            self.space.cleaned(before);
            self.space.dirtied(chunk.dirty_bytes());
        }
        Ok(())
    }

    /// Cuts the committed state. A chunk that the cut goes through keeps its head as pages.
    fn cut_stored(&self, ino: Ino, f: &mut File, size: u64) -> Result<(), FsError> {
        let boundary = self.geometry.chunk_of(size);
        let at = self.geometry.len_within(boundary, size);
        let mut kept = vec![0; at];
        let keeps = at > 0 && !f.is_void(boundary);
        if keeps {
            self.read_committed(ino, boundary, 0, &mut kept)?;
        }
        let _change = self.layout.change(ino);
        let mut op = self.core.begin()?;
        let mut mapping = Mapping::load(self, &op, ino)?;
        let cut_keys = match keeps {
            true => self.keys_to_cut(&op, &mut mapping, boundary, at)?,
            false => Vec::new(),
        };
        let first = self.geometry.chunk_after(size);
        let beyond = match f.cut {
            None => self.find_stored(&op, &mut mapping, ino, first)?,
            Some(_) => Stored::default(),
        };
        if keeps {
            self.cut_chunk(&mut op, &mut mapping, boundary, &kept, cut_keys)?;
        }
        let now = self.core.now();
        mapping.inode.mtime = now;
        mapping.inode.ctime = now;
        let is_done = f.cut.is_none() && beyond.is_all;
        beyond.clear(&mut op, &mut mapping);
        if !is_done {
            let cut = f.cut.map_or(first, |c| c.min(first));
            f.cut = Some(cut);
            mapping.keep_cutting();
            self.cutting.lock().insert(ino);
            let record = Orphan {
                ino,
                dead: false,
                cut_bytes: self.geometry.start(cut),
            };
            op.put(self.core.names.orphan(ino), record.encode());
            self.jobs.cut(ino);
        }
        mapping.store(&mut op, size);
        Ok(())
    }

    /// Returns the keys of the pages that go when a chunk keeps `at` bytes: all that lie over a block,
    /// otherwise those beyond the cut.
    fn keys_to_cut(
        &self,
        op: &Op<'_>,
        mapping: &mut Mapping<'_>,
        ix: ChunkIx,
        at: usize,
    ) -> Result<Vec<Key>, FsError> {
        let (group, slot) = self.geometry.slot(ix);
        let from = match mapping.group(op, group)?.block(slot) {
            Some(_) => 0,
            None => page_index(at / PAGE_BYTES),
        };
        mapping.page_keys(op, ix, from)
    }

    fn cut_chunk(
        &self,
        op: &mut Op<'_>,
        mapping: &mut Mapping<'_>,
        ix: ChunkIx,
        kept: &[u8],
        keys: Vec<Key>,
    ) -> Result<(), FsError> {
        let (group, slot) = self.geometry.slot(ix);
        let e = mapping.group(op, group)?;
        if e.block(slot).is_some() {
            mapping.clear(op, ix, keys);
            for (page, data) in kept.chunks(PAGE_BYTES).enumerate() {
                if !is_zero(data) {
                    mapping.put_page(op, ix, page_index(page), data);
                }
            }
        } else if e.has_pages(slot) {
            keys.into_iter().for_each(|key| op.delete(key));
            let partial = kept.len() / PAGE_BYTES;
            if let Some(data) = kept.chunks(PAGE_BYTES).nth(partial) {
                mapping.put_page(op, ix, page_index(partial), data);
            }
        }
        Ok(())
    }

    /// Returns the first extent groups that have chunks from `first` on, one more than a step takes.
    fn groups_from(&self, op: &Op<'_>, ino: Ino, first: ChunkIx) -> Result<Vec<u64>, FsError> {
        let (group, _) = self.geometry.slot(first);
        let found = self.extent_groups(op, ino, group..u64::MAX, STEP_GROUPS + 1)?;
        Ok(found.into_iter().map(|(group, _)| group).collect())
    }

    /// Finds stored data from chunk `first` on, of a few groups.
    pub(super) fn find_stored(
        &self,
        op: &Op<'_>,
        mapping: &mut Mapping<'_>,
        ino: Ino,
        first: ChunkIx,
    ) -> Result<Stored, FsError> {
        let mut stored = Stored {
            chunks: Vec::new(),
            is_all: true,
        };
        if mapping.inode.flags & InodeFlags::EXTENTS == 0 {
            if first == ChunkIx(0) {
                let keys = mapping.page_keys(op, first, 0)?;
                stored.chunks.push((first, keys));
            }
            return Ok(stored);
        }
        let groups = self.groups_from(op, ino, first)?;
        for group in groups.iter().take(STEP_GROUPS) {
            for slot in 0..crate::meta::GROUP_CHUNKS {
                let ix = self.geometry.chunk_at(*group, slot);
                let e = mapping.group(op, *group)?;
                if ix >= first && (e.block(slot).is_some() || e.has_pages(slot)) {
                    stored.chunks.push((ix, mapping.page_keys(op, ix, 0)?));
                }
            }
        }
        stored.is_all = groups.len() <= STEP_GROUPS;
        Ok(stored)
    }

    /// Goes on with a truncation; what waits for its end goes on then.
    pub(super) fn cut(&self, ino: Ino) {
        let calls = self.files.with_dirty(ino, |f| {
            let Some(first) = f.cut else {
                return Calls::default();
            };
            match self.cut_step(ino, first) {
                Ok(false) => {
                    self.jobs.cut(ino);
                    Calls::default()
                }
                Ok(true) => {
                    f.cut = None;
                    self.advance(ino, f)
                }
                // Logged; the record stays, and the next start tries again.
                Err(e) => self.fail(f, &e),
            }
        });
        calls.unwrap_or_default().run();
    }

    fn cut_step(&self, ino: Ino, first: ChunkIx) -> Result<bool, FsError> {
        let _change = self.layout.change(ino);
        let mut op = self.core.begin()?;
        let mut mapping = match Mapping::load(self, &op, ino) {
            Err(FsError::NoEntry) => return Ok(true),
            other => other?,
        };
        let stored = self.find_stored(&op, &mut mapping, ino, first)?;
        let done = stored.is_all;
        stored.clear(&mut op, &mut mapping);
        if !done {
            mapping.keep_cutting();
        }
        let size = mapping.inode.size_bytes;
        let is_dead = mapping.inode.nlink == 0;
        mapping.store(&mut op, size);
        if done {
            self.cutting.lock().remove(&ino);
            if !is_dead {
                op.delete(self.core.names.orphan(ino));
            }
        }
        Ok(done)
    }
}
