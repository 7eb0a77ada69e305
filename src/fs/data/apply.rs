//! Puts the dirty state of a file into the open group: extents, pages, references, inode.
//!
//! For each chunk everything that can fail comes before the first change, so that a damaged record
//! leaves that chunk dirty and touches nothing else.

use std::collections::BTreeMap;

use crate::base::sync::Arc;
use crate::base::{ChunkIx, Ino};
use crate::format::key::Key;
use crate::fs::FsError;
use crate::meta::{Extents, Inode, InodeFlags, PageRecord};
use crate::txn::Op;

use super::Data;
use super::file::{Base, Chunk, File};
use super::geometry::PAGE;
use super::read::page_at;

/// An extent record: as it was, and as it will be.
struct Group {
    before: Arc<Extents>,
    now: Extents,
}

/// The extents of a file as an operation changes them.
pub(super) struct Mapping<'d> {
    data: &'d Data,
    ino: Ino,
    pub(super) inode: Inode,
    groups: BTreeMap<u64, Group>,
    /// The file had no extent records when the operation began.
    is_plain: bool,
    /// A truncation or removal is in progress: chunks beyond the end count until they are gone.
    is_cutting: bool,
    used_chunks: u64,
}

impl<'d> Mapping<'d> {
    pub(super) fn load(data: &'d Data, op: &Op<'_>, ino: Ino) -> Result<Self, FsError> {
        let inode = Inode::clone(&*data.core.inode_in(op, ino)?);
        let used_chunks = data.geometry.used_chunks(inode.used_pages);
        let mut mapping = Self {
            data,
            ino,
            is_plain: inode.flags & InodeFlags::EXTENTS == 0,
            is_cutting: false,
            used_chunks,
            inode,
            groups: BTreeMap::new(),
        };
        if mapping.is_plain && used_chunks > 0 {
            // The pages of chunk 0 must be named if the file gets extent records.
            mapping.group(op, 0)?;
        }
        Ok(mapping)
    }

    pub(super) fn group(&mut self, op: &Op<'_>, group: u64) -> Result<&mut Extents, FsError> {
        let entry = match self.groups.entry(group) {
            std::collections::btree_map::Entry::Occupied(e) => e.into_mut(),
            std::collections::btree_map::Entry::Vacant(v) => {
                let before = self.data.extents(op, self.ino, &self.inode, group)?;
                let now = Extents::clone(&before);
                v.insert(Group { before, now })
            }
        };
        Ok(&mut entry.now)
    }

    /// Returns the keys of the page records of a chunk, from page `from` on.
    pub(super) fn page_keys(
        &mut self,
        op: &Op<'_>,
        ix: ChunkIx,
        from: u32,
    ) -> Result<Vec<Key>, FsError> {
        let (group, slot) = self.data.geometry.slot(ix);
        if !self.group(op, group)?.has_pages(slot) {
            return Ok(Vec::new());
        }
        let names = &self.data.core.names;
        let first = names.page(self.ino, self.data.geometry.page(ix, from));
        let end = names.page(self.ino, self.data.geometry.page(ChunkIx(ix.0 + 1), 0));
        let count = self.data.geometry.chunk_len();
        let found = op.scan(&first, &end, count)?;
        Ok(found.into_iter().map(|(k, _)| k).collect())
    }

    /// Changes one slot and keeps the count of chunks that hold data.
    fn update(&mut self, ix: ChunkIx, f: impl FnOnce(&mut Extents, usize)) {
        let (group, slot) = self.data.geometry.slot(ix);
        let entry = self.groups.get_mut(&group);
        let e = &mut entry
            .expect("whoever changes a chunk has loaded its group")
            .now;
        let before = e.block(slot).is_some() || e.has_pages(slot);
        f(e, slot);
        let after = e.block(slot).is_some() || e.has_pages(slot);
        self.used_chunks = self.used_chunks + u64::from(after) - u64::from(before);
    }

