//! XAES-256-GCM (C2SP): AES-256-GCM with a 24-byte nonce, a key of its own for every message.
//!
//! The first half of the nonce derives the message key with two AES calls, the second half is the
//! nonce of AES-256-GCM under it. Nonces may be random: 2^80 messages a key. A nonce used twice
//! with one key for different messages reveals both and lets anyone forge: nonces come only from
//! `nonce.rs`.
//!
//! Records and frames go through aws-lc-rs; the header goes through the `aes-gcm` crate, which is
//! also the second implementation that tests compare with.

use aes::Aes256Enc;
use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, aes::cipher::BlockCipherEncrypt};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

use crate::base::os::{Locked, LockedMemoryError};
use crate::format::envelope::{NONCE_BYTES, TAG_BYTES};

use super::secret::Secret;

/// Longest message: far above a frame or a record, far below the 64 GiB of AES-GCM.
const MESSAGE_MAX_BYTES: usize = 4 << 20;

/// The message is not authentic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotAuthentic;

/// The schedule of one XAES key; only the derivation of message keys uses it.
struct Schedule {
    aes: Aes256Enc,
    /// The first subkey of CMAC: AES(0) doubled in GF(2^128).
    k1: [u8; 16],
}

/// A key of XAES-256-GCM, expanded once, in locked memory.
pub(super) struct XaesKey(Locked<Schedule>);

impl XaesKey {
    pub(super) fn new(key: &Secret<32>) -> Result<Self, LockedMemoryError> {
        let aes = Aes256Enc::new(key.expose().into());
        let mut l = [0; 16].into();
        aes.encrypt_block(&mut l);
        let l = u128::from_be_bytes(l.into());
        let reduction = if l >> 127 == 1 { 0x87 } else { 0 };
        let k1 = ((l << 1) ^ reduction).to_be_bytes();
        Ok(Self(Locked::new(Schedule { aes, k1 })?))
    }

    /// Returns the key of the message with this nonce, and its AES-GCM nonce.
    fn message_key(&self, nonce: &[u8; NONCE_BYTES]) -> (Zeroizing<[u8; 32]>, [u8; 12]) {
        let (for_key, for_gcm) = nonce.split_at(12);
        let block = |counter: u8| {
            let mut m = self.0.k1;
            for (a, b) in m.iter_mut().zip([0, counter, b'X', 0]) {
                *a ^= b;
            }
            for (a, b) in m.iter_mut().skip(4).zip(for_key) {
                *a ^= b;
            }
            m.into()
        };
        let mut blocks = [block(1), block(2)];
        self.0.aes.encrypt_blocks(&mut blocks);
        let mut key = Zeroizing::new([0; 32]);
        for (half, b) in key.chunks_exact_mut(16).zip(&blocks) {
            half.copy_from_slice(b);
        }
        (key, for_gcm.try_into().expect("24 = 12 + 12"))
    }

    fn bulk(&self, nonce: &[u8; NONCE_BYTES]) -> (LessSafeKey, Nonce) {
        let (key, nonce) = self.message_key(nonce);
        let key = UnboundKey::new(&AES_256_GCM, &*key).expect("a key of 32 bytes");
        (LessSafeKey::new(key), Nonce::assume_unique_for_key(nonce))
    }

    /// Encrypts in place and returns the tag.
    pub(super) fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        message: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        assert!(message.len() <= MESSAGE_MAX_BYTES);
        let (key, nonce) = self.bulk(nonce);
        let tag = key
            .seal_in_place_separate_tag(nonce, Aad::from(aad), message)
            .expect("AES-GCM refuses only messages beyond 64 GiB");
        tag.as_ref().try_into().expect("a tag of 16 bytes")
    }

    /// Opens ciphertext and tag in place and returns the message.
    pub(super) fn open<'a>(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        body: &'a mut [u8],
    ) -> Result<&'a mut [u8], NotAuthentic> {
        if body.len() < TAG_BYTES {
            return Err(NotAuthentic);
        }
        let (key, nonce) = self.bulk(nonce);
        key.open_in_place(nonce, Aad::from(aad), body)
            .map_err(|_| NotAuthentic)
    }

    fn portable(&self, nonce: &[u8; NONCE_BYTES]) -> (Aes256Gcm, [u8; 12]) {
        let (key, nonce) = self.message_key(nonce);
        (Aes256Gcm::new((&*key).into()), nonce)
    }

    /// Encrypts in place and returns the tag, with the `aes-gcm` crate.
    pub(super) fn seal_portable(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        message: &mut [u8],
    ) -> [u8; TAG_BYTES] {
        assert!(message.len() <= MESSAGE_MAX_BYTES);
        let (cipher, nonce) = self.portable(nonce);
        cipher
            .encrypt_inout_detached(&nonce.into(), aad, InOutBuf::from(message))
            .expect("AES-GCM refuses only messages beyond 64 GiB")
            .into()
    }

    /// Opens in place, with the `aes-gcm` crate.
    pub(super) fn open_portable(
        &self,
        nonce: &[u8; NONCE_BYTES],
        aad: &[u8],
        message: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), NotAuthentic> {
        let (cipher, nonce) = self.portable(nonce);
        cipher
            .decrypt_inout_detached(&nonce.into(), aad, InOutBuf::from(message), tag.into())
            .map_err(|_| NotAuthentic)
    }
}
