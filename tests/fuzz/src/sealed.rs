//! Targets for what is authentic or not: the header, its slots and keyring, envelopes, frames.
//!
//! They work on the volume of `fixtures/formats/v1`. Nothing but what its keys have sealed may open,
//! whatever the fuzzer makes of it.

use std::sync::{Arc, LazyLock};

use crate::base::{ContentId, Epoch, OsRng};
use crate::crypto::{
    EPOCHS_MAX, FramePlace, FramePlain, Keyring, Keyset, RecoveryCode, SecretBytes, SlotKeys,
    TierKey, verify_header,
};
use crate::format::envelope::{Envelope, prefix};
use crate::format::header::{
    Argon2Cost, CHECKSUM_BYTES, HINT_MAX_BYTES, Header, LABEL_MAX_BYTES, MAX_BYTES, SLOTS_MAX, Slot,
};
use crate::format::key::Key;
use crate::format::record::Kind;

/// What opens slot 2 of the fixture, that of a reader, without Argon2id.
const READER: &[u8] = &[0xc3; 32];

/// Where the header says how long it is.
const TOTAL_LEN_AT: usize = 16;

/// The header of the fixture without its checksum.
static BODY: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let file = include_bytes!("../../../fixtures/formats/v1/header.a");
    let (body, _) = file.split_last_chunk::<CHECKSUM_BYTES>().expect("long");
    body.to_vec()
});

static HEADER: LazyLock<Header> = LazyLock::new(|| Header::decode(&BODY).expect("a header"));

static SECRET: LazyLock<SecretBytes> =
    LazyLock::new(|| SecretBytes::copy_of(READER).expect("locked memory"));

/// The fixture, opened by its reader.
static TIER: LazyLock<TierKey> = LazyLock::new(|| {
    let slot = HEADER.slots.last().expect("two slots");
    let keys = keys_of(&HEADER, slot).expect("long enough");
    keys.unwrap(slot).expect("authentic").0
});

static KEYS: LazyLock<Keyset> = LazyLock::new(|| {
    let keyring = keyring_of(&HEADER, &TIER).expect("authentic");
    Keyset::assemble(&TIER, keyring, Arc::new(OsRng)).expect("locked memory")
});

fn keys_of(header: &Header, slot: &Slot) -> Option<SlotKeys> {
    SlotKeys::derive(&SECRET, slot, header.volume).expect("locked memory")
}

fn keyring_of(header: &Header, tier: &TierKey) -> Option<Keyring> {
    let aad = header.before_keyring(header.keyring.ciphertext.len());
    tier.open_keyring(&header.keyring, &aad).ok()
}

/// Decodes a header as it is, or as it is but for its length: what was put in or taken out in the
/// middle would else never be looked at.
fn decoded(input: &[u8]) -> Option<(Header, Vec<u8>)> {
    let mut body = input.to_vec();
    if let Ok(header) = Header::decode(&body) {
        return Some((header, body));
    }
    let total = u32::try_from(body.len() + CHECKSUM_BYTES).ok()?;
    let field = body.get_mut(TOTAL_LEN_AT..TOTAL_LEN_AT + 4)?;
    field.copy_from_slice(&total.to_le_bytes());
    Some((Header::decode(&body).ok()?, body))
}

pub fn header(input: &[u8]) -> bool {
    let Some((header, body)) = decoded(input) else {
        return false;
    };
    assert_eq!(header.encode(), body);
    assert!(body.len() + CHECKSUM_BYTES <= MAX_BYTES);
    assert!((1..=SLOTS_MAX).contains(&header.slots.len()));
    assert!(body.starts_with(&header.before_keyring(header.keyring.ciphertext.len())));
    for (i, slot) in header.slots.iter().enumerate() {
        assert!(
            slot.cost
                .is_none_or(|c| c.is_within_cap() && c.is_defined())
        );
        assert!(slot.label.len() <= LABEL_MAX_BYTES);
        assert!(slot.hint.len() <= HINT_MAX_BYTES);
        assert!(header.slots.iter().take(i).all(|s| s.id != slot.id));
    }
    true
}

