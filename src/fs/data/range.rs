//! Ranges: fallocate with its modes, and copies that share blocks.

use std::ops::Range;

use crate::base::sync::{Arc, Weak};
use crate::base::{ChunkIx, ContentId, Ino, PAGE_BYTES};
use crate::fs::{Caller, Done, FsError};

use super::Data;
use super::apply::Mapping;
use super::geometry::SIZE_MAX;

/// Bytes copied at most in one request where blocks cannot be shared: a longer request gets a short
/// answer and goes on, so that it does not pass the bound of dirty data.
const COPY_MAX_BYTES: u64 = 8 << 20;

const KNOWN_MODES: i32 =
    libc::FALLOC_FL_KEEP_SIZE | libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_ZERO_RANGE;

impl Data {
    /// Allocates, punches or zeroes a range. Allocation checks that the room is there; holes stay
    /// holes until they are written.
    pub(in crate::fs) fn fallocate(
        &self,
        _caller: Caller,
        ino: Ino,
        offset: u64,
        len: u64,
        mode: i32,
        done: Done<()>,
    ) {
        match self.fallocate_now(ino, offset, len, mode) {
            Ok(None) => self.pace(Box::new(move || done(Ok(())))),
            Ok(Some(rest)) => self.zero_rest(ino, rest, done),
            Err(e) => done(Err(e)),
        }
    }

    /// Returns what is left to be zeroed.
    fn fallocate_now(
        &self,
        ino: Ino,
        offset: u64,
        len: u64,
        mode: i32,
    ) -> Result<Option<Range<u64>>, FsError> {
        self.check_writable()?;
        let punch = mode & libc::FALLOC_FL_PUNCH_HOLE != 0;
        let keep = mode & libc::FALLOC_FL_KEEP_SIZE != 0;
        if mode & !KNOWN_MODES != 0 || punch && !keep {
            return Err(FsError::NotSupported);
        }
        let end = offset
            .checked_add(len)
            .filter(|end| *end <= SIZE_MAX)
            .ok_or(FsError::TooLarge)?;
        if len == 0 {
            return Err(FsError::Invalid);
        }
        let zero = mode & libc::FALLOC_FL_ZERO_RANGE != 0;
        if !punch {
            let used = self.statfs()?;
            if len / PAGE_BYTES as u64 > used.free_blocks {
                return Err(FsError::NoSpace);
            }
        }
        self.with_file(ino, |f| {
            if !keep {
                self.reserve(ino, f, None, end)?;
            }
            let rest = if punch || zero {
                self.zero_step(ino, f, offset..end)?
            } else {
                None
            };
            if !keep && end > f.size {
                f.size = end;
            }
            f.meta_dirty = true;
            f.touch(self.core.now());
            Ok(rest)
        })?
    }

    /// Copies a range between files, or inside one; whole chunks are shared, not copied.
    pub(in crate::fs) fn copy_file_range(
        &self,
        _caller: Caller,
        from: (Ino, u64),
        to: (Ino, u64),
        len: u64,
        done: Done<u32>,
    ) {
        let me: Weak<Self> = self.me.clone();
        // What is shared must be in a group: both files are flushed first.
        self.flush(
            from.0,
            Box::new(move |r| {
                let Some(data) = me.upgrade() else {
                    return done(Err(FsError::Io("C-STORE")));
                };
                let again = Arc::clone(&data);
                let copy = move |r: Result<(), FsError>| {
                    let copied = r.and_then(|()| again.copy_now(from, to, len));
                    match copied {
                        Ok(n) => again.pace(Box::new(move || done(Ok(n)))),
                        Err(e) => done(Err(e)),
                    }
                };
                match r {
                    Ok(()) => data.flush(to.0, Box::new(copy)),
                    Err(e) => copy(Err(e)),
                }
            }),
        );
    }

