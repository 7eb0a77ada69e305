//! The block reference record: where the block of a content id lies, and how it is cut into frames.

use crate::base::{Epoch, PackNo};

use super::bytes::{DecodeError, Reader};
use super::envelope::FRAME_OVERHEAD_BYTES;

/// Frames of a block at most.
pub const FRAMES_MAX: usize = 8;

/// Smallest and largest plaintext of a whole frame, as powers of two: 1/8 of 16 KiB and of 1 MiB.
const FRAME_SHIFTS: std::ops::RangeInclusive<u8> = 11..=17;

/// Bits of a frame's word that hold its sealed length; the two above hold its encoding.
const LEN_BITS: u32 = 30;

/// How the bytes of a frame are encoded before sealing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    /// As they are.
    Raw = 0,
    /// lz4, one block without a length before it.
    Lz4 = 1,
    /// zstd, one frame.
    Zstd = 2,
}

/// Where a block lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The epoch its frames are sealed in: that of the pack.
    pub epoch: Epoch,
    /// The pack.
    pub pack: PackNo,
    /// Offset of the first frame in the pack, in bytes.
    pub offset: u32,
}

/// One frame of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Index in the block.
    pub index: u8,
    /// How its bytes are encoded.
    pub encoding: Encoding,
    /// Where its plaintext begins in the chunk, in bytes.
    pub raw_at: u32,
    /// Plaintext bytes.
    pub raw_len: u32,
    /// Where it begins in the block, in bytes.
    pub sealed_at: u32,
    /// Sealed bytes.
    pub sealed_len: u32,
}

/// How a block is cut into frames: each holds the same number of plaintext bytes but the last, which
/// may hold fewer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    raw_len: u32,
    frame_shift: u8,
    words: [u32; FRAMES_MAX],
}

impl Shape {
    /// Returns the shape of a block of `raw_len` plaintext bytes in frames of `2^frame_shift`, of which
    /// none is known yet, or none if no block looks like that.
    #[must_use]
    pub fn new(raw_len: u32, frame_shift: u8) -> Option<Self> {
        let shape = Self {
            raw_len,
            frame_shift,
            words: [0; FRAMES_MAX],
        };
        let valid = raw_len > 0 && FRAME_SHIFTS.contains(&frame_shift);
        (valid && shape.count_of_frames() <= FRAMES_MAX).then_some(shape)
    }

    /// Sets what a frame became.
    ///
    /// # Panics
    /// When the block has no such frame, or no frame is so long.
    pub fn set(&mut self, index: usize, encoding: Encoding, sealed_len: u32) {
        assert!(index < self.count_of_frames());
        assert!(sealed_len < 1 << LEN_BITS);
        let word = self.words.get_mut(index).expect("at most 8 frames");
        *word = u32::from(encoding as u8) << LEN_BITS | sealed_len;
    }

    fn count_of_frames(&self) -> usize {
        let count = self.raw_len.div_ceil(1 << self.frame_shift);
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Returns the number of frames.
    #[must_use]
    pub fn count(&self) -> u8 {
        u8::try_from(self.count_of_frames()).expect("at most 8 frames")
    }

    /// Returns the plaintext bytes of all frames.
    #[must_use]
    pub fn raw_len(&self) -> u32 {
        self.raw_len
    }

    /// Returns the plaintext bytes of a whole frame, as a power of two.
    #[must_use]
    pub fn frame_shift(&self) -> u8 {
        self.frame_shift
    }

    /// Returns the sealed bytes of all frames.
    #[must_use]
    pub fn sealed_len(&self) -> u32 {
        self.frames().map(|f| f.sealed_len).sum()
    }

    /// Returns the frames in their order.
    pub fn frames(&self) -> impl Iterator<Item = Frame> + '_ {
        let (mut raw_at, mut sealed_at) = (0, 0);
        (0..self.count()).zip(self.words).map(move |(index, word)| {
            let frame = Frame {
                index,
                encoding: match word >> LEN_BITS {
                    0 => Encoding::Raw,
                    1 => Encoding::Lz4,
                    _ => Encoding::Zstd,
                },
                raw_at,
                raw_len: (self.raw_len - raw_at).min(1 << self.frame_shift),
                sealed_at,
                sealed_len: word & ((1 << LEN_BITS) - 1),
            };
            raw_at += frame.raw_len;
            sealed_at += frame.sealed_len;
            frame
        })
    }

    /// Whether every frame is as long as some encoding of its plaintext can be.
    fn is_sound(&self) -> bool {
        let overhead = u32::try_from(FRAME_OVERHEAD_BYTES).expect("40");
        self.frames().zip(self.words).all(|(f, word)| {
            let stored = f.sealed_len.saturating_sub(overhead);
            let fits = match f.encoding {
                Encoding::Raw => stored == f.raw_len,
                _ => stored > 0 && stored < f.raw_len,
            };
            fits && word >> LEN_BITS <= u32::from(Encoding::Zstd as u8)
        })
    }
}

/// Layout: `refs u64 | epoch u32 | pack u32 | offset u32 | raw_len u32 | frame_shift u8 |
/// word u32 per frame: encoding in the upper 2 bits, sealed length in the lower 30`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockRef {
    /// References from extents, at least one.
    pub refs: u64,
    /// Where it lies.
    pub place: Place,
    /// How it is cut.
    pub shape: Shape,
}

impl BlockRef {
    /// Returns the plaintext bytes of the block.
    #[must_use]
    pub fn raw_bytes(&self) -> u64 {
        self.shape.raw_len.into()
    }

    /// Returns the payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let count = usize::from(self.shape.count());
        let mut out = Vec::with_capacity(25 + 4 * count);
        out.extend_from_slice(&self.refs.to_le_bytes());
        let place = &self.place;
        for n in [
            place.epoch.0,
            place.pack.0,
            place.offset,
            self.shape.raw_len,
        ] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.push(self.shape.frame_shift);
        for word in self.shape.words.iter().take(count) {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out
    }

    /// Returns the record in a payload.
    ///
    /// # Errors
    /// When the layout is wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload, "block reference");
        let refs = r.u64()?;
        let place = Place {
            epoch: Epoch(r.u32()?),
            pack: PackNo(r.u32()?),
            offset: r.u32()?,
        };
        let mut shape = Shape::new(r.u32()?, r.u8()?).ok_or(r.error())?;
        let count = usize::from(shape.count());
        for word in shape.words.iter_mut().take(count) {
            *word = r.u32()?;
        }
        if refs == 0 || !shape.is_sound() {
            return Err(r.error());
        }
        r.end()?;
        Ok(Self { refs, place, shape })
    }
}
