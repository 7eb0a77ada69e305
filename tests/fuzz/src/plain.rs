//! Targets for what surrounds a record: its padding, its compression, its key.

use crate::codec::{Codec, Compression};
use crate::format::blockref::Encoding;
use crate::format::key::{Key, Letter};
use crate::format::padding::{FRAMING_BYTES, frame, padme, unframe};

pub fn padding(input: &[u8]) -> bool {
    let len = input.len();
    assert!(padme(len) >= len);
    assert!(padme(len) - len <= len / 8);
    let Ok(payload) = unframe(input) else {
        return false;
    };
    assert_eq!(frame(&[payload]), input);
    assert!(payload.len() + FRAMING_BYTES <= len);
    true
}

pub fn padding_seeds() -> Vec<Vec<u8>> {
    [0, 1, 2, 3, 50, 300, 4112]
        .into_iter()
        .map(|len| frame(&[&vec![7; len]]))
        .collect()
}

/// Longest plaintext of a frame.
const FRAME_MAX_BYTES: usize = 128 << 10;

/// The plaintext, its encoding, what that decodes to, and the tables of the codec.
pub const CODEC: usize = 4 * FRAME_MAX_BYTES + (64 << 10);

/// Input: encoding u8, length of the plaintext u24, stored bytes.
pub fn codec(input: &[u8]) -> bool {
    let Some(([how, a, b, c], stored)) = input.split_first_chunk::<4>() else {
        return false;
    };
    let raw_len = usize::try_from(u32::from_le_bytes([*a, *b, *c, 0])).expect("24 bits");
    if raw_len == 0 || raw_len > FRAME_MAX_BYTES {
        return false;
    }
    let (encoding, compression) = match how % 3 {
        0 => (Encoding::Raw, Compression::None),
        1 => (Encoding::Lz4, Compression::Lz4),
        _ => (Encoding::Zstd, Compression::Zstd),
    };
    let mut codec = Codec::default();
    let mut raw = vec![0x5a; raw_len];
    if !codec.decode(encoding, stored, &mut raw) {
        return false;
    }
    // Nothing of the buffer shows through, and a used codec gives what a new one gives.
    let mut again = vec![0xa5; raw_len];
    assert!(codec.decode(encoding, stored, &mut again));
    assert!(raw == again);
    drop(again);
    let mut out = Vec::new();
    if let Some((encoding, len)) = codec.encode(compression, &raw, true, &mut out) {
        assert!(len == out.len() && len < raw_len);
        let mut back = vec![0; raw_len];
        assert!(codec.decode(encoding, &out, &mut back));
        assert!(raw == back);
    }
    true
}

pub fn codec_seeds() -> Vec<Vec<u8>> {
    let text: Vec<u8> = b"all of it again, and again; "
        .iter()
        .cycle()
        .take(3000)
        .copied()
        .collect();
    let noise: Vec<u8> = (0..64_u32)
        .map(|n| n.wrapping_mul(0x9e37_79b9).to_le_bytes()[3])
        .collect();
    let seed = |how, raw: &[u8], stored: &[u8]| {
        let [a, b, c, _] = u32::try_from(raw.len()).expect("short").to_le_bytes();
        [&[how, a, b, c], stored].concat()
    };
    let mut seeds = vec![seed(0, &noise, &noise)];
    for (how, compression) in [(1, Compression::Lz4), (2, Compression::Zstd)] {
        for raw in [text.as_slice(), &[0; 4096], &text[..40].repeat(2)] {
            let mut out = Vec::new();
            let mut codec = Codec::default();
            if codec.encode(compression, raw, true, &mut out).is_some() {
                seeds.push(seed(how, raw, &out));
            }
        }
    }
    seeds
}

pub fn key(input: &[u8]) -> bool {
    let Some(key) = Key::from_bytes(input) else {
        return false;
    };
    assert_eq!(key.as_bytes(), input);
    assert!(key.prefix_end() > key);
    let next = key.successor();
    assert!(next > key);
    assert!(next <= key.prefix_end());
    true
}

pub fn key_seeds() -> Vec<Vec<u8>> {
    let mut keys = vec![Key::root(), Key::settings()];
    for (letter, len) in [
        (Letter::Block, 32),
        (Letter::Dirent, 32),
        (Letter::Extents, 24),
        (Letter::Punch, 8),
        (Letter::Inode, 17),
        (Letter::PackList, 8),
        (Letter::Orphan, 16),
        (Letter::Page, 24),
        (Letter::Account, 4),
        (Letter::Xattr, 32),
    ] {
        keys.push(Key::new(letter, &[&vec![0xff; len]]));
    }
    keys.iter().map(|k| k.as_bytes().to_vec()).collect()
}
