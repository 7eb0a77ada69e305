//! Between a chunk and its sealed frames: cutting, sealing, and the way back.
//!
//! Nothing here holds a lock while it works: each call borrows a workspace of its own.

use crate::base::ContentId;
use crate::base::sync::Mutex;
use crate::crypto::{FRAME_OVERHEAD_BYTES, FramePlace, FramePlain};
use crate::format::blockref::{Encoding, FRAMES_MAX, Frame, Place, Shape};
use crate::sealed::{SealedError, SealedPacks};

use super::BlockError;
use super::codec::{Codec, Compression};

/// Workspaces kept for the next call; more threads than that allocate theirs anew.
const IDLE_MAX: usize = 8;

/// A sealed block in memory.
pub(super) struct SealedBlock {
    pub(super) id: ContentId,
    pub(super) shape: Shape,
    pub(super) bytes: Vec<u8>,
}

/// Buffers and tables that one call uses.
#[derive(Default)]
pub(super) struct Workspace {
    codec: Codec,
    /// Encoded frames, one after the other; or the sealed bytes read.
    pub(super) bytes: Vec<u8>,
}

/// Workspaces that are not in use.
#[derive(Default)]
pub(super) struct Workspaces(Mutex<Vec<Workspace>>);

impl Workspaces {
    /// Calls `f` with a workspace.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Workspace) -> T) -> T {
        let mut w = self.0.lock().pop().unwrap_or_default();
        let out = f(&mut w);
        let mut idle = self.0.lock();
        if idle.len() < IDLE_MAX {
            idle.push(w);
        }
        out
    }
}

impl Workspace {
    /// Compresses and seals a chunk in frames of `2^frame_shift` bytes.
    pub(super) fn seal(
        &mut self,
        packs: &SealedPacks,
        how: Compression,
        frame_shift: u8,
        id: ContentId,
        chunk: &[u8],
    ) -> Result<SealedBlock, BlockError> {
        let raw_len = u32::try_from(chunk.len()).expect("a chunk has at most 1 MiB");
        let mut shape =
            Shape::new(raw_len, frame_shift).expect("the chunk fits the volume's frames");
        self.bytes.clear();
        let mut ends = [None; FRAMES_MAX];
        // What comes after a frame that shrank most likely shrinks too.
        let mut likely = false;
        for (raw, end) in chunk.chunks(1 << frame_shift).zip(&mut ends) {
            let found = self.codec.encode(how, raw, likely, &mut self.bytes);
            likely = found.is_some();
            *end = found.map(|(encoding, _)| (encoding, self.bytes.len()));
        }
        let mut plain = Vec::with_capacity(FRAMES_MAX);
        let mut from = 0;
        for ((index, raw), end) in chunk.chunks(1 << frame_shift).enumerate().zip(ends) {
            let (encoding, stored) = match end {
                None => (Encoding::Raw, raw),
                Some((encoding, to)) => {
                    let stored = self.bytes.get(from..to).expect("encoded above");
                    from = to;
                    (encoding, stored)
                }
            };
            let len = |n: usize| u32::try_from(n).expect("a frame has at most 128 KiB");
            shape.set(index, encoding, len(stored.len() + FRAME_OVERHEAD_BYTES));
            plain.push(FramePlain {
                encoding: encoding as u8,
                raw_len: len(raw.len()),
                stored,
            });
        }
        let mut bytes = Vec::new();
        packs.seal(&id, &plain, &mut bytes)?;
        Ok(SealedBlock { id, shape, bytes })
    }

    /// Opens all frames of the sealed block in `bytes`, and returns it for the active epoch: as it is,
    /// or sealed anew.
    pub(super) fn renew(
        &mut self,
        packs: &SealedPacks,
        id: &ContentId,
        place: Place,
        shape: Shape,
    ) -> Result<SealedBlock, BlockError> {
        let mut bytes = self.bytes.clone();
        let mut plain = Vec::with_capacity(FRAMES_MAX);
        let mut rest = self.bytes.as_mut_slice();
        for frame in shape.frames() {
            let block = FrameOf {
                id,
                place,
                count: shape.count(),
                frame,
            };
            let (sealed, behind) = rest.split_at_mut(usize_of(frame.sealed_len));
            rest = behind;
            let stored = packs
                .open(block.place(), sealed)
                .map_err(|e| block.damage(e))?;
            plain.push(FramePlain {
                encoding: frame.encoding as u8,
                raw_len: frame.raw_len,
                stored,
            });
        }
        if place.epoch != packs.epoch() {
            bytes.clear();
            packs.seal(id, &plain, &mut bytes)?;
        }
        Ok(SealedBlock {
            id: *id,
            shape,
            bytes,
        })
    }

    /// Opens a frame that lies sealed at `at` of `bytes` into `out`, which is as long as its plaintext.
    pub(super) fn open(
        &mut self,
        packs: &SealedPacks,
        block: &FrameOf<'_>,
        at: usize,
        out: &mut [u8],
    ) -> Result<(), BlockError> {
        let frame = block.frame;
        let end = at + usize_of(frame.sealed_len);
        let sealed = self.bytes.get_mut(at..end).expect("read by the caller");
        let stored = packs
            .open(block.place(), sealed)
            .map_err(|e| block.damage(e))?;
        if self.codec.decode(frame.encoding, stored, out) {
            Ok(())
        } else {
            Err(block.malformed())
        }
    }
}

/// A frame of a certain block at a certain place.
pub(super) struct FrameOf<'a> {
    pub(super) id: &'a ContentId,
    pub(super) place: Place,
    pub(super) count: u8,
    pub(super) frame: Frame,
}

impl FrameOf<'_> {
    fn place(&self) -> FramePlace<'_> {
        FramePlace {
            epoch: self.place.epoch,
            id: self.id,
            index: self.frame.index,
            count: self.count,
            encoding: self.frame.encoding as u8,
            raw_len: self.frame.raw_len,
        }
    }

    fn malformed(&self) -> BlockError {
        BlockError::Damaged {
            code: "C-DECODE",
            id: *self.id,
        }
    }

    fn damage(&self, e: SealedError) -> BlockError {
        match e {
            SealedError::Frame { id, .. } => BlockError::Damaged { code: "C-AEAD", id },
            other => other.into(),
        }
    }
}

/// Returns a length or offset within a block as an index.
pub(super) fn usize_of(n: u32) -> usize {
    usize::try_from(n).expect("a block has at most 1 MiB")
}
