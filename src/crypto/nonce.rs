//! Hedged nonces: random, and bound to what they seal in case the randomness is not.
//!
//! A nonce is the first 24 bytes of a keyed hash of 32 random bytes and of everything that is
//! sealed with it. With a sound source it is a random nonce. With a broken, repeated or cloned one
//! it repeats only for the same message in the same place, which reveals nothing but that they are
//! equal. Nothing may shorten the hashed input: a nonce that depends on less than the whole message
//! repeats under another message, and then both can be read.

use blake3::keyed_hash;

use crate::base::ContentId;
use crate::format::envelope::NONCE_BYTES;
use crate::format::record::Kind;

use super::secret::Secret;

/// Random bytes of a nonce; the frames of a block share them.
pub(super) const RANDOM_BYTES: usize = 32;

/// Longest input of the outer hash: that of a record with the longest name.
const INPUT_MAX_BYTES: usize = 128;

/// What the nonce is for; the first byte hashed after the random ones.
#[repr(u8)]
enum Use {
    Record = 1,
    Frame = 2,
    Header = 3,
}

fn of_parts(key: &Secret<32>, parts: &[&[u8]]) -> [u8; NONCE_BYTES] {
    let mut input = [0; INPUT_MAX_BYTES];
    let mut at = 0;
    for p in parts {
        input[at..at + p.len()].copy_from_slice(p);
        at += p.len();
    }
    let hash = keyed_hash(key.expose(), &input[..at]);
    *hash
        .as_bytes()
        .first_chunk()
        .expect("a hash is longer than a nonce")
}

/// Returns the nonce of a record.
pub(super) fn of_record(
    key: &Secret<32>,
    random: &[u8; RANDOM_BYTES],
    kind: Kind,
    name: &[u8],
    plain: &[u8],
) -> [u8; NONCE_BYTES] {
    // The hash of the message stands for it: equal hashes are equal messages. It ends the input,
    // so the name before it needs no length of its own.
    let message = keyed_hash(key.expose(), plain);
    let what = [Use::Record as u8, kind as u8];
    of_parts(key, &[random, &what, name, message.as_bytes()])
}

/// Returns the nonce of a frame; `shape` is index, count, encoding.
pub(super) fn of_frame(
    key: &Secret<32>,
    random: &[u8; RANDOM_BYTES],
    id: &ContentId,
    shape: [u8; 3],
    raw_len: u32,
    stored: &[u8],
) -> [u8; NONCE_BYTES] {
    let raw_len = raw_len.to_le_bytes();
    let [_, _, encoding] = shape;
    let what = [Use::Frame as u8];
    if encoding == 0 {
        // Raw bytes are a fixed piece of the content that the id names.
        return of_parts(key, &[random, &what, &id.0, &shape, &raw_len]);
    }
    let message = keyed_hash(key.expose(), stored);
    of_parts(
        key,
        &[random, &what, &id.0, &shape, &raw_len, message.as_bytes()],
    )
}

/// Returns the nonce of a part of the header.
pub(super) fn of_header_part(
    key: &Secret<32>,
    random: &[u8; RANDOM_BYTES],
    aad: &[u8],
    plain: &[u8],
) -> [u8; NONCE_BYTES] {
    let aad = keyed_hash(key.expose(), aad);
    let message = keyed_hash(key.expose(), plain);
    let what = [Use::Header as u8];
    of_parts(key, &[random, &what, aad.as_bytes(), message.as_bytes()])
}
