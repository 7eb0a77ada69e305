//! Reads: dirty pages over a dirty base over the committed contents.

use crate::base::{ChunkIx, ContentId, Ino, PAGE_BYTES};
use crate::block::BlockError;
use crate::fs::FsError;

use super::Data;
use super::file::{Base, Chunk, File};
use super::geometry::Part;
use super::stored::lay;

/// Tries without the file's lock before a reader takes it.
const TRIES: usize = 4;

/// Where the bytes under the dirty pages of a chunk come from.
enum Under {
    Committed,
    Hole,
    Block(ContentId),
    /// The dirty pages cover all that is wanted.
    Nothing,
}

/// Why a range could not be read. A block's error becomes one of the file system, which logs it, only
/// when it is returned: without the file's lock an overwrite may have taken the block away.
pub(super) enum Unread {
    Block(BlockError),
    Other(FsError),
}

impl From<BlockError> for Unread {
    fn from(e: BlockError) -> Self {
        Self::Block(e)
    }
}

impl From<FsError> for Unread {
    fn from(e: FsError) -> Self {
        Self::Other(e)
    }
}

impl From<Unread> for FsError {
    fn from(e: Unread) -> Self {
        match e {
            Unread::Block(e) => e.into(),
            Unread::Other(e) => e,
        }
    }
}

impl Data {
    /// Appends up to `len` bytes to `out`; fewer only at the end of the file.
    ///
    /// # Errors
    /// When the inode does not exist or its contents cannot be read.
    pub(in crate::fs) fn read(
        &self,
        ino: Ino,
        offset: u64,
        len: u32,
        out: &mut Vec<u8>,
    ) -> Result<(), FsError> {
        let size = match self.files.with_dirty(ino, |f| f.size) {
            Some(size) => size,
            None => self.core.inode(ino)?.size_bytes,
        };
        let want = u64::from(len).min(size.saturating_sub(offset));
        let want = usize::try_from(want).map_err(|_| FsError::Invalid)?;
        let start = out.len();
        out.resize(start + want, 0);
        for part in self.geometry.parts(offset, want) {
            let range = start + part.from..start + part.from + part.len;
            let dst = out.get_mut(range).ok_or(FsError::Invalid)?;
            self.read_part(ino, part, dst)?;
        }
        Ok(())
    }

    /// Reads without the file's lock but for the look at what is dirty; if the committed state
    /// changes meanwhile, again.
    fn read_part(&self, ino: Ino, part: Part, out: &mut [u8]) -> Result<(), FsError> {
        for _ in 0..TRIES {
            let Some(mark) = self.layout.mark(ino) else {
                continue;
            };
            let found = self.read_unlocked(ino, part, out);
            // A block that was dirty may be gone for a newer one: only the lock tells.
            if found.is_ok() && self.layout.is_unchanged(ino, mark) {
                return Ok(());
            }
        }
        self.with_file(ino, |f| self.read_locked(ino, f, part.chunk, part.at, out))?
    }

    pub(super) fn read_unlocked(&self, ino: Ino, part: Part, out: &mut [u8]) -> Result<(), Unread> {
        let dirty = self
            .files
            .with_dirty(ino, |f| plan(f, part.chunk, part.at, out));
        match dirty {
            None => self.read_committed(ino, part.chunk, part.at, out),
            Some((under, over)) => self.compose(ino, part.chunk, part.at, &under, &over, out),
        }
    }

    fn compose(
        &self,
        ino: Ino,
        chunk: ChunkIx,
        at: usize,
        under: &Under,
        over: &Over,
        out: &mut [u8],
    ) -> Result<(), Unread> {
        self.read_under(ino, chunk, at, under, out)?;
        for (page, data) in over {
            lay(out, at, *page, data);
        }
        Ok(())
    }

    fn read_under(
        &self,
        ino: Ino,
        chunk: ChunkIx,
        at: usize,
        under: &Under,
        out: &mut [u8],
    ) -> Result<(), Unread> {
        match under {
            Under::Nothing => {}
            Under::Hole => out.fill(0),
            Under::Committed => self.read_committed(ino, chunk, at, out)?,
            Under::Block(id) => {
                let at = u32::try_from(at).expect("a chunk is at most 1 MiB");
                self.blocks.read(id, at, out)?;
            }
        }
        Ok(())
    }

    /// Fills `out` from `at` of a chunk, under the file's lock.
    pub(super) fn read_locked(
        &self,
        ino: Ino,
        file: &File,
        chunk: ChunkIx,
        at: usize,
        out: &mut [u8],
    ) -> Result<(), FsError> {
        let (under, over) = plan(file, chunk, at, out);
        Ok(self.compose(ino, chunk, at, &under, &over, out)?)
    }
}

/// Dirty pages that lie over what is read, by their offset in the chunk.
type Over = Vec<(usize, Box<[u8]>)>;

/// Decides where a range comes from. When dirty pages cover it they are laid into `out` at once;
/// otherwise they are returned, to be laid over the rest.
fn plan(file: &File, ix: ChunkIx, at: usize, out: &mut [u8]) -> (Under, Over) {
    let Some(chunk) = file.chunks.get(&ix) else {
        let under = if file.is_void(ix) {
            Under::Hole
        } else {
            Under::Committed
        };
        return (under, Vec::new());
    };
    let (first, last) = (at / PAGE_BYTES, (at + out.len() - 1) / PAGE_BYTES);
    let range = page_index(first)..=page_index(last);
    if chunk.pages.range(range.clone()).count() == last - first + 1 {
        for (page, data) in chunk.pages.range(range) {
            lay(out, at, page_at(*page), data);
        }
        return (Under::Nothing, Vec::new());
    }
    let over = chunk.pages.range(range);
    let over = over.map(|(p, d)| (page_at(*p), d.clone())).collect();
    (under(chunk), over)
}

fn under(chunk: &Chunk) -> Under {
    match &chunk.base {
        Base::Committed => Under::Committed,
        Base::Hole => Under::Hole,
        Base::Block(stored) => Under::Block(stored.id()),
    }
}

pub(super) fn page_index(page: usize) -> u32 {
    u32::try_from(page).expect("a chunk is at most 1 MiB")
}

pub(super) fn page_at(page: u32) -> usize {
    usize::try_from(page).expect("a chunk is at most 1 MiB") * PAGE_BYTES
}