    fn copy_now(&self, from: (Ino, u64), to: (Ino, u64), len: u64) -> Result<u32, FsError> {
        self.check_writable()?;
        let size = match self.files.with_dirty(from.0, |f| f.size) {
            Some(size) => size,
            None => self.core.inode(from.0)?.size_bytes,
        };
        let len = len
            .min(size.saturating_sub(from.1))
            .min(u64::from(u32::MAX) - PAGE_BYTES as u64);
        let chunk = self.geometry.chunk_len() as u64;
        let aligned = from.1 % chunk == to.1 % chunk && from.0 != to.0;
        let (mut copied, mut by_bytes) = (0, 0);
        while copied < len && by_bytes < COPY_MAX_BYTES {
            let (src, dst, left) = (from.1 + copied, to.1 + copied, len - copied);
            let shared = if aligned && src % chunk == 0 && left >= chunk {
                self.share_chunk((from.0, src), (to.0, dst))?
            } else {
                false
            };
            copied += if shared {
                chunk
            } else {
                let to_border = chunk - src % chunk;
                let step = left.min(to_border);
                by_bytes += step;
                match self.copy_bytes((from.0, src), (to.0, dst), step) {
                    // What was copied before counts.
                    Err(_) if copied > 0 => break,
                    other => other?,
                }
            };
        }
        u32::try_from(copied).map_err(|_| FsError::Invalid)
    }

    fn copy_bytes(&self, from: (Ino, u64), to: (Ino, u64), step: u64) -> Result<u64, FsError> {
        let mut buffer = Vec::new();
        let len = u32::try_from(step).map_err(|_| FsError::Invalid)?;
        self.read(from.0, from.1, len, &mut buffer)?;
        buffer.resize(usize::try_from(step).map_err(|_| FsError::Invalid)?, 0);
        self.write_now(to.0, to.1, &buffer, false)?;
        Ok(step)
    }

    /// Lets a chunk of one file lie on the block of another; false if it lies on none.
    fn share_chunk(&self, from: (Ino, u64), to: (Ino, u64)) -> Result<bool, FsError> {
        let (src, dst) = (self.geometry.chunk_of(from.1), self.geometry.chunk_of(to.1));
        self.with_file(to.0, |f| {
            if f.cut.is_some() || f.flushing.is_some() {
                return Ok(false);
            }
            let end = self.geometry.start(ChunkIx(dst.0 + 1));
            self.reserve(to.0, f, Some(dst), end)?;
            let _change = self.layout.change(to.0);
            let mut op = self.core.begin()?;
            let Some(id) = self.clean_block(&op, from.0, src)? else {
                return Ok(false);
            };
            let mut mapping = Mapping::load(self, &op, to.0)?;
            let (group, _) = self.geometry.slot(dst);
            mapping.group(&op, group)?;
            let keys = mapping.page_keys(&op, dst, 0)?;
            self.blocks.share(&mut op, &id)?;
            mapping.clear(&mut op, dst, keys);
            mapping.set_block(dst, id);
            if let Some(chunk) = f.chunks.remove(&dst) {
                self.forget_chunk(f, &chunk);
            }
            f.size = f.size.max(end);
            f.touch(self.core.now());
            let size = mapping.inode.size_bytes.max(end);
            mapping.store(&mut op, size);
            if let Ok(inode) = self.core.inode_in(&op, to.0) {
                self.unreserve(f, &inode);
            }
            Ok(true)
        })?
    }

    /// Returns the block of a chunk that has no pages over it, dirty or not.
    fn clean_block(
        &self,
        op: &crate::txn::Op<'_>,
        ino: Ino,
        ix: ChunkIx,
    ) -> Result<Option<ContentId>, FsError> {
        let inode = self.core.inode_in(op, ino)?;
        let (group, slot) = self.geometry.slot(ix);
        let e = self.extents(op, ino, &inode, group)?;
        let whole = inode.size_bytes >= self.geometry.start(ChunkIx(ix.0 + 1));
        Ok(e.block(slot).filter(|_| whole && !e.has_pages(slot)))
    }
}
