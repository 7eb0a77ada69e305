//! The settings record: what can be changed in the life of a volume.

use super::bytes::{DecodeError, Reader};

/// How new frames are compressed, as stored: 0 not, 1 lz4, 2 zstd.
const COMPRESSION_MAX: u8 = 2;

/// Layout: `quota u64 (0 = none) | compression u8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Logical bytes that files may take.
    pub quota_bytes: Option<u64>,
    /// 0 none, 1 lz4, 2 zstd.
    pub compression: u8,
}

impl Settings {
    /// Returns the payload of the record.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut b = self.quota_bytes.unwrap_or(0).to_le_bytes().to_vec();
        b.push(self.compression);
        b
    }

    /// Returns the settings in a payload.
    ///
    /// # Errors
    /// When the layout is wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(payload, "settings");
        let quota = r.u64()?;
        let compression = r.u8()?;
        if compression > COMPRESSION_MAX {
            return Err(r.error());
        }
        r.end()?;
        Ok(Self {
            quota_bytes: (quota != 0).then_some(quota),
            compression,
        })
    }
}
