//! Secrets: bytes in locked memory that are compared in constant time and never shown.

use std::fmt;
use std::io::{Read, Write};

use subtle::ConstantTimeEq;

use crate::base::Rng;
use crate::base::os::{Locked, LockedBytes, LockedMemoryError};

use super::CryptoError;

/// A key of `N` bytes in locked memory: no `Clone`, no content in `Debug`, wiped on drop.
pub struct Secret<const N: usize>(Locked<[u8; N]>);

impl<const N: usize> Secret<N> {
    /// Returns a secret of zeros, for `fill` to change in place.
    pub(super) fn build(fill: impl FnOnce(&mut [u8; N])) -> Result<Self, LockedMemoryError> {
        let mut bytes = Locked::new([0; N])?;
        fill(&mut bytes);
        Ok(Self(bytes))
    }

    /// Returns a new random secret.
    ///
    /// # Errors
    /// When there is no randomness or no locked memory.
    pub fn random(rng: &dyn Rng) -> Result<Self, CryptoError> {
        let mut bytes = Locked::new([0; N])?;
        rng.fill(&mut *bytes)?;
        Ok(Self(bytes))
    }

    /// Returns the key to the ciphers of this layer.
    pub(super) fn expose(&self) -> &[u8; N] {
        &self.0
    }
}

impl<const N: usize> PartialEq for Secret<N> {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl<const N: usize> Eq for Secret<N> {}

impl<const N: usize> fmt::Debug for Secret<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// What a user gives to unlock a volume, a passphrase or the bytes of a key file, in locked memory.
pub struct SecretBytes(LockedBytes);

impl SecretBytes {
    /// Longest secret: the largest key file.
    pub const MAX_BYTES: usize = 64 << 10;

    /// What is locked to read a secret into, until it proves longer: the limit of locked memory may
    /// be as low as the longest secret.
    const TYPICAL_BYTES: usize = 1 << 10;

    /// Copies a secret into locked memory; the caller wipes its own copy.
    ///
    /// # Errors
    /// When it is too long or there is no locked memory.
    pub fn copy_of(bytes: &[u8]) -> Result<Self, CryptoError> {
        Self::read_from(&mut &*bytes)
    }

    /// Reads a secret to its end, straight into locked memory.
    ///
    /// # Errors
    /// When reading fails, more than [`Self::MAX_BYTES`] come, or there is no locked memory.
    pub fn read_from(source: &mut dyn Read) -> Result<Self, CryptoError> {
        let mut bytes = LockedBytes::zeroed(Self::TYPICAL_BYTES)?;
        let mut len = 0;
        loop {
            if len == bytes.len() && len <= Self::MAX_BYTES {
                let mut larger = LockedBytes::zeroed((2 * len).min(Self::MAX_BYTES + 1))?;
                larger.split_at_mut(len).0.copy_from_slice(&bytes);
                bytes = larger;
            }
            let (_, rest) = bytes.split_at_mut(len);
            match source.read(rest) {
                Ok(0) => break,
                Ok(n) => len += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(CryptoError::SecretUnreadable(e)),
            }
        }
        if len > Self::MAX_BYTES {
            return Err(CryptoError::SecretTooLong);
        }
        let (head, _) = bytes.split_at(len);
        let mut exact = LockedBytes::zeroed(len)?;
        exact.copy_from_slice(head);
        Ok(Self(exact))
    }

    /// Hands the secret to another process, through a pipe that only that process reads.
    ///
    /// # Errors
    /// When writing fails.
    pub fn write_to(&self, pipe: &mut dyn Write) -> std::io::Result<()> {
        pipe.write_all(&self.0)
    }

    /// Returns the number of bytes as given.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true when nothing was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes tried on passphrase slots: without one trailing newline.
    pub(super) fn as_passphrase(&self) -> &[u8] {
        self.0.strip_suffix(b"\n").unwrap_or(&self.0)
    }

    /// Returns the bytes tried on key slots, or none if they are too few.
    ///
    /// One trailing newline is no part of it, unless the key would be too short without: a random
    /// key of exactly [`Self::KEY_MIN_BYTES`] may end in that byte.
    pub(super) fn as_key(&self) -> Option<&[u8]> {
        [self.as_passphrase(), &self.0]
            .into_iter()
            .find(|k| k.len() >= Self::KEY_MIN_BYTES)
    }

    /// Fewest bytes of a key.
    pub const KEY_MIN_BYTES: usize = 32;

    /// Returns true when the bytes are tried on key slots too, beside the passphrase slots.
    #[must_use]
    pub fn suits_key_slots(&self) -> bool {
        self.as_key().is_some()
    }

    /// Returns the characters of the passphrase, or its bytes if it is no UTF-8.
    #[must_use]
    pub fn passphrase_chars(&self) -> usize {
        let p = self.as_passphrase();
        str::from_utf8(p).map_or(p.len(), |s| s.chars().count())
    }

    /// Returns true when the bytes are text as a person would type it: one line of UTF-8.
    #[must_use]
    pub fn is_text(&self) -> bool {
        str::from_utf8(self.as_passphrase()).is_ok_and(|s| !s.chars().any(char::is_control))
    }
}

impl PartialEq for SecretBytes {
    fn eq(&self, other: &Self) -> bool {
        self.as_passphrase().ct_eq(other.as_passphrase()).into()
    }
}

impl Eq for SecretBytes {}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}
