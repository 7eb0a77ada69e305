//! How offsets, pages, chunks and extent groups of a file relate.

use crate::base::{ChunkIx, PAGE_BYTES, PageIx};
use crate::meta::GROUP_CHUNKS;

/// Bytes of a page.
pub(super) const PAGE: u64 = PAGE_BYTES as u64;

/// Largest file size: 8 EiB - 1, what the kernel's signed offsets can name.
pub(super) const SIZE_MAX: u64 = i64::MAX as u64;

/// The chunk size of a volume and what follows from it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    chunk_bytes: u64,
}

/// A piece of a request inside one chunk.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) chunk: ChunkIx,
    /// Offset in the chunk.
    pub(super) at: usize,
    pub(super) len: usize,
    /// Offset in the request's buffer.
    pub(super) from: usize,
}

fn index(n: u64) -> usize {
    usize::try_from(n).expect("offsets inside a chunk fit in memory")
}

impl Geometry {
    pub(super) fn new(chunk_bytes: u32) -> Self {
        assert!(chunk_bytes.is_power_of_two());
        Self {
            chunk_bytes: chunk_bytes.into(),
        }
    }

    pub(super) fn chunk_len(self) -> usize {
        index(self.chunk_bytes)
    }

    pub(super) fn pages_per_chunk(self) -> u64 {
        self.chunk_bytes / PAGE
    }

    pub(super) fn chunk_of(self, offset: u64) -> ChunkIx {
        ChunkIx(offset / self.chunk_bytes)
    }

    pub(super) fn start(self, chunk: ChunkIx) -> u64 {
        chunk.0 * self.chunk_bytes
    }

    /// Returns the first chunk that lies wholly at or after `offset`.
    pub(super) fn chunk_after(self, offset: u64) -> ChunkIx {
        ChunkIx(offset.div_ceil(self.chunk_bytes))
    }

    /// Returns how many bytes of a chunk lie before the end of a file.
    pub(super) fn len_within(self, chunk: ChunkIx, size: u64) -> usize {
        index(size.saturating_sub(self.start(chunk)).min(self.chunk_bytes))
    }

    pub(super) fn page(self, chunk: ChunkIx, page: u32) -> PageIx {
        PageIx(chunk.0 * self.pages_per_chunk() + u64::from(page))
    }

    /// Returns the extent group of a chunk and its slot in it.
    pub(super) fn slot(self, chunk: ChunkIx) -> (u64, usize) {
        let n = GROUP_CHUNKS as u64;
        (chunk.0 / n, index(chunk.0 % n))
    }

    pub(super) fn chunk_at(self, group: u64, slot: usize) -> ChunkIx {
        ChunkIx(group * GROUP_CHUNKS as u64 + slot as u64)
    }

    /// Cuts a range of a file into its parts by chunk.
    pub(super) fn parts(self, offset: u64, len: usize) -> impl Iterator<Item = Part> {
        let mut from = 0;
        std::iter::from_fn(move || {
            if from >= len {
                return None;
            }
            let here = offset + from as u64;
            let at = index(here % self.chunk_bytes);
            let part = Part {
                chunk: self.chunk_of(here),
                at,
                len: (self.chunk_len() - at).min(len - from),
                from,
            };
            from += part.len;
            Some(part)
        })
    }

    /// Returns the quota pages of a file of `size` bytes in which `chunks` chunks hold data: whole
    /// chunks, but never more than the file is long. [`Self::used_chunks`] is its inverse.
    pub(super) fn used_pages(self, chunks: u64, size: u64) -> u64 {
        (chunks * self.pages_per_chunk()).min(size.div_ceil(PAGE))
    }

    pub(super) fn used_chunks(self, used_pages: u64) -> u64 {
        used_pages.div_ceil(self.pages_per_chunk())
    }
}
