//! What opens, what does not, and with which error.

use super::*;
use crate::base::OsRng;
use crate::format::header::{LABEL_MAX_BYTES, SLOTS_MAX};
use crate::format::record::Kind;

#[test]
fn the_secret_that_made_a_volume_opens_it() {
    for (kind, bytes) in [(SlotKind::Passphrase, PASSPHRASE), (SlotKind::KeyFile, KEY)] {
        let (dir, created) = volume(kind, bytes);
        let unlocked = open(dir.path(), bytes, Access::ReadWrite).expect("unlocked");
        assert_eq!(unlocked.label, "accounts");
        assert_eq!(unlocked.epochs.len(), 1);
        assert_eq!(unlocked.slot.role, Role::Admin);
        assert_eq!(unlocked.slot.kind, kind);
        assert_eq!(unlocked.header_seq, created.header_seq());
        assert_eq!(unlocked.incarnation, [9; 16]);
        assert_eq!(unlocked.chunk_bytes, 128 << 10);
        assert!(!unlocked.healed);
        let made = created.keyset();
        let sealed = made.seal(Kind::Inode, b"I", b"plain").expect("sealed");
        let opened = unlocked.keyset.open(Kind::Inode, b"I", &sealed);
        assert_eq!(opened.expect("the same keys"), b"plain");
        assert_eq!(unlocked.keyset.fingerprint(), made.fingerprint());
        assert_eq!(unlocked.keyset.volume_id(), VolumeId([7; 16]));
    }
}

#[test]
fn a_peek_needs_no_secret_and_shows_no_label() {
    let (dir, _) = volume(SlotKind::Passphrase, PASSPHRASE);
    let peek = peek(dir.path()).expect("a header");
    assert_eq!(peek.volume, VolumeId([7; 16]));
    assert_eq!((peek.format, peek.created), (1, 1_700_000_000));
    assert_eq!(peek.chunk_bytes, 128 << 10);
    assert!(matches!(peek.twin, Twin::Same));
    let [slot] = &peek.slots[..] else {
        panic!("one slot");
    };
    assert_eq!((slot.id, slot.cost), (1, Some(QUICK)));
    let bytes = read(dir.path(), Copy::A);
    assert!(!bytes.windows(8).any(|w| w == b"accounts"));
}

#[test]
fn one_newline_at_the_end_is_no_part_of_a_passphrase() {
    let (dir, _) = volume(SlotKind::Passphrase, b"correct horse battery\n");
    open(dir.path(), PASSPHRASE, Access::ReadWrite).expect("unlocked");
    let two = open(dir.path(), b"correct horse battery\n\n", Access::ReadWrite);
    assert!(matches!(two, Err(KeysError::WrongSecret)));
}

#[test]
fn any_other_secret_is_refused() {
    let (dir, _) = volume(SlotKind::Passphrase, PASSPHRASE);
    for wrong in [&b"correct horse batterz"[..], b"c", &[0xff; 40]] {
        let e = open(dir.path(), wrong, Access::ReadOnly).err();
        assert!(matches!(e, Some(KeysError::WrongSecret)), "{e:?}");
    }
    let e = open(dir.path(), b"\n", Access::ReadOnly).err();
    assert!(matches!(e, Some(KeysError::WeakSecret(WeakSecret::Empty))));
}

#[test]
fn every_slot_opens_with_its_own_secret_and_role() {
    let (dir, _) = volume(SlotKind::Passphrase, PASSPHRASE);
    let mut header = header_of(dir.path());
    change(&mut header, PASSPHRASE, |h, admin| {
        let key = slot_for(h, admin, Role::Ro, KEY, None);
        h.slots.push(key);
        let other = slot_for(h, admin, Role::Rw, b"another passphrase", Some(QUICK));
        h.slots.push(other);
    });
    put_both(dir.path(), &file_bytes(&header));
    let admin = open(dir.path(), PASSPHRASE, Access::ReadWrite).expect("the first");
    let ro = open(dir.path(), KEY, Access::ReadOnly).expect("the second");
    let rw = open(dir.path(), b"another passphrase", Access::ReadWrite).expect("the third");
    assert_eq!((ro.slot.id, ro.slot.role), (2, Role::Ro));
    assert_eq!((rw.slot.id, rw.slot.role), (3, Role::Rw));
    assert!(!ro.keyset.can_write());
    assert!(rw.keyset.can_write());
    assert_eq!(admin.keyset.fingerprint(), ro.keyset.fingerprint());
    let e = open(dir.path(), KEY, Access::ReadWrite).err();
    assert!(matches!(e, Some(KeysError::ReadOnlySlot { slot: 2 })));
}

