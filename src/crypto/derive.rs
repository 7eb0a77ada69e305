//! Key derivation: HKDF-SHA256 for keys, Argon2id for passphrases, HMAC-SHA256 for commitments.
//!
//! Everything here runs on the key thread, which scrubs its stack.

use argon2::{Algorithm, Argon2, Block, Params, Version};
use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

use crate::base::VolumeId;
use crate::base::os::LockedMemoryError;
use crate::format::header::Argon2Cost;

use super::CryptoError;
use super::secret::Secret;

/// Returns HKDF-SHA256(key, info = "coffer/v1/" purpose | volume id).
pub(super) fn purpose_key<const N: usize>(
    key: &Secret<32>,
    purpose: &str,
    volume: VolumeId,
) -> Result<Secret<N>, LockedMemoryError> {
    let hkdf = Hkdf::<Sha256>::new(None, key.expose());
    let info = [b"coffer/v1/".as_slice(), purpose.as_bytes(), &volume.0];
    Secret::build(|out| {
        hkdf.expand_multi_info(&info, out)
            .expect("HKDF gives up to 8160 bytes");
    })
}

/// Returns the first 96 bytes of HKDF-SHA256(input, salt, info = "coffer/slot/v1" | volume id), as
/// three keys: commitment, wrapping, nonces of the wrapping.
pub(super) fn slot_keys(
    input: &[u8],
    salt: &[u8; 32],
    volume: VolumeId,
) -> Result<[Secret<32>; 3], LockedMemoryError> {
    let hkdf = Hkdf::<Sha256>::new(Some(salt), input);
    let info = [b"coffer/slot/v1".as_slice(), &volume.0];
    let all = Secret::<96>::build(|out| {
        hkdf.expand_multi_info(&info, out)
            .expect("HKDF gives up to 8160 bytes");
    })?;
    let part = |n: usize| {
        Secret::build(|out| {
            for (a, b) in out.iter_mut().zip(all.expose().iter().skip(32 * n)) {
                *a = *b;
            }
        })
    };
    Ok([part(0)?, part(1)?, part(2)?])
}

/// Returns HMAC-SHA256(key, parts one after the other).
pub(super) fn mac(key: &Secret<32>, parts: &[&[u8]]) -> [u8; 32] {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes keys of any length");
    for p in parts {
        mac.update(p);
    }
    mac.finalize().into_bytes().into()
}

/// Returns Argon2id(passphrase, salt) at a cost that the caller has checked against its caps.
///
/// The memory is ours, wiped and given back to the operating system before this returns.
pub(super) fn stretch(
    passphrase: &[u8],
    salt: &[u8; 32],
    cost: Argon2Cost,
) -> Result<Secret<32>, CryptoError> {
    assert!(cost.is_within_cap());
    let params = Params::new(cost.m_kib, cost.t, cost.p, Some(32))
        .map_err(|_| CryptoError::KdfParameters(cost))?;
    let mut memory = Vec::new();
    memory
        .try_reserve_exact(params.block_count())
        .map_err(|_| CryptoError::KdfMemory(cost))?;
    memory.resize(params.block_count(), Block::new());
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut done = Ok(());
    let key = Secret::build(|out| {
        done = argon2.hash_password_into_with_memory(passphrase, salt, out, &mut memory);
    });
    memory.zeroize();
    done.map_err(|_| CryptoError::KdfParameters(cost))?;
    Ok(key?)
}