pub fn header_seeds() -> Vec<Vec<u8>> {
    vec![BODY.clone()]
}

/// A secret opens the header only as its administrator wrote it.
pub fn slot(input: &[u8]) -> bool {
    let Some((header, body)) = decoded(input) else {
        return false;
    };
    let quick = |c: Argon2Cost| c.m_kib <= 64 && c.t <= 2 && c.p <= 2;
    let mut opened = false;
    for slot in header.slots.iter().filter(|s| s.cost.is_none_or(quick)) {
        let Some(keys) = keys_of(&header, slot).filter(|keys| keys.fit(slot)) else {
            continue;
        };
        assert_eq!(header.volume, HEADER.volume);
        assert!(HEADER.slots.iter().any(|s| s.fields() == slot.fields()));
        let Ok((tier, admin_public)) = keys.unwrap(slot) else {
            continue;
        };
        assert!(HEADER.slots.contains(slot));
        assert_eq!(admin_public, HEADER.admin_public);
        if keyring_of(&header, &tier).is_some() {
            let keyring = &header.keyring;
            assert_eq!(*keyring, HEADER.keyring);
        }
        if verify_header(&admin_public, &header.signed_bytes(), &header.signature).is_ok() {
            assert!(body == *BODY);
            opened = true;
        }
    }
    opened
}

/// A recovery code as somebody typed it.
pub fn recovery(input: &[u8]) -> bool {
    let Ok(secret) = SecretBytes::copy_of(input) else {
        return false;
    };
    let code = RecoveryCode::parse(&secret).expect("locked memory");
    let mistyped = RecoveryCode::is_mistyped(&secret).expect("locked memory");
    let Some(code) = code else {
        return false;
    };
    assert!(!mistyped);
    let typed = String::from_utf8(input.to_ascii_uppercase()).expect("a code is ASCII");
    let typed = typed.replace(['-', ' ', '\n'], "");
    let typed = typed.replace('O', "0").replace(['I', 'L'], "1");
    assert_eq!(text_of(&code).replace('-', ""), typed);
    true
}

fn text_of(code: &RecoveryCode) -> String {
    let mut text = Vec::new();
    let shown = code.text().expect("locked memory");
    shown.write_to(&mut text).expect("memory takes it");
    String::from_utf8(text).expect("a code is ASCII")
}

pub fn recovery_seeds() -> Vec<Vec<u8>> {
    let code = RecoveryCode::random(&OsRng).expect("locked memory");
    let text = text_of(&code);
    let plain = text.replace('-', "").to_lowercase().replace('0', "o");
    vec![text.into_bytes(), format!("{plain}\n").into_bytes()]
}

pub fn keyring(input: &[u8]) -> bool {
    let Ok(keyring) = Keyring::from_plaintext(input) else {
        return false;
    };
    assert_eq!(keyring.encoded_bytes(), input.len());
    assert!(keyring.to_plaintext().expect("locked memory")[..] == *input);
    assert!((1..=EPOCHS_MAX).contains(&keyring.epochs().len()));
    true
}

pub fn keyring_seeds() -> Vec<Vec<u8>> {
    let mut long = Keyring::random(&"x".repeat(128), [8; 32], 1, &OsRng).expect("locked memory");
    let plain = |k: &Keyring| k.to_plaintext().expect("locked memory").to_vec();
    let mut seeds = vec![plain(&long)];
    long.set_label("").expect("short");
    seeds.push(plain(&long));
    seeds
}

/// Keys of records, one of each kind.
fn names() -> Vec<(Kind, Vec<u8>)> {
    let of = |letter: u8, len: usize| [vec![letter], vec![0x3c; len]].concat();
    let mut names = vec![(Kind::Inode, b"Iname".to_vec())];
    for bytes in [
        Key::root().as_bytes().to_vec(),
        Key::settings().as_bytes().to_vec(),
        of(b'C', 32),
        of(b'D', 32),
        of(b'E', 24),
        of(b'F', 8),
        of(b'L', 8),
        of(b'O', 16),
        of(b'P', 24),
        of(b'S', 4),
        of(b'X', 32),
    ] {
        let key = Key::from_bytes(&bytes).expect("a key");
        names.push((key.kind(), bytes));
    }
    names
}