/// Returns the error of unlocking a header that both copies hold.
fn error_of(dir: &Path, bytes: &[u8], secret: &[u8]) -> KeysError {
    put_both(dir, bytes);
    match open(dir, secret, Access::ReadWrite) {
        Ok(_) => panic!("a forged header was accepted"),
        Err(e) => e,
    }
}

/// Puts the right checksum at the end again.
fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let body = bytes.len() - CHECKSUM_BYTES;
    let checksum = crate::crypto::header_checksum(&bytes[..body]);
    bytes[body..].copy_from_slice(&checksum);
    bytes
}

#[test]
fn no_byte_of_a_header_can_be_changed() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let good = read(dir.path(), Copy::A);
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let e = error_of(dir.path(), &bad, KEY);
        assert!(matches!(e, KeysError::HeaderDamaged { .. }), "{at}: {e:?}");
        if at < good.len() - CHECKSUM_BYTES {
            error_of(dir.path(), &with_checksum(bad), KEY);
        }
    }
    put_both(dir.path(), &good);
    open(dir.path(), KEY, Access::ReadWrite).expect("the true header");
}

#[test]
fn a_slot_that_fits_makes_other_changes_tampering() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let header = header_of(dir.path());
    let admin = admin_of(&header, KEY);
    let mut forged = Vec::new();
    let mut forge = |with: &dyn Fn(&mut Header)| {
        let mut h = header.clone();
        with(&mut h);
        forged.push(h);
    };
    forge(&|h| h.slots[0].tag[0] ^= 1);
    forge(&|h| h.slots[0].wrapped[0] ^= 1);
    forge(&|h| h.signature[0] ^= 1);
    forge(&|h| h.created += 1);
    forge(&|h| h.keyring.ciphertext[0] ^= 1);
    // Signed by someone else, who knows only the public part.
    let foreign = TierKey::random_admin(header.volume, &OsRng).expect("a key");
    forge(&|h| {
        h.admin_public = foreign.admin_public().expect("a key");
        h.signature = foreign.sign_header(&h.signed_bytes()).expect("signed");
    });
    // Signed by the right one around a keyring that is not his.
    forge(&|h| {
        h.keyring.tag[0] ^= 1;
        h.signature = admin.sign_header(&h.signed_bytes()).expect("signed");
    });
    let parts = [
        "wrapped key",
        "wrapped key",
        "signature",
        "signature",
        "signature",
        "public key",
        "keyring",
    ];
    for (h, part) in forged.iter().zip(parts) {
        let e = error_of(dir.path(), &file_bytes(h), KEY);
        assert!(
            matches!(e, KeysError::Tampered { what } if what == part),
            "{e:?}"
        );
        assert_eq!(e.kind(), ErrorKind::Integrity);
    }
    assert_eq!(forged.len(), parts.len());
}

#[test]
fn a_slot_fits_only_as_it_was_made() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let mut header = header_of(dir.path());
    change(&mut header, KEY, |h, admin| {
        let ro = slot_for(h, admin, Role::Ro, &[1; 32], None);
        h.slots.push(ro);
    });
    let mut raised = header.clone();
    raised.slots[1].role = Role::Admin;
    let mut renamed = header.clone();
    renamed.slots[1].label = "first".into();
    let mut foreign = header.clone();
    foreign.volume = VolumeId([8; 16]);
    for h in [raised, renamed, foreign] {
        let e = error_of(dir.path(), &file_bytes(&h), &[1; 32]);
        assert!(matches!(e, KeysError::WrongSecret), "{e:?}");
    }
    // The commitment covers the secret, not what is wrapped: that is sealed.
    let mut swapped = header.clone();
    swapped.slots[1].wrapped = header.slots[0].wrapped;
    let e = error_of(dir.path(), &file_bytes(&swapped), &[1; 32]);
    assert!(matches!(e, KeysError::Tampered { .. }), "{e:?}");
}

#[test]
fn a_header_of_another_version_is_named() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let good = read(dir.path(), Copy::A);
    let changed = |at: usize, value: u8| {
        let mut bytes = good.clone();
        bytes[at] = value;
        with_checksum(bytes)
    };
    for (at, text) in [
        (8, "format 9 is unknown, this version knows format 1"),
        (10, "cipher suite 9 is unknown, this version knows suite 1"),
        (12, "the feature bits 0x8 are unknown"),
    ] {
        let e = error_of(dir.path(), &changed(at, 9), KEY);
        assert_eq!(e.kind(), ErrorKind::NotAVolume);
        assert!(e.to_string().contains(text), "{e}");
        assert!(e.to_string().starts_with("C-SUITE: "), "{e}");
    }
    // One copy is enough: what the other version did to the store is not known here.
    put(dir.path(), Copy::A, &good);
    put(dir.path(), Copy::B, &changed(8, 2));
    let e = peek(dir.path()).err();
    assert!(matches!(e, Some(KeysError::Unsupported(_))), "{e:?}");
}

