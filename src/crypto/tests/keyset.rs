//! What a keyset promises.

use std::collections::HashSet;
use std::sync::Arc;

use crate::base::{ContentId, Epoch, OsRng, Rng, RngError};
use crate::crypto::{CryptoError, FRAME_OVERHEAD_BYTES, FramePlace, FramePlain, Keyset, PrfDomain};
use crate::format::header::Role;
use crate::format::record::Kind;

/// A source that always gives the same bytes.
struct Stuck;

impl Rng for Stuck {
    fn fill(&self, out: &mut [u8]) -> Result<(), RngError> {
        out.fill(7);
        Ok(())
    }
}

fn nonce_of(sealed: &[u8]) -> [u8; 24] {
    sealed[6..30].try_into().unwrap()
}

#[test]
fn a_record_opens_only_in_its_place() {
    let keys = Keyset::for_tests(1);
    let sealed = keys.seal(Kind::Inode, b"Iname", b"plain").unwrap();
    assert_eq!(sealed.len(), 5 + 46);
    assert_eq!(sealed[..6], [1, 2, 1, 0, 0, 0]);
    assert_eq!(keys.open(Kind::Inode, b"Iname", &sealed).unwrap(), b"plain");
    let not_authentic = |k: &Keyset, kind, name: &[u8], e: &[u8]| {
        assert!(matches!(
            k.open(kind, name, e),
            Err(CryptoError::NotAuthentic)
        ));
    };
    not_authentic(&keys, Kind::Inode, b"Inamf", &sealed);
    not_authentic(&keys, Kind::Dirent, b"Iname", &sealed);
    not_authentic(&keys, Kind::Inode, &[0; 100], &sealed);
    not_authentic(&Keyset::for_tests(2), Kind::Inode, b"Iname", &sealed);
    let mut as_dirent = sealed.clone();
    as_dirent[1] = Kind::Dirent as u8;
    not_authentic(&keys, Kind::Dirent, b"Iname", &as_dirent);
    for len in 0..sealed.len() {
        not_authentic(&keys, Kind::Inode, b"Iname", &sealed[..len]);
    }
    for at in 0..sealed.len() {
        let mut bad = sealed.clone();
        bad[at] ^= 1;
        let result = keys.open(Kind::Inode, b"Iname", &bad);
        if (2..6).contains(&at) {
            assert!(matches!(result, Err(CryptoError::Epoch(_))), "{at}");
        } else {
            assert!(matches!(result, Err(CryptoError::NotAuthentic)), "{at}");
        }
    }
}

#[test]
fn roots_have_a_key_of_their_own() {
    let keys = Keyset::for_tests(1);
    let sealed = keys.seal(Kind::Root, b"Rroot", b"plain").unwrap();
    assert_eq!(keys.open(Kind::Root, b"Rroot", &sealed).unwrap(), b"plain");
}

fn block(keys: &Keyset, frames: &[FramePlain<'_>]) -> (ContentId, Vec<Vec<u8>>) {
    let id = keys.content_id(b"chunk");
    let mut out = b"before".to_vec();
    keys.seal_frames(&id, frames, &mut out).unwrap();
    let mut rest = out.strip_prefix(b"before").unwrap();
    let sealed = frames
        .iter()
        .map(|f| {
            let (a, b) = rest.split_at(f.stored.len() + FRAME_OVERHEAD_BYTES);
            rest = b;
            a.to_vec()
        })
        .collect();
    assert!(rest.is_empty());
    (id, sealed)
}

fn plain(encoding: u8, stored: &[u8]) -> FramePlain<'_> {
    FramePlain {
        encoding,
        raw_len: 4096,
        stored,
    }
}

#[test]
fn a_frame_opens_only_in_its_place() {
    let keys = Keyset::for_tests(1);
    let (id, sealed) = block(
        &keys,
        &[plain(0, b"first"), plain(1, b"second!"), plain(2, b"")],
    );
    let place = FramePlace {
        epoch: Epoch(1),
        id: &id,
        index: 1,
        count: 3,
        encoding: 1,
        raw_len: 4096,
    };
    assert_eq!(
        keys.open_frame(place, &mut sealed[1].clone()).unwrap(),
        b"second!"
    );
    let other_id = ContentId([0; 32]);
    let wrong = [
        FramePlace {
            id: &other_id,
            ..place
        },
        FramePlace { index: 0, ..place },
        FramePlace { count: 4, ..place },
        FramePlace {
            encoding: 2,
            ..place
        },
        FramePlace {
            raw_len: 4095,
            ..place
        },
    ];
    for w in wrong {
        assert!(matches!(
            keys.open_frame(w, &mut sealed[1].clone()),
            Err(CryptoError::NotAuthentic)
        ));
    }
    let foreign = FramePlace {
        epoch: Epoch(2),
        ..place
    };
    assert!(matches!(
        keys.open_frame(foreign, &mut sealed[1].clone()),
        Err(CryptoError::Epoch(Epoch(2)))
    ));
    for len in 0..sealed[1].len() {
        let mut short = sealed[1][..len].to_vec();
        assert!(keys.open_frame(place, &mut short).is_err());
    }
}

