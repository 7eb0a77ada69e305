//! The page record: up to 4096 bytes of a file not yet folded into a block.

use crate::base::{Ino, PAGE_BYTES, PageIx};

use super::bytes::{DecodeError, Reader};

/// A page. It names its file and place, so that cold pages are found without their inode.
///
/// Layout: `ino u64 | page u64 | data`; what `data` lacks to 4096 bytes reads as zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRecord {
    /// The file.
    pub ino: Ino,
    /// The page.
    pub page: PageIx,
    /// 0 to 4096 bytes, the last of which is not zero.
    pub data: Vec<u8>,
}

impl PageRecord {
    /// Returns the payload of a page, without the zeros at its end.
    #[must_use]
    pub fn encode(ino: Ino, page: PageIx, data: &[u8]) -> Vec<u8> {
        let len = data.iter().rposition(|b| *b != 0).map_or(0, |i| i + 1);
        let mut out = Vec::with_capacity(16 + len);
        out.extend_from_slice(&ino.0.to_le_bytes());
        out.extend_from_slice(&page.0.to_le_bytes());
        out.extend_from_slice(data.get(..len).unwrap_or(data));
        out
    }

    /// Returns the record in a payload.
    ///
    /// # Errors
    /// When the layout is wrong, or zeros stand at the end.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload, "page");
        let (ino, page) = (Ino(r.u64()?), PageIx(r.u64()?));
        let error = r.error();
        let data = r.rest();
        if data.len() > PAGE_BYTES || data.last() == Some(&0) {
            return Err(error);
        }
        Ok(Self {
            ino,
            page,
            data: data.to_vec(),
        })
    }
}
