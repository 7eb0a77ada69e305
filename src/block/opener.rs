//! Opening blocks apart from an open content store: for checks, which know where everything lies.

use crate::base::{ContentId, PackNo};
use crate::format::blockref::BlockRef;
use crate::sealed::SealedPacks;

use super::BlockError;
use super::frames::{FrameOf, Workspace, usize_of};

/// Reads pieces of packs and opens the blocks in them.
pub struct Opener {
    packs: SealedPacks,
    work: Workspace,
    plain: Vec<u8>,
}

impl Opener {
    /// Returns an opener over packs.
    #[must_use]
    pub fn new(packs: SealedPacks) -> Self {
        Self {
            packs,
            work: Workspace::default(),
            plain: Vec::new(),
        }
    }

    /// Reads a piece of a pack, in which [`Self::open`] finds blocks. Returns false if the pack is
    /// gone or shorter.
    ///
    /// # Errors
    /// When the pack cannot be read.
    pub fn read(&mut self, pack: PackNo, offset: u32, len: usize) -> Result<bool, BlockError> {
        self.work.bytes.clear();
        self.work.bytes.resize(len, 0);
        match self.packs.read(pack, offset, &mut self.work.bytes) {
            Err(e) if e.is_absent() => Ok(false),
            other => other.map(|()| true).map_err(super::failed),
        }
    }

    /// Opens the block that lies at `at` of the piece read last, and compares it with its name. What
    /// it is opened from is gone afterwards. Returns its plaintext.
    ///
    /// # Errors
    /// When a frame is not authentic (C-AEAD) or cannot be decoded (C-DECODE), or the content has
    /// another name (C-IDMISMATCH).
    ///
    /// # Panics
    /// When the piece does not hold the whole block.
    pub fn open(
        &mut self,
        id: &ContentId,
        block: &BlockRef,
        at: usize,
    ) -> Result<&[u8], BlockError> {
        self.plain.clear();
        self.plain.resize(usize_of(block.shape.raw_len()), 0);
        let mut rest = self.plain.as_mut_slice();
        for frame in block.shape.frames() {
            let (out, behind) = rest.split_at_mut(usize_of(frame.raw_len));
            rest = behind;
            let of = FrameOf {
                id,
                place: block.place,
                count: block.shape.count(),
                frame,
            };
            let frame_at = at + usize_of(frame.sealed_at);
            self.work.open(&self.packs, &of, frame_at, out)?;
        }
        if self.packs.content_id(&self.plain) != *id {
            return Err(BlockError::Damaged {
                code: "C-IDMISMATCH",
                id: *id,
            });
        }
        Ok(&self.plain)
    }
}
