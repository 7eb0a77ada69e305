//! The xattr record: an extended attribute that does not fit its inode.

use super::bytes::{DecodeError, Reader};

/// Longest name, in bytes.
pub const NAME_MAX_BYTES: usize = 255;

/// Longest value, in bytes.
pub const VALUE_MAX_BYTES: usize = 64 << 10;

/// Returns true when an extended attribute can have this name: 1 to 255 bytes without NUL.
pub(super) fn is_name(name: &[u8]) -> bool {
    (1..=NAME_MAX_BYTES).contains(&name.len()) && !name.contains(&0)
}

/// Layout: `name_len u8 | name | value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XattrRecord {
    /// 1 to 255 bytes without NUL, with its namespace.
    pub name: Vec<u8>,
    /// Up to 64 KiB.
    pub value: Vec<u8>,
}

impl XattrRecord {
    /// Returns the payload.
    ///
    /// # Panics
    /// When the name is longer than 255 bytes: callers have checked it.
    #[must_use]
    pub fn encode(name: &[u8], value: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(1 + name.len() + value.len());
        out.push(u8::try_from(name.len()).expect("names are at most 255 bytes"));
        out.extend_from_slice(name);
        out.extend_from_slice(value);
        out
    }

    /// Returns the record in a payload.
    ///
    /// # Errors
    /// When the layout is wrong, or no attribute has such a name or value.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload, "xattr");
        let len = usize::from(r.u8()?);
        let name = r.bytes(len)?.to_vec();
        let error = r.error();
        let value = r.rest();
        if !is_name(&name) || value.len() > VALUE_MAX_BYTES {
            return Err(error);
        }
        Ok(Self {
            name,
            value: value.to_vec(),
        })
    }
}
