//! Writes: whole chunks go to the store at once, the rest waits in pages.

use crate::base::{ChunkIx, Ino, PAGE_BYTES};
use crate::fs::{Caller, Done, FsError, WriteFlags};

use super::Data;
use super::file::{Base, File, zero_page};
use super::geometry::{PAGE, Part, SIZE_MAX};
use super::read::{page_at, page_index};

impl Data {
    /// Writes; `done` is called when there is room for more.
    pub(in crate::fs) fn write(
        &self,
        _caller: Caller,
        ino: Ino,
        offset: u64,
        data: &[u8],
        flags: WriteFlags,
        done: Done<u32>,
    ) {
        match self.write_now(ino, offset, data, flags.cached) {
            Ok(()) => {
                let n = u32::try_from(data.len()).unwrap_or(u32::MAX);
                self.pace(Box::new(move || done(Ok(n))));
            }
            Err(e) => done(Err(e)),
        }
    }

    /// Takes data into the dirty state of a file. With `cached` the times are the kernel's business.
    pub(super) fn write_now(
        &self,
        ino: Ino,
        offset: u64,
        data: &[u8],
        cached: bool,
    ) -> Result<(), FsError> {
        self.check_writable()?;
        let end = offset
            .checked_add(data.len() as u64)
            .filter(|end| *end <= SIZE_MAX)
            .ok_or(FsError::TooLarge)?;
        if data.is_empty() {
            return Ok(());
        }
        self.admit_bytes(data.len() as u64)?;
        // Whole chunks are hashed and sealed before the file is locked: writers of one file do so
        // side by side.
        let mut whole = Vec::new();
        for part in self.geometry.parts(offset, data.len()) {
            if part.len == self.geometry.chunk_len() {
                whole.push((part.chunk, self.store_chunk(slice(data, part))?));
            }
        }
        self.with_file(ino, |f| {
            let mut whole = whole.into_iter();
            for part in self.geometry.parts(offset, data.len()) {
                let put = if part.len == self.geometry.chunk_len() {
                    let (ix, base) = whole.next().expect("one per whole part, in their order");
                    self.put_whole(ino, f, ix, base)
                } else {
                    self.put_pages(ino, f, part, slice(data, part))
                };
                if let Err(e) = put {
                    self.take_back(ino, f, part.chunk);
                    return Err(e);
                }
                let part_end = offset + (part.from + part.len) as u64;
                if part_end > f.size {
                    f.size = part_end;
                    f.meta_dirty = true;
                }
            }
            debug_assert!(f.size >= end);
            if !cached {
                f.touch(self.core.now());
            }
            Ok(())
        })?
    }

    /// A write has failed in a chunk: what it has put beyond the end of the file goes.
    fn take_back(&self, ino: Ino, f: &mut File, ix: ChunkIx) {
        let at = self.geometry.len_within(ix, f.size);
        if let Some(chunk) = f.chunks.get_mut(&ix) {
            self.space.cleaned(chunk.dirty_bytes());
            chunk.cut_pages(at);
            self.space.dirtied(chunk.dirty_bytes());
        }
        if let Ok(inode) = self.core.inode(ino) {
            self.unreserve(f, &inode);
        }
    }

    /// Hands a chunk to the store; zeros need none.
    pub(super) fn store_chunk(&self, chunk: &[u8]) -> Result<Base, FsError> {
        if is_zero(chunk) {
            return Ok(Base::Hole);
        }
        Ok(Base::Block(self.blocks.store(chunk)?))
    }

    /// Replaces everything of a chunk.
    pub(super) fn put_whole(
        &self,
        ino: Ino,
        f: &mut File,
        ix: ChunkIx,
        base: Base,
    ) -> Result<(), FsError> {
        if !matches!(base, Base::Hole) {
            let end = self.geometry.start(ChunkIx(ix.0 + 1));
            self.reserve(ino, f, Some(ix), end)?;
        }
        let chunk = f.chunk(ix);
        chunk.base = base;
        self.space.cleaned(chunk.dirty_bytes());
        chunk.pages.clear();
        Ok(())
    }

