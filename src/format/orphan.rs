//! The orphan record: an inode to remove, or a truncation to finish, at the next start at the latest.

use crate::base::Ino;

use super::bytes::{DecodeError, Reader};

/// Layout: `ino u64 | dead u8 | cut_bytes u64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orphan {
    /// The inode.
    pub ino: Ino,
    /// The inode has no name left and goes as soon as the kernel has forgotten it.
    pub dead: bool,
    /// Stored data from this offset on is void, and reads as zeros until it is removed; u64::MAX: none.
    pub cut_bytes: u64,
}

impl Orphan {
    /// Returns the payload.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(17);
        out.extend_from_slice(&self.ino.0.to_le_bytes());
        out.push(u8::from(self.dead));
        out.extend_from_slice(&self.cut_bytes.to_le_bytes());
        out
    }

    /// Returns the record in a payload.
    ///
    /// # Errors
    /// When the layout is wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload, "orphan");
        let ino = Ino(r.u64()?);
        let dead = match r.u8()? {
            0 => false,
            1 => true,
            _ => return Err(r.error()),
        };
        let cut_bytes = r.u64()?;
        r.end()?;
        Ok(Self {
            ino,
            dead,
            cut_bytes,
        })
    }
}
