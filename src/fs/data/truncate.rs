//! Truncation, and the removal of stored data in bounded steps.

use crate::base::{ChunkIx, Ino, PAGE_BYTES};
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
        if keeps {
            self.cut_chunk(&mut op, &mut mapping, boundary, &kept)?;
        }
        let first = self.geometry.chunk_after(size);
        let now = self.core.now();
        mapping.inode.mtime = now;
        mapping.inode.ctime = now;
        let plain = mapping.inode.flags & InodeFlags::EXTENTS == 0;
        let groups = if plain {
            Vec::new()
        } else {
            self.groups_from(&op, ino, first)?
        };
        if f.cut.is_none() && groups.len() <= STEP_GROUPS {
            if plain && first == ChunkIx(0) {
                let keys = mapping.page_keys(&op, first, 0)?;
                mapping.clear(&mut op, first, keys);
            }
            for group in &groups {
                self.clear_group(&mut op, &mut mapping, *group, first)?;
            }
        } else {
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

    fn cut_chunk(
        &self,
        op: &mut Op<'_>,
        mapping: &mut Mapping<'_>,
        ix: ChunkIx,
        kept: &[u8],
    ) -> Result<(), FsError> {
        let (group, slot) = self.geometry.slot(ix);
        let e = mapping.group(op, group)?;
        if e.block(slot).is_some() {
            let keys = mapping.page_keys(op, ix, 0)?;
            mapping.clear(op, ix, keys);
            for (page, data) in kept.chunks(PAGE_BYTES).enumerate() {
                if !is_zero(data) {
                    mapping.put_page(op, ix, page_index(page), data);
                }
            }
        } else if e.has_pages(slot) {
            let partial = page_index(kept.len() / PAGE_BYTES);
            for key in mapping.page_keys(op, ix, partial)? {
                op.delete(key);
            }
            if let Some(data) = kept.chunks(PAGE_BYTES).nth(kept.len() / PAGE_BYTES) {
                mapping.put_page(op, ix, partial, data);
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

    /// Takes everything of a group from chunk `first` on away.
    fn clear_group(
        &self,
        op: &mut Op<'_>,
        mapping: &mut Mapping<'_>,
        group: u64,
        first: ChunkIx,
    ) -> Result<(), FsError> {
        for slot in 0..crate::meta::GROUP_CHUNKS {
            let ix = self.geometry.chunk_at(group, slot);
            let e = mapping.group(op, group)?;
            if ix >= first && (e.block(slot).is_some() || e.has_pages(slot)) {
                let keys = mapping.page_keys(op, ix, 0)?;
                mapping.clear(op, ix, keys);
            }
        }
        Ok(())
    }

    /// Removes stored data from chunk `first` on, a few groups; true if nothing is left.
    pub(super) fn clear_step(
        &self,
        op: &mut Op<'_>,
        mapping: &mut Mapping<'_>,
        ino: Ino,
        first: ChunkIx,
    ) -> Result<bool, FsError> {
        if mapping.inode.flags & InodeFlags::EXTENTS == 0 {
            if first == ChunkIx(0) {
                let keys = mapping.page_keys(op, first, 0)?;
                mapping.clear(op, first, keys);
            }
            return Ok(true);
        }
        let groups = self.groups_from(op, ino, first)?;
        for group in groups.iter().take(STEP_GROUPS) {
            self.clear_group(op, mapping, *group, first)?;
        }
        Ok(groups.len() <= STEP_GROUPS)
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
        let done = self.clear_step(&mut op, &mut mapping, ino, first)?;
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
