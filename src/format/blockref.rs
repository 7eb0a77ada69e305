//! The block reference record: where the block of a content id lies.

use crate::base::{Epoch, PackNo};

use super::bytes::{DecodeError, Reader};

/// Frames of a block at most.
pub const FRAMES_MAX: usize = 8;

/// One frame of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRef {
    /// Sealed bytes in the pack.
    pub sealed_len: u32,
    /// Plaintext bytes.
    pub raw_len: u32,
    /// 0 raw, 1 lz4, 2 zstd.
    pub encoding: u8,
}

/// Layout: `refs u64 | epoch u32 | pack u32 | offset u64 | frame_count u8 |
/// frame_count x (sealed_len u32 | raw_len u32 | encoding u8)`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRef {
    /// References from extents.
    pub refs: u64,
    /// The epoch its frames are sealed in.
    pub epoch: Epoch,
    /// Where it lies.
    pub pack: PackNo,
    /// Offset of the first frame in the pack.
    pub offset: u64,
    /// 1 to 8 frames, one after the other.
    pub frames: Vec<FrameRef>,
}

impl BlockRef {
    /// Returns the sealed bytes of all frames.
    #[must_use]
    pub fn sealed_len(&self) -> u64 {
        self.frames.iter().map(|f| u64::from(f.sealed_len)).sum()
    }

    /// Returns the plaintext bytes of all frames.
    #[must_use]
    pub fn raw_len(&self) -> u64 {
        self.frames.iter().map(|f| u64::from(f.raw_len)).sum()
    }

    /// Returns the payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(25 + 9 * self.frames.len());
        out.extend_from_slice(&self.refs.to_le_bytes());
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.extend_from_slice(&self.pack.0.to_le_bytes());
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.push(u8::try_from(self.frames.len()).expect("a block has at most 8 frames"));
        for f in &self.frames {
            out.extend_from_slice(&f.sealed_len.to_le_bytes());
            out.extend_from_slice(&f.raw_len.to_le_bytes());
            out.push(f.encoding);
        }
        out
    }

    /// Returns the record in a payload.
    ///
    /// # Errors
    /// When the layout is wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload, "block reference");
        let mut b = Self {
            refs: r.u64()?,
            epoch: Epoch(r.u32()?),
            pack: PackNo(r.u32()?),
            offset: r.u64()?,
            frames: Vec::new(),
        };
        let count = usize::from(r.u8()?);
        if count == 0 || count > FRAMES_MAX {
            return Err(r.error());
        }
        for _ in 0..count {
            b.frames.push(FrameRef {
                sealed_len: r.u32()?,
                raw_len: r.u32()?,
                encoding: r.u8()?,
            });
        }
        r.end()?;
        Ok(b)
    }
}