    pub(super) fn put_pages(
        &self,
        ino: Ino,
        f: &mut File,
        part: Part,
        data: &[u8],
    ) -> Result<(), FsError> {
        let first = part.at / PAGE_BYTES;
        let last = (part.at + part.len - 1) / PAGE_BYTES;
        let start = self.geometry.start(part.chunk);
        let end = start + (part.at + part.len) as u64;
        self.reserve(ino, f, Some(part.chunk), end)?;
        for page in first..=last {
            let begin = (page * PAGE_BYTES).max(part.at);
            let end = ((page + 1) * PAGE_BYTES).min(part.at + part.len);
            let piece = data
                .get(begin - part.at..end - part.at)
                .expect("the page lies in the part");
            self.put_page(
                ino,
                f,
                part.chunk,
                page_index(page),
                begin % PAGE_BYTES,
                piece,
            )?;
        }
        if f.chunk(part.chunk).pages.len() as u64 == self.geometry.pages_per_chunk() {
            self.build(ino, f, part.chunk)?;
        }
        Ok(())
    }

    /// Writes `piece` into a page, from `at`.
    fn put_page(
        &self,
        ino: Ino,
        f: &mut File,
        ix: ChunkIx,
        page: u32,
        at: usize,
        piece: &[u8],
    ) -> Result<(), FsError> {
        if let Some(old) = f.chunks.get_mut(&ix).and_then(|c| c.pages.get_mut(&page)) {
            copy_into(old, at, piece);
            return Ok(());
        }
        let fresh = if piece.len() == PAGE_BYTES {
            piece.to_vec().into_boxed_slice()
        } else {
            let mut fresh = zero_page();
            let start = self.geometry.start(ix) + page_at(page) as u64;
            // Beyond the end there is nothing to keep, and what is overwritten need not be read.
            let kept = f.size.saturating_sub(start).min(PAGE);
            if at > 0 && kept > 0 || ((at + piece.len()) as u64) < kept {
                self.read_locked(ino, f, ix, page_at(page), &mut fresh)?;
            }
            copy_into(&mut fresh, at, piece);
            fresh
        };
        self.space.dirtied(PAGE_BYTES);
        f.chunk(ix).pages.insert(page, fresh);
        Ok(())
    }

    /// Makes a block of everything that is visible in a chunk now.
    pub(super) fn build(&self, ino: Ino, f: &mut File, ix: ChunkIx) -> Result<(), FsError> {
        let len = self
            .geometry
            .len_within(ix, f.size.max(self.end_of_pages(f, ix)));
        let mut content = vec![0; len];
        if len > 0 {
            self.read_locked(ino, f, ix, 0, &mut content)?;
        }
        let base = self.store_chunk(&content)?;
        let chunk = f.chunk(ix);
        chunk.base = base;
        self.space.cleaned(chunk.dirty_bytes());
        chunk.pages.clear();
        Ok(())
    }

    /// While a write is taken in, its pages lie beyond the size already.
    fn end_of_pages(&self, f: &File, ix: ChunkIx) -> u64 {
        let last = f.chunks.get(&ix).and_then(|c| c.pages.last_key_value());
        last.map_or(0, |(p, _)| {
            self.geometry.start(ix) + page_at(*p) as u64 + PAGE
        })
    }
}

fn slice(data: &[u8], part: Part) -> &[u8] {
    data.get(part.from..part.from + part.len)
        .expect("a part lies in its request")
}

fn copy_into(page: &mut [u8], at: usize, piece: &[u8]) {
    page.get_mut(at..at + piece.len())
        .expect("the piece lies in the page")
        .copy_from_slice(piece);
}

/// Returns true if all bytes are zero.
pub(super) fn is_zero(data: &[u8]) -> bool {
    let words = data.chunks_exact(16);
    let tail = words.remainder();
    words.into_iter().all(|w| w == [0; 16]) && tail.iter().all(|b| *b == 0)
}
