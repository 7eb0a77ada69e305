//! The extent record: where the data of 64 neighbouring chunks of a file lies.

use crate::base::ContentId;

use super::bytes::{DecodeError, Reader};

/// Chunks of one record.
pub const GROUP_CHUNKS: usize = 64;

/// Blocks of 64 chunks, and which of the chunks have pages that lie over their block.
///
/// Layout: `pages u64 | present u64 | content id 32 per bit set in present, ascending`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extents {
    /// Bit i: chunk i may have page records; clear: it has none.
    pub pages: u64,
    blocks: [Option<ContentId>; GROUP_CHUNKS],
}

impl Default for Extents {
    fn default() -> Self {
        Self {
            pages: 0,
            blocks: [None; GROUP_CHUNKS],
        }
    }
}

impl Extents {
    /// Returns the block of a chunk of this group; none is a hole under its pages.
    #[must_use]
    pub fn block(&self, slot: usize) -> Option<ContentId> {
        self.blocks.get(slot).copied().flatten()
    }

    /// Sets the block of a chunk and returns the one it had.
    ///
    /// # Panics
    /// When `slot` is not below 64.
    pub fn set_block(&mut self, slot: usize, id: Option<ContentId>) -> Option<ContentId> {
        std::mem::replace(self.blocks.get_mut(slot).expect("slot is below 64"), id)
    }

    /// Returns true if a chunk has page records.
    #[must_use]
    pub fn has_pages(&self, slot: usize) -> bool {
        self.pages >> slot & 1 == 1
    }

    /// Notes whether a chunk has page records.
    pub fn set_pages(&mut self, slot: usize, on: bool) {
        let bit = 1 << slot;
        if on {
            self.pages |= bit;
        } else {
            self.pages &= !bit;
        }
    }

    /// Returns true if neither blocks nor pages are left: the record can go.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pages == 0 && self.blocks.iter().all(Option::is_none)
    }

    /// Returns the payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut present = 0_u64;
        for (i, b) in self.blocks.iter().enumerate() {
            present |= u64::from(b.is_some()) << i;
        }
        let mut out = Vec::with_capacity(16 + 32 * GROUP_CHUNKS);
        out.extend_from_slice(&self.pages.to_le_bytes());
        out.extend_from_slice(&present.to_le_bytes());
        for b in self.blocks.iter().flatten() {
            out.extend_from_slice(&b.0);
        }
        out
    }

    /// Returns the record in a payload.
    ///
    /// # Errors
    /// When the layout is wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload, "extents");
        let mut e = Self {
            pages: r.u64()?,
            ..Self::default()
        };
        let present = r.u64()?;
        for (i, b) in e.blocks.iter_mut().enumerate() {
            if present >> i & 1 == 1 {
                *b = Some(ContentId(r.array()?));
            }
        }
        r.end()?;
        Ok(e)
    }
}
