//! The pack account: how much of a pack is written and how much of that lives.

use crate::base::Epoch;

use super::bytes::{DecodeError, Reader};

/// Layout: `written u32 | live u32 | punched u32 | epoch u32 | lists u32 | next_punch u32 | sealed u8`.
///
/// Invariant: `live + punched <= written`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackAccount {
    /// Bytes that a commit may name; what lies beyond belongs to nobody.
    pub written: u32,
    /// Bytes of live blocks.
    pub live: u32,
    /// Bytes given back to the file system.
    pub punched: u32,
    /// The epoch of all its blocks.
    pub epoch: Epoch,
    /// Number of its list records.
    pub lists: u32,
    /// Number of its next record of dead ranges.
    pub next_punch: u32,
    /// Nothing is appended any more, and all that is dead stands in records of dead ranges.
    pub sealed: bool,
}

impl PackAccount {
    /// Returns the account of an empty pack.
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        Self {
            written: 0,
            live: 0,
            punched: 0,
            epoch,
            lists: 0,
            next_punch: 0,
            sealed: false,
        }
    }

    /// Returns the payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(25);
        for n in [
            self.written,
            self.live,
            self.punched,
            self.epoch.0,
            self.lists,
            self.next_punch,
        ] {
            out.extend_from_slice(&n.to_le_bytes());
        }
        out.push(u8::from(self.sealed));
        out
    }

    /// Returns the record in a payload.
    ///
    /// # Errors
    /// When the layout is wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload, "pack account");
        let account = Self {
            written: r.u32()?,
            live: r.u32()?,
            punched: r.u32()?,
            epoch: Epoch(r.u32()?),
            lists: r.u32()?,
            next_punch: r.u32()?,
            sealed: match r.u8()? {
                0 => false,
                1 => true,
                _ => return Err(r.error()),
            },
        };
        let used = u64::from(account.live) + u64::from(account.punched);
        if used > u64::from(account.written) {
            return Err(r.error());
        }
        r.end()?;
        Ok(account)
    }
}