/// Where the keys have sealed what, for the seeds: also two records of one kind.
static ENVELOPES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    names()
        .iter()
        .map(|(kind, name)| KEYS.seal(*kind, name, &[b"plain ", &name[..]].concat()))
        .collect::<Result<_, _>>()
        .expect("randomness")
});

/// Input: index of the name u8, envelope.
pub fn envelope(input: &[u8]) -> bool {
    let Some((index, sealed)) = input.split_first() else {
        return false;
    };
    static NAMES: LazyLock<Vec<(Kind, Vec<u8>)>> = LazyLock::new(names);
    let index = usize::from(*index) % NAMES.len();
    let (kind, name) = &NAMES[index];
    if let Some(e) = Envelope::split(*kind, sealed) {
        let again = [&prefix(*kind, e.epoch)[..], e.nonce, e.body].concat();
        assert_eq!(again, sealed);
    }
    let Ok(plain) = KEYS.open(*kind, name, sealed) else {
        return false;
    };
    assert_eq!(sealed, ENVELOPES[index]);
    assert_eq!(plain, [b"plain ", &name[..]].concat());
    true
}

pub fn envelope_seeds() -> Vec<Vec<u8>> {
    let sealed = ENVELOPES.iter();
    (0..)
        .zip(sealed)
        .map(|(i, e)| [&[i], &e[..]].concat())
        .collect()
}

const ID: ContentId = ContentId([0x1d; 32]);

/// Plaintexts of the frames of a block; their encoding does not matter here.
const FRAMES: [FramePlain<'static>; 2] = [
    FramePlain {
        encoding: 0,
        raw_len: 64,
        stored: &[0x77; 64],
    },
    FramePlain {
        encoding: 1,
        raw_len: 64,
        stored: b"short",
    },
];

/// The input that opens, for each frame.
static SEALED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut block = Vec::new();
    KEYS.seal_frames(&ID, &FRAMES, &mut block)
        .expect("randomness");
    let mut rest = block.as_slice();
    (0..2_u8)
        .zip(FRAMES)
        .map(|(index, f)| {
            let (sealed, behind) =
                rest.split_at(f.stored.len() + crate::crypto::FRAME_OVERHEAD_BYTES);
            rest = behind;
            let epoch = KEYS.active_epoch().0.to_le_bytes();
            let shape = [index, 2, f.encoding];
            [&epoch, &shape[..], &f.raw_len.to_le_bytes(), &ID.0, sealed].concat()
        })
        .collect()
});

/// Input: epoch u32, index u8, count u8, encoding u8, raw length u32, content id, sealed bytes.
pub fn frame(input: &[u8]) -> bool {
    let Some((head, sealed)) = input.split_first_chunk::<43>() else {
        return false;
    };
    let [
        e0,
        e1,
        e2,
        e3,
        index,
        count,
        encoding,
        r0,
        r1,
        r2,
        r3,
        id @ ..,
    ] = head;
    let place = FramePlace {
        epoch: Epoch(u32::from_le_bytes([*e0, *e1, *e2, *e3])),
        id: &ContentId(*id),
        index: *index,
        count: *count,
        encoding: *encoding,
        raw_len: u32::from_le_bytes([*r0, *r1, *r2, *r3]),
    };
    let mut sealed = sealed.to_vec();
    let Ok(stored) = KEYS.open_frame(place, &mut sealed) else {
        return false;
    };
    let at = SEALED.iter().position(|s| s == input);
    let at = at.expect("only what was sealed opens");
    assert_eq!(stored, FRAMES[at].stored);
    true
}

pub fn frame_seeds() -> Vec<Vec<u8>> {
    SEALED.clone()
}