    /// Takes block and pages of a chunk away; `keys` are those of [`Self::page_keys`].
    pub(super) fn clear(&mut self, op: &mut Op<'_>, ix: ChunkIx, keys: Vec<Key>) {
        let mut old = None;
        self.update(ix, |e, slot| {
            old = e.set_block(slot, None);
            e.set_pages(slot, false);
        });
        for key in keys {
            op.delete(key);
        }
        if let Some(id) = old {
            self.data.release(op, &id);
        }
    }

    /// Says that what lies beyond the size is being removed in steps, of which this is not the last.
    pub(super) fn keep_cutting(&mut self) {
        self.is_cutting = true;
    }

    pub(super) fn set_block(&mut self, ix: ChunkIx, id: crate::base::ContentId) {
        self.update(ix, |e, slot| {
            e.set_block(slot, Some(id));
        });
    }

    /// Puts one page record; `data` is a whole page, or what is left of one at the end of the file.
    pub(super) fn put_page(&mut self, op: &mut Op<'_>, ix: ChunkIx, page: u32, data: &[u8]) {
        let at = self.data.geometry.page(ix, page);
        let key = self.data.core.names.page(self.ino, at);
        let payload = PageRecord::encode(self.ino, at, data);
        // Nothing of the file lies in the store beyond its committed end.
        if at.0 >= self.inode.size_bytes.div_ceil(PAGE) {
            op.put_new(key, payload);
        } else {
            op.put(key, payload);
        }
        self.update(ix, |e, slot| e.set_pages(slot, true));
    }

    /// Puts the extents and the inode, which is `size_bytes` long from now on.
    pub(super) fn store(mut self, op: &mut Op<'_>, size_bytes: u64) {
        let data = self.data;
        let only_pages_of_first = |(group, g): (&u64, &Group)| {
            let e = &g.now;
            *group == 0 && e.pages <= 1 && (0..64).all(|s| e.block(s).is_none()) || e.is_empty()
        };
        if !self.is_plain || !self.groups.iter().all(only_pages_of_first) {
            self.inode.flags |= InodeFlags::EXTENTS;
            for (group, g) in std::mem::take(&mut self.groups) {
                if self.is_plain || g.now != *g.before {
                    self.put_group(op, group, g.now);
                }
            }
        }
        let before = self.inode.used_pages;
        self.inode.size_bytes = size_bytes;
        let counted_bytes = if self.is_cutting {
            u64::MAX
        } else {
            size_bytes
        };
        self.inode.used_pages = data.geometry.used_pages(self.used_chunks, counted_bytes);
        let after = self.inode.used_pages;
        let root = op.root();
        root.used_pages = root.used_pages + after - before;
        data.space.used(before, after);
        data.core.put_inode(op, self.ino, self.inode);
    }

    /// Gives up the mapping of an inode that is removed, all of whose data is cleared.
    pub(super) fn end(self, op: &mut Op<'_>) {
        for (group, g) in &self.groups {
            debug_assert!(g.now.is_empty());
            if !self.is_plain {
                op.delete(self.data.core.names.extents(self.ino, *group));
            }
            self.data.extent_cache.set((self.ino, *group), None);
        }
        let root = op.root();
        root.used_pages -= self.inode.used_pages;
        self.data.space.used(self.inode.used_pages, 0);
    }

    fn put_group(&self, op: &mut Op<'_>, group: u64, e: Extents) {
        let key = self.data.core.names.extents(self.ino, group);
        let cache = &self.data.extent_cache;
        if e.is_empty() {
            if !self.is_plain {
                op.delete(key);
            }
            cache.set((self.ino, group), Some(&Arc::new(e)));
            return;
        }
        if self.is_plain {
            op.put_new(key, e.encode());
        } else {
            op.put(key, e.encode());
        }
        cache.set((self.ino, group), Some(&Arc::new(e)));
    }
}

impl Data {
    /// Gives a reference back. A damaged reference record costs its block's space, never data.
    pub(super) fn release(&self, op: &mut Op<'_>, id: &crate::base::ContentId) {
        if let Err(e) = self.blocks.release(op, id) {
            let _logged = FsError::from(e);
            op.tolerate();
        }
    }

