//! The pack account: how much of a pack is written and how much of that lives.

use crate::base::Epoch;

use super::bytes::{DecodeError, Reader};

/// Layout: `written u64 | live u64 | punched u64 | epoch u32 | sealed u8 | lists u32 | punches u32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackAccount {
    /// Bytes of the pack that a commit may name; what lies beyond is cut off at the next start.
    pub written: u64,
    /// Bytes of live blocks.
    pub live: u64,
    /// Bytes given back to the file system.
    pub punched: u64,
    /// The epoch of all its blocks.
    pub epoch: Epoch,
    /// Nothing is appended any more.
    pub sealed: bool,
    /// Number of its list records.
    pub lists: u32,
    /// Number of the next record of dead ranges.
    pub punches: u32,
}

impl PackAccount {
    /// Returns the payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(37);
        for n in [self.written, self.live, self.punched] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.extend_from_slice(&self.epoch.0.to_le_bytes());
        out.push(u8::from(self.sealed));
        out.extend_from_slice(&self.lists.to_le_bytes());
        out.extend_from_slice(&self.punches.to_le_bytes());
        out
    }

    /// Returns the record in a payload.
    ///
    /// # Errors
    /// When the layout is wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload, "pack account");
        let (written, live, punched) = (r.u64()?, r.u64()?, r.u64()?);
        let epoch = Epoch(r.u32()?);
        let sealed = match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(r.error()),
        };
        let (lists, punches) = (r.u32()?, r.u32()?);
        r.end()?;
        Ok(Self {
            written,
            live,
            punched,
            epoch,
            sealed,
            lists,
            punches,
        })
    }
}