#[test]
fn nonces_do_not_repeat() {
    let keys = Keyset::for_tests(1);
    let mut seen = HashSet::new();
    for _ in 0..20_000 {
        let sealed = keys.seal(Kind::Page, b"Pname", b"the same").unwrap();
        assert!(seen.insert(nonce_of(&sealed)));
        let (_, frames) = block(&keys, &[plain(0, b"a"), plain(0, b"a")]);
        for f in frames {
            assert!(seen.insert(f[..24].try_into().unwrap()));
        }
    }
}

#[test]
fn with_stuck_randomness_only_equal_messages_share_a_nonce() {
    let keys = Keyset::for_tests_with(1, Role::Admin, Arc::new(Stuck));
    let seal = |kind, name: &[u8], p: &[u8]| keys.seal(kind, name, p).unwrap();
    assert_eq!(
        seal(Kind::Page, b"P1", b"same"),
        seal(Kind::Page, b"P1", b"same")
    );
    let mut seen = HashSet::new();
    let mut new = |sealed: &[u8]| assert!(seen.insert(nonce_of(sealed)));
    for i in 0..1000_u32 {
        new(&seal(Kind::Page, b"P1", &i.to_le_bytes()));
        new(&seal(Kind::Page, &i.to_be_bytes(), b"same"));
    }
    new(&seal(Kind::Inode, b"P1", b"same"));
    new(&seal(Kind::Page, b"P", b"1same"));
    let mut seen = HashSet::new();
    for stored in [b"one", b"two"] {
        let (_, frames) = block(
            &keys,
            &[plain(1, stored), plain(1, stored), plain(2, stored)],
        );
        for f in frames {
            assert!(seen.insert(f[..24].to_vec()));
        }
    }
}

#[test]
fn hashes_differ_by_domain_argument_and_volume() {
    let keys = Keyset::for_tests(1);
    let all = [
        keys.prf16(PrfDomain::Inode, &[b"ab"]),
        keys.prf16(PrfDomain::Dir, &[b"ab"]),
        keys.prf16(PrfDomain::Inode, &[b"a", b"b"]),
        keys.prf16(PrfDomain::Inode, &[b"", b"ab"]),
        keys.prf16(PrfDomain::Inode, &[]),
        Keyset::for_tests(2).prf16(PrfDomain::Inode, &[b"ab"]),
    ];
    assert_eq!(HashSet::from(all).len(), all.len());
    assert_eq!(all[0], keys.prf16(PrfDomain::Inode, &[b"ab"]));
    assert_ne!(keys.content_id(b"x"), keys.content_id(b"y"));
    assert_ne!(keys.content_id(b"x"), Keyset::for_tests(2).content_id(b"x"));
}

#[test]
fn a_digest_term_is_the_hash_of_key_and_value_at_every_length() {
    let keys = Keyset::for_tests(1);
    let data: Vec<u8> = (0..10_000_u32).map(|i| i.to_le_bytes()[0]).collect();
    let secret = *blake3::hash(&[1, 3]).as_bytes();
    for len in [0, 1, 1000, 4607, 4608, 4609, 10_000] {
        let (key, value) = data[..len].split_at(len.min(33));
        let expected = blake3::keyed_hash(&secret, &data[..len]);
        assert_eq!(keys.digest_term(key, value), *expected.as_bytes(), "{len}");
    }
    let first = blake3::keyed_hash(&secret, b"S1").as_bytes()[0];
    assert_eq!(keys.bucket_hash(b"S1"), first);
}

#[test]
fn roots_are_signed_by_writers_and_checked_by_all() {
    let rng = || Arc::new(OsRng);
    let rw = Keyset::for_tests_with(1, Role::Rw, rng());
    let ro = Keyset::for_tests_with(1, Role::Ro, rng());
    let admin = Keyset::for_tests_with(1, Role::Admin, rng());
    let signature = rw.sign_root(b"root").unwrap();
    assert_eq!(admin.sign_root(b"root"), Some(signature));
    assert!(rw.can_write());
    assert!(!ro.can_write());
    assert_eq!(ro.sign_root(b"root"), None);
    for k in [&rw, &ro, &admin] {
        k.verify_root(b"root", &signature).unwrap();
        assert!(k.verify_root(b"toor", &signature).is_err());
        assert_eq!(k.fingerprint(), admin.fingerprint());
    }
    let other = Keyset::for_tests(2);
    assert!(other.verify_root(b"root", &signature).is_err());
    assert_ne!(other.fingerprint(), admin.fingerprint());
    let sealed = rw.seal(Kind::Inode, b"I", b"x").unwrap();
    assert_eq!(ro.open(Kind::Inode, b"I", &sealed).unwrap(), b"x");
}