#[test]
fn a_header_cannot_ask_for_any_amount_of_work() {
    let (dir, _) = volume(SlotKind::Passphrase, PASSPHRASE);
    let header = header_of(dir.path());
    for cost in [
        Argon2Cost::new(1 << 31, 1, 1),
        Argon2Cost::new(8, 33, 1),
        Argon2Cost::new(1024, 1, 17),
    ] {
        let mut h = header.clone();
        h.slots[0].cost = Some(cost);
        let e = error_of(dir.path(), &file_bytes(&h), PASSPHRASE);
        assert!(matches!(e, KeysError::KdfCap { slot: 1, .. }), "{e:?}");
        assert_eq!(e.kind(), ErrorKind::Policy);
    }
    let mut many = header.clone();
    let (slot, id) = (header.slots[0].clone(), 2..);
    many.slots
        .extend(id.take(SLOTS_MAX).map(|id| Slot { id, ..slot.clone() }));
    let e = error_of(dir.path(), &file_bytes(&many), PASSPHRASE);
    assert!(matches!(e, KeysError::HeaderDamaged { .. }), "{e:?}");
}

#[test]
fn a_slot_that_asks_for_too_much_here_leaves_the_others() {
    let (dir, _) = volume(SlotKind::Passphrase, PASSPHRASE);
    let mut header = header_of(dir.path());
    change(&mut header, PASSPHRASE, |h, admin| {
        let key = slot_for(h, admin, Role::Rw, KEY, None);
        h.slots.push(key);
    });
    let half = 2 * 1024 * u64::from(QUICK.m_kib);
    let slot_of = |bytes: &[u8], memory_bytes| {
        unlock::open(&header, &secret(bytes), counting(), memory_bytes).map(|o| o.slot.id)
    };
    assert!(matches!(slot_of(PASSPHRASE, half), Ok(1)));
    assert!(matches!(slot_of(KEY, 0), Ok(2)));
    let allowed_kib = u64::from(QUICK.m_kib) - 1;
    let limit = KdfLimit::Memory { allowed_kib };
    for wrong in [PASSPHRASE, b"correct horse batterz"] {
        let e = slot_of(wrong, half - 1);
        assert!(
            matches!(e, Err(KeysError::KdfCap { slot: 1, limit: l, .. }) if l == limit),
            "{e:?}"
        );
    }
}

#[test]
fn the_largest_header_fits() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let mut header = header_of(dir.path());
    change(&mut header, KEY, |h, admin| {
        while h.slots.len() < SLOTS_MAX {
            let mut slot = slot_for(h, admin, Role::Rw, &[1; 32], None);
            slot.label = "x".repeat(LABEL_MAX_BYTES);
            slot.hint = "y".repeat(1024);
            h.slots.push(slot);
        }
    });
    put_both(dir.path(), &file_bytes(&header));
    let unlocked = open(dir.path(), KEY, Access::ReadWrite).expect("unlocked");
    assert_eq!(unlocked.header_seq, 2);
}

#[test]
fn damage_of_both_copies_names_each() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    put(dir.path(), Copy::A, b"COFFERH1");
    std::fs::remove_file(Copy::B.path(dir.path())).expect("removed");
    let e = peek(dir.path()).expect_err("damaged");
    let text = e.to_string();
    assert!(
        text.contains("header.a: wrong checksum, header.b: missing"),
        "{text}"
    );
    assert!(text.starts_with("C-HDRBAD: "), "{text}");
    std::fs::remove_file(Copy::A.path(dir.path())).expect("removed");
    let e = peek(dir.path()).expect_err("no volume");
    assert_eq!(e.kind(), ErrorKind::NotAVolume);
    let e = peek(&dir.path().join("absent")).expect_err("no volume");
    assert_eq!(e.kind(), ErrorKind::NotAVolume);
}

#[test]
fn errors_say_the_code_and_no_secret() {
    let (dir, _) = volume(SlotKind::Passphrase, PASSPHRASE);
    let e = open(dir.path(), b"a wrong secret", Access::ReadOnly).err();
    let e = e.expect("the secret is wrong");
    assert!(e.to_string().starts_with("C-NOSLOT: "), "{e}");
    assert_eq!(e.kind(), ErrorKind::WrongSecret);
    assert!(!format!("{e:?} {e}").contains("a wrong secret"));
}