    /// Puts what the flush in progress covers into the open group. Returns true if a block is gone
    /// since it was stored and is in flight again.
    pub(super) fn apply(&self, ino: Ino, f: &mut File) -> Result<bool, FsError> {
        let _change = self.layout.change(ino);
        let mut op = self.core.begin()?;
        let mut mapping = match Mapping::load(self, &op, ino) {
            Err(FsError::NoEntry) => {
                drop(op);
                self.discard(f);
                return Ok(false);
            }
            other => other?,
        };
        let (since, covered_size) = f.flushing.map_or((0, 0), |c| (c.since, c.size));
        let ready: Vec<ChunkIx> = f
            .chunks
            .iter()
            .filter(|(_, c)| c.since <= since)
            .map(|(ix, _)| *ix)
            .collect();
        let (mut error, mut again, mut end) = (None, false, 0);
        for ix in ready {
            let Some(chunk) = f.chunks.get_mut(&ix) else {
                continue;
            };
            match self.apply_chunk(&mut op, &mut mapping, ix, chunk) {
                Err(e) => {
                    // The chunk stays dirty, the others are whole.
                    op.tolerate();
                    error = Some(e);
                }
                Ok(false) => again = true,
                Ok(true) => {
                    end = self.geometry.start(ChunkIx(ix.0 + 1));
                    if let Some(chunk) = f.chunks.remove(&ix) {
                        self.forget_chunk(f, &chunk);
                        self.fold.note(ino, ix, &chunk, f.size);
                    }
                }
            }
        }
        let size = if f.chunks.is_empty() {
            f.meta_dirty = false;
            f.size
        } else {
            // What stays dirty must not be part of the committed size; what was dirty when the flush
            // began is, unless some of it has failed.
            let whole = error.is_none() && !again;
            let covered = if whole { covered_size } else { 0 };
            mapping.inode.size_bytes.max(end).max(covered).min(f.size)
        };
        if let Some(times) = f.times.take() {
            times.lay_over(&mut mapping.inode);
        }
        mapping.store(&mut op, size);
        if let Ok(inode) = self.core.inode_in(&op, ino) {
            self.unreserve(f, &inode);
        }
        match error {
            Some(e) => Err(e),
            None => Ok(again),
        }
    }

    /// Puts one chunk; false if its block is gone and was stored again.
    fn apply_chunk(
        &self,
        op: &mut Op<'_>,
        mapping: &mut Mapping<'_>,
        ix: ChunkIx,
        chunk: &mut Chunk,
    ) -> Result<bool, FsError> {
        let (group, _) = self.geometry.slot(ix);
        mapping.group(op, group)?;
        match &chunk.base {
            Base::Committed => {}
            Base::Hole => {
                let keys = mapping.page_keys(op, ix, 0)?;
                mapping.clear(op, ix, keys);
            }
            Base::Block(stored) => {
                let keys = mapping.page_keys(op, ix, 0)?;
                if !self.blocks.reference(op, stored)? {
                    let mut content = vec![0; self.geometry.chunk_len()];
                    self.blocks.read(&stored.id(), 0, &mut content)?;
                    chunk.base = self.store_chunk(&content)?;
                    return Ok(false);
                }
                mapping.clear(op, ix, keys);
                mapping.set_block(ix, stored.id());
            }
        }
        for (page, data) in &chunk.pages {
            debug_assert!(page_at(*page) < self.geometry.chunk_len());
            mapping.put_page(op, ix, *page, data);
        }
        Ok(true)
    }

    /// Forgets everything dirty: the inode is gone.
    pub(super) fn discard(&self, f: &mut File) {
        for chunk in std::mem::take(&mut f.chunks).values() {
            self.forget_chunk(f, chunk);
        }
        self.space.unreserve(std::mem::take(&mut f.reserved));
        f.meta_dirty = false;
        f.times = None;
    }
}
