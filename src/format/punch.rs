//! Lists about a pack: the content ids in it, and its ranges that are dead and not yet punched.

use crate::base::ContentId;

use super::bytes::{DecodeError, Reader};

/// A range of a pack, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Range {
    /// First byte.
    pub offset: u32,
    /// Bytes.
    pub len: u32,
}

impl Range {
    /// Returns the byte after the last one.
    #[must_use]
    pub fn end(&self) -> u32 {
        self.offset + self.len
    }
}

/// Returns the payload of dead ranges: `n x (offset u32 | len u32)`.
#[must_use]
pub fn encode_ranges(ranges: &[Range]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 * ranges.len());
    for r in ranges {
        out.extend_from_slice(&r.offset.to_le_bytes());
        out.extend_from_slice(&r.len.to_le_bytes());
    }
    out
}

/// Returns the ranges in a payload.
///
/// # Errors
/// When the layout is wrong.
pub fn decode_ranges(payload: &[u8]) -> Result<Vec<Range>, DecodeError> {
    let mut r = Reader::new(payload, "dead ranges");
    let mut out = Vec::with_capacity(payload.len() / 8);
    while !r.is_empty() {
        let (offset, len) = (r.u32()?, r.u32()?);
        if len == 0 || offset.checked_add(len).is_none() {
            return Err(r.error());
        }
        out.push(Range { offset, len });
    }
    Ok(out)
}

/// Returns the payload of a pack list: `n x content id`.
#[must_use]
pub fn encode_ids(ids: &[ContentId]) -> Vec<u8> {
    ids.iter().flat_map(|id| id.0).collect()
}

/// Returns the content ids in a payload.
///
/// # Errors
/// When the layout is wrong.
pub fn decode_ids(payload: &[u8]) -> Result<Vec<ContentId>, DecodeError> {
    let mut r = Reader::new(payload, "pack list");
    let mut out = Vec::with_capacity(payload.len() / 32);
    while !r.is_empty() {
        out.push(ContentId(r.array()?));
    }
    Ok(out)
}
