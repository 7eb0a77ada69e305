//! Ciphers, key derivation, signatures and secret types: pure, no I/O.
//!
//! The one layer that sees key bytes. Keys live in locked memory and are derived and expanded on
//! the key thread ([`on_key_thread`]); other threads hold handles, and on their stacks are only the
//! key of the message at hand and what BLAKE3 leaves of the keys that name things.

mod derive;
mod key_thread;
mod keyring;
mod keyset;
mod nonce;
mod recovery;
mod secret;
mod slot;
mod tier;
mod xaes;

use thiserror::Error;

use crate::base::os::LockedMemoryError;
use crate::base::{ContentId, Epoch, RngError};
use crate::format::bytes::DecodeError;
use crate::format::header::{Argon2Cost, CHECKSUM_BYTES};

pub use crate::format::envelope::FRAME_OVERHEAD_BYTES;
pub use key_thread::on_key_thread;
pub use keyring::{EPOCHS_MAX, EpochInfo, EpochState, Keyring, VOLUME_LABEL_MAX_BYTES};
pub use keyset::Keyset;
pub use recovery::RecoveryCode;
pub use secret::{Secret, SecretBytes};
pub use slot::SlotKeys;
pub use tier::{TierKey, verify_header};

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
    /// No memory for secrets.
    #[error("no memory for secrets")]
    LockedMemory(#[from] LockedMemoryError),
    /// No thread for the work with keys.
    #[error("no thread for the keys")]
    Thread(#[source] std::io::Error),
    /// Argon2id is not defined for these parameters.
    #[error("C-KDFCAP: Argon2id is not defined for {0}")]
    KdfParameters(Argon2Cost),
    /// The memory that Argon2id needs cannot be had.
    #[error("C-KDFCAP: no memory for Argon2id with {0}")]
    KdfMemory(Argon2Cost),
    /// A secret could not be read.
    #[error("the secret cannot be read")]
    SecretUnreadable(#[source] std::io::Error),
    /// A secret is longer than any key file may be.
    #[error(
        "C-SECRETFORM: the secret is longer than {} bytes",
        SecretBytes::MAX_BYTES
    )]
    SecretTooLong,
    /// A label is too long or has control characters.
    #[error("a label has at most {VOLUME_LABEL_MAX_BYTES} bytes and no control characters")]
    Label,
    /// The keyring is authentic but has not its layout.
    #[error("C-DECODE: the keyring is malformed")]
    Keyring,
}

impl From<DecodeError> for CryptoError {
    fn from(_: DecodeError) -> Self {
        Self::Keyring
    }
}

/// What a keyed name hash is for; each has its own domain, so that keys of different families do
/// not show that they belong to one inode. The numbers are part of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PrfDomain {
    /// A group of inodes.
    Inode = 1,
    /// A directory, in the keys of its entries.
    Dir = 2,
    /// A name in a directory.
    Name = 3,
    /// An inode, in the keys of its extents.
    Extent = 4,
    /// An inode, in the keys of its pages.
    Page = 5,
    /// An inode, in the keys of its extended attributes.
    Xattr = 6,
    /// The name of an extended attribute.
    XattrName = 7,
    /// An inode, in the key of its orphan record.
    Orphan = 8,
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

/// Returns the checksum of a header: it finds torn writes, and proves nothing.
#[must_use]
pub fn header_checksum(body: &[u8]) -> [u8; CHECKSUM_BYTES] {
    *blake3::hash(body)
        .as_bytes()
        .first_chunk()
        .expect("a hash is longer than the checksum")
}

#[cfg(test)]
mod tests;
