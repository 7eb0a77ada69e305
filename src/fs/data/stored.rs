//! Reads of the committed contents: pages over blocks over holes.

use std::ops::Range;

use crate::base::sync::Arc;
use crate::base::{ChunkIx, Ino, PAGE_BYTES};
use crate::fs::FsError;
use crate::meta::{Extents, Inode, InodeFlags, PageRecord, Source};

use super::Data;
use super::read::Unread;

impl Data {
    /// Returns the extents of a group as the groups hold them. A file without extent records has at
    /// most pages in chunk 0.
    pub(super) fn extents(
        &self,
        from: &impl Source,
        ino: Ino,
        inode: &Inode,
        group: u64,
    ) -> Result<Arc<Extents>, FsError> {
        if inode.flags & InodeFlags::EXTENTS == 0 {
            let mut e = Extents::default();
            e.set_pages(0, group == 0 && inode.used_pages > 0);
            return Ok(Arc::new(e));
        }
        if let Some(e) = self.extent_cache.get((ino, group)) {
            return Ok(e);
        }
        let mark = self.extent_cache.mark();
        let e = match from.get(&self.core.names.extents(ino, group))? {
            None => Extents::default(),
            Some(payload) => Extents::decode(&payload)?,
        };
        let e = Arc::new(e);
        self.extent_cache
            .insert_if_unchanged((ino, group), &e, mark);
        Ok(e)
    }

    /// Returns the first extent groups of a range that have a record, with its payload.
    pub(super) fn extent_groups(
        &self,
        source: &impl Source,
        ino: Ino,
        groups: Range<u64>,
        limit: usize,
    ) -> Result<Vec<(u64, Vec<u8>)>, FsError> {
        let names = &self.core.names;
        let (from, to) = (
            names.extents(ino, groups.start),
            names.extents(ino, groups.end),
        );
        let found = source.scan(&from, &to, limit)?;
        found
            .into_iter()
            .map(|(key, payload)| {
                let tail = key.as_bytes().last_chunk().ok_or(FsError::Io("C-DECODE"))?;
                Ok((u64::from_be_bytes(*tail), payload))
            })
            .collect()
    }

    /// Fills `out` with the committed contents of a chunk from `at`. The state must not change
    /// meanwhile: under the file's lock, or checked with [`super::layout::Layout`].
    pub(super) fn read_committed(
        &self,
        ino: Ino,
        chunk: ChunkIx,
        at: usize,
        out: &mut [u8],
    ) -> Result<(), Unread> {
        let inode = self.core.inode(ino)?;
        let (group, slot) = self.geometry.slot(chunk);
        let txn = &*self.core.txn;
        let extents = self.extents(txn, ino, &inode, group)?;
        let one_page = at / PAGE_BYTES == (at + out.len() - 1) / PAGE_BYTES;
        if extents.has_pages(slot) && one_page && self.read_page(ino, chunk, at, out)? {
            return Ok(());
        }
        match extents.block(slot) {
            Some(id) => {
                let at = u32::try_from(at).expect("a chunk is at most 1 MiB");
                self.blocks.read(&id, at, out)?;
            }
            None => out.fill(0),
        }
        if extents.has_pages(slot) && !one_page {
            self.read_pages(ino, chunk, at, out)?;
        }
        Ok(())
    }

    /// Fills `out`, which lies in one page, from its record; false if there is none.
    fn read_page(
        &self,
        ino: Ino,
        chunk: ChunkIx,
        at: usize,
        out: &mut [u8],
    ) -> Result<bool, FsError> {
        let page = u32::try_from(at / PAGE_BYTES).expect("a chunk is at most 1 MiB");
        let key = self.core.names.page(ino, self.geometry.page(chunk, page));
        let Some(payload) = self.core.txn.get(&key)? else {
            return Ok(false);
        };
        let record = PageRecord::decode(&payload)?;
        lay(out, at, at / PAGE_BYTES * PAGE_BYTES, &record.data);
        Ok(true)
    }

    /// Lays the page records of a range over `out`.
    fn read_pages(
        &self,
        ino: Ino,
        chunk: ChunkIx,
        at: usize,
        out: &mut [u8],
    ) -> Result<(), FsError> {
        let first = u32::try_from(at / PAGE_BYTES).expect("a chunk is at most 1 MiB");
        let last =
            u32::try_from((at + out.len() - 1) / PAGE_BYTES).expect("a chunk is at most 1 MiB");
        let names = &self.core.names;
        let from = names.page(ino, self.geometry.page(chunk, first));
        let to = names.page(ino, self.geometry.page(chunk, last)).successor();
        let count = usize::try_from(last - first + 1).expect("pages of a chunk");
        for (_, payload) in self.core.txn.scan(&from, &to, count)? {
            let record = PageRecord::decode(&payload)?;
            let page_at = record.page.0 - self.geometry.page(chunk, 0).0;
            let page_at =
                usize::try_from(page_at).map_err(|_| FsError::Io("C-DECODE"))? * PAGE_BYTES;
            lay(out, at, page_at, &record.data);
        }
        Ok(())
    }
}

/// Copies a page that lies at `page_at` of a chunk, zeros at its end included, into `out`, which
/// starts at `at` of the chunk.
pub(super) fn lay(out: &mut [u8], at: usize, page_at: usize, data: &[u8]) {
    let begin = page_at.max(at);
    let end = (page_at + PAGE_BYTES).min(at + out.len());
    if begin >= end {
        return;
    }
    let (dst, src) = (begin - at, begin - page_at);
    let want = end - begin;
    let have = data.len().saturating_sub(src).min(want);
    let Some(target) = out.get_mut(dst..dst + want) else {
        return;
    };
    let (copied, zeros) = target.split_at_mut(have);
    if let Some(from) = data.get(src..src + have) {
        copied.copy_from_slice(from);
    }
    zeros.fill(0);
}
