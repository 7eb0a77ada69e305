//! The envelope of a record and the associated data that binds records and frames to their place.
//!
//! ```text
//! record: ver u8 | kind u8 | epoch u32 | nonce 24 | ciphertext | tag 16
//! AAD   : "coffer-rec-v1" | volume id 16 | kind u8 | epoch u32 | len(name) u16 | name
//! frame : nonce 24 | ciphertext | tag 16
//! AAD   : "coffer-blk-v1" | volume id 16 | epoch u32 | content id 32 | index u8 | count u8
//!         | encoding u8 | raw_len u32
//! ```

use crate::base::{ContentId, Epoch, VolumeId};

use super::bytes::Reader;
use super::key::KEY_MAX_BYTES;
use super::record::Kind;

/// Version of the envelope of a record.
pub const VERSION: u8 = 1;

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 24;

/// Bytes of an authentication tag.
pub const TAG_BYTES: usize = 16;

/// Bytes that an envelope adds to a record.
pub const RECORD_OVERHEAD_BYTES: usize = 6 + NONCE_BYTES + TAG_BYTES;

/// Bytes that sealing adds to a frame of a block: nonce and tag.
pub const FRAME_OVERHEAD_BYTES: usize = NONCE_BYTES + TAG_BYTES;

const RECORD_LABEL: &[u8] = b"coffer-rec-v1";
const FRAME_LABEL: &[u8] = b"coffer-blk-v1";

/// Longest associated data: that of a record with the longest key.
const AAD_MAX_BYTES: usize = 13 + 16 + 1 + 4 + 2 + KEY_MAX_BYTES;

/// Associated data of one message, built in place.
pub struct Aad {
    len: usize,
    bytes: [u8; AAD_MAX_BYTES],
}

impl Aad {
    fn of(parts: &[&[u8]]) -> Self {
        let mut aad = Self {
            len: 0,
            bytes: [0; AAD_MAX_BYTES],
        };
        for p in parts {
            aad.bytes[aad.len..aad.len + p.len()].copy_from_slice(p);
            aad.len += p.len();
        }
        aad
    }

    /// Returns the associated data of a record, or none if no record has such a long name.
    #[must_use]
    pub fn record(volume: VolumeId, kind: Kind, epoch: Epoch, name: &[u8]) -> Option<Self> {
        if name.len() > KEY_MAX_BYTES {
            return None;
        }
        let name_len = u16::try_from(name.len()).ok()?.to_le_bytes();
        let (kind, epoch) = ([kind as u8], epoch.0.to_le_bytes());
        let parts = [RECORD_LABEL, &volume.0, &kind, &epoch, &name_len, name];
        Some(Self::of(&parts))
    }

    /// Returns the associated data of a frame; `shape` is index, count and encoding.
    #[must_use]
    pub fn frame(
        volume: VolumeId,
        epoch: Epoch,
        id: &ContentId,
        shape: [u8; 3],
        raw_len: u32,
    ) -> Self {
        let (epoch, raw_len) = (epoch.0.to_le_bytes(), raw_len.to_le_bytes());
        Self::of(&[FRAME_LABEL, &volume.0, &epoch, &id.0, &shape, &raw_len])
    }
}

impl AsRef<[u8]> for Aad {
    fn as_ref(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Returns the bytes before the nonce of a record's envelope.
#[must_use]
pub fn prefix(kind: Kind, epoch: Epoch) -> [u8; 6] {
    let [a, b, c, d] = epoch.0.to_le_bytes();
    [VERSION, kind as u8, a, b, c, d]
}

/// An envelope taken apart; nothing in it is authentic yet.
#[derive(Debug, Clone, Copy)]
pub struct Envelope<'a> {
    /// The epoch it says it was sealed in.
    pub epoch: Epoch,
    /// Its nonce.
    pub nonce: &'a [u8; NONCE_BYTES],
    /// Ciphertext and tag.
    pub body: &'a [u8],
}

impl<'a> Envelope<'a> {
    /// Takes an envelope of `kind` apart, or returns none if it is none.
    #[must_use]
    pub fn split(kind: Kind, sealed: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(sealed, "envelope");
        let known = r.u8().ok()? == VERSION && r.u8().ok()? == kind as u8;
        let epoch = Epoch(r.u32().ok()?);
        let nonce = r.bytes(NONCE_BYTES).ok()?.try_into().ok()?;
        let body = r.rest();
        (known && body.len() >= TAG_BYTES).then_some(Self { epoch, nonce, body })
    }
}
