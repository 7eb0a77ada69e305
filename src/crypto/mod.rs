//! Ciphers, key derivation, signatures and secret types: pure, no I/O.

use thiserror::Error;

use crate::base::{ContentId, Epoch, RngError, VolumeId};
use crate::format::record::Kind;

/// Bytes that sealing adds to a frame of a block: nonce and tag.
pub const FRAME_OVERHEAD_BYTES: usize = 40;

/// Why something could not be sealed or opened.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The bytes are not what the holder of the keys wrote at this place.
    #[error("C-AEAD: not authentic")]
    NotAuthentic,
    /// The envelope names an epoch the keyring does not hold.
    #[error("C-EPOCH: epoch {0} is unknown or retired")]
    Epoch(Epoch),
    /// No random bytes.
    #[error("no randomness")]
    Rng(#[from] RngError),
}

/// What a keyed name hash is for; each has its own domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "face only")]
pub enum PrfDomain {
    Inode,
    Dir,
    Name,
    Extent,
    Page,
    Xattr,
    XattrName,
    Orphan,
}

/// One frame of a block before sealing.
#[derive(Debug, Clone, Copy)]
pub struct FramePlain<'a> {
    /// 0 raw, 1 lz4, 2 zstd.
    pub encoding: u8,
    /// Bytes after decompression.
    pub raw_len: u32,
    /// The bytes to seal.
    pub stored: &'a [u8],
}

/// Where a frame belongs: what its seal binds.
#[derive(Debug, Clone, Copy)]
pub struct FramePlace<'a> {
    /// The epoch it was sealed in.
    pub epoch: Epoch,
    /// The block.
    pub id: &'a ContentId,
    /// Index of the frame.
    pub index: u8,
    /// Frames of the block.
    pub count: u8,
    /// 0 raw, 1 lz4, 2 zstd.
    pub encoding: u8,
    /// Bytes after decompression.
    pub raw_len: u32,
}

/// The keys of an open volume, as handles; the secrets lie in locked memory.
pub struct Keyset {}

#[expect(
    unused_variables,
    missing_docs,
    clippy::missing_errors_doc,
    reason = "face only, filled next"
)]
impl Keyset {
    /// A keyset whose secrets are all derived from `seed`, for tests of the layers above.
    #[cfg(test)]
    #[must_use]
    pub fn for_tests(seed: u8) -> Self {
        unimplemented!()
    }
    #[must_use]
    pub fn volume_id(&self) -> VolumeId {
        unimplemented!()
    }
    #[must_use]
    pub fn active_epoch(&self) -> Epoch {
        unimplemented!()
    }
    /// False with an `ro` slot.
    #[must_use]
    pub fn can_write(&self) -> bool {
        unimplemented!()
    }
    /// Seals a record's plaintext into an envelope (SECURITY 5.1).
    pub fn seal(&self, kind: Kind, name: &[u8], plain: &[u8]) -> Result<Vec<u8>, CryptoError> {
        unimplemented!()
    }
    pub fn open(&self, kind: Kind, name: &[u8], e: &[u8]) -> Result<Vec<u8>, CryptoError> {
        unimplemented!()
    }
    /// Keyed BLAKE3 of a chunk's plaintext.
    #[must_use]
    pub fn content_id(&self, chunk: &[u8]) -> ContentId {
        unimplemented!()
    }
    /// Appends each frame as nonce | ciphertext | tag to `out`, under the active epoch; one call to
    /// the source of randomness for all nonces. Each frame grows by [`FRAME_OVERHEAD_BYTES`].
    pub fn seal_frames(
        &self,
        id: &ContentId,
        frames: &[FramePlain<'_>],
        out: &mut Vec<u8>,
    ) -> Result<(), CryptoError> {
        unimplemented!()
    }
    /// Opens a frame in place and returns its stored (maybe compressed) bytes.
    pub fn open_frame<'a>(
        &self,
        place: FramePlace<'_>,
        sealed: &'a mut [u8],
    ) -> Result<&'a [u8], CryptoError> {
        unimplemented!()
    }
    #[must_use]
    pub fn prf16(&self, d: PrfDomain, args: &[&[u8]]) -> [u8; 16] {
        unimplemented!()
    }
    #[must_use]
    pub fn digest_term(&self, key: &[u8], sealed: &[u8]) -> [u8; 32] {
        unimplemented!()
    }
    #[must_use]
    pub fn bucket_hash(&self, key: &[u8]) -> u8 {
        unimplemented!()
    }
    /// None with keys that cannot sign.
    #[must_use]
    pub fn sign_root(&self, m: &[u8]) -> Option<[u8; 64]> {
        unimplemented!()
    }
    pub fn verify_root(&self, m: &[u8], s: &[u8; 64]) -> Result<(), CryptoError> {
        unimplemented!()
    }
    /// Identity of the key hierarchy, for anchors and people.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 16] {
        unimplemented!()
    }
}
