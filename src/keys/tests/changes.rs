//! Adding, changing and removing slots, and what a disk that fails leaves of it.

use super::*;
use crate::base::OsRng;
use crate::format::header::{HINT_MAX_BYTES, LABEL_MAX_BYTES, SIGN_ALL, SLOTS_MAX};
use crate::keys::change::{Change, change};
use crate::keys::create::NewSlot;

const BOB: &[u8] = b"a passphrase for bob";

/// Steps of writing one copy.
const STEPS: u32 = 6;

fn new_slot(kind: SlotKind, role: Role) -> NewSlot<'static> {
    NewSlot {
        kind,
        role,
        label: "bob",
        hint: "in his head",
        cost: QUICK,
        created: 1_700_000_001,
    }
}

fn add(dir: &Path, own: &[u8], new: NewSlot<'_>, bytes: &[u8]) -> Result<SlotInfo, KeysError> {
    let own = secret(own);
    change(dir, &own, &Change::Add(new, &secret(bytes)), &OsRng)
}

fn remove(dir: &Path, own: &[u8], slot: u16) -> Result<SlotInfo, KeysError> {
    change(dir, &secret(own), &Change::Remove { slot }, &OsRng)
}

fn replace(dir: &Path, own: &[u8], slot: Option<u16>, new: &[u8]) -> Result<SlotInfo, KeysError> {
    let new = secret(new);
    let replace = Change::Replace {
        slot,
        kind: SlotKind::Passphrase,
        hint: "",
        cost: QUICK,
        created: 1_700_000_002,
        secret: &new,
    };
    change(dir, &secret(own), &replace, &OsRng)
}

fn opens(dir: &Path, bytes: &[u8]) -> Option<Role> {
    match open(dir, bytes, Access::ReadOnly) {
        Ok(unlocked) => Some(unlocked.slot.role),
        Err(KeysError::WrongSecret) => None,
        Err(e) => panic!("{e:?}"),
    }
}

#[test]
fn a_slot_is_added_changed_and_removed() {
    let (dir, _) = volume(SlotKind::Passphrase, PASSPHRASE);
    let dir = dir.path();
    let fingerprint = |bytes| open(dir, bytes, Access::ReadOnly).expect("it opens").keyset;
    let before = fingerprint(PASSPHRASE).fingerprint();
    let bob = add(
        dir,
        PASSPHRASE,
        new_slot(SlotKind::Passphrase, Role::Rw),
        BOB,
    )
    .expect("added");
    assert_eq!((bob.id, bob.role), (2, Role::Rw));
    assert_eq!(
        (bob.label.as_str(), bob.hint.as_str()),
        ("bob", "in his head")
    );
    assert_eq!(opens(dir, BOB), Some(Role::Rw));
    assert_eq!(fingerprint(BOB).fingerprint(), before);
    let seen = peek(dir).expect("a header");
    assert!(matches!(seen.twin, Twin::Same));
    assert_eq!((seen.header_seq, seen.slots.len()), (2, 2));

    let changed = replace(dir, PASSPHRASE, Some(2), b"another one for bob").expect("changed");
    assert_eq!((changed.id, changed.role), (2, Role::Rw));
    assert_eq!(changed.label, "bob");
    assert_eq!(opens(dir, BOB), None);
    assert_eq!(opens(dir, b"another one for bob"), Some(Role::Rw));

    let own = replace(dir, PASSPHRASE, None, b"my own new passphrase").expect("changed");
    assert_eq!((own.id, own.role), (1, Role::Admin));
    assert_eq!(opens(dir, PASSPHRASE), None);

    let gone = header_of(dir).slots[1].clone();
    remove(dir, b"my own new passphrase", 2).expect("removed");
    assert_eq!(opens(dir, b"another one for bob"), None);
    assert_eq!(opens(dir, b"my own new passphrase"), Some(Role::Admin));
    for copy in Copy::BOTH {
        let bytes = read(dir, copy);
        for part in [&gone.salt[..], &gone.wrapped[..], &gone.commit[..], b"bob"] {
            assert!(!bytes.windows(part.len()).any(|w| w == part));
        }
    }
    assert_eq!(peek(dir).expect("a header").header_seq, 5);
}

#[test]
fn a_recovery_code_opens_as_it_is_typed() {
    let (dir, _) = volume(SlotKind::Passphrase, PASSPHRASE);
    let dir = dir.path();
    let code = RecoveryCode::random(&*counting()).expect("a code");
    let mut text = Vec::new();
    let shown = code.text().expect("text");
    shown.write_to(&mut text).expect("it is memory");
    let new = new_slot(SlotKind::Recovery, Role::Admin);
    let slot = add(dir, PASSPHRASE, new, &text).expect("added");
    assert_eq!((slot.kind, slot.cost), (SlotKind::Recovery, None));
    let text = String::from_utf8(text).expect("ASCII");
    assert_eq!(text.len(), 44, "{text}");
    for typed in [
        text.clone(),
        format!("{}\n", text.to_lowercase()),
        text.replace('-', " "),
        text.replace('-', "").replace('0', "o").replace('1', "l"),
    ] {
        assert_eq!(opens(dir, typed.as_bytes()), Some(Role::Admin), "{typed}");
    }
    for at in (0..text.len()).filter(|at| text.as_bytes()[*at] != b'-') {
        let mut typed = text.clone().into_bytes();
        typed[at] = if typed[at] == b'X' { b'Y' } else { b'X' };
        let e = open(dir, &typed, Access::ReadOnly).err();
        assert!(matches!(e, Some(KeysError::MistypedCode)), "{at}: {e:?}");
        assert_eq!(e.expect("refused").kind(), ErrorKind::WrongSecret);
    }
    // The bytes that a code would open with are no key of their own.
    let short = add(
        dir,
        PASSPHRASE,
        new_slot(SlotKind::Recovery, Role::Rw),
        b"short",
    )
    .err();
    assert!(matches!(short, Some(KeysError::MistypedCode)), "{short:?}");
}

#[test]
fn only_an_administrator_changes_slots() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let dir = dir.path();
    for (role, bytes) in [
        (Role::Rw, BOB),
        (Role::Ro, b"a passphrase for eve".as_slice()),
    ] {
        add(dir, KEY, new_slot(SlotKind::Passphrase, role), bytes).expect("added");
        let before = read(dir, Copy::A);
        let refused = [
            add(dir, bytes, new_slot(SlotKind::KeyFile, Role::Ro), &[9; 32]).err(),
            remove(dir, bytes, 1).err(),
            replace(dir, bytes, None, b"one more passphrase").err(),
        ];
        for e in refused {
            assert!(
                matches!(e, Some(KeysError::NotAdmin { role: r, .. }) if r == role),
                "{e:?}"
            );
        }
        let wrong = remove(dir, b"wrong", 1).err();
        assert!(matches!(wrong, Some(KeysError::WrongSecret)), "{wrong:?}");
        assert_eq!(read(dir, Copy::A), before);
    }
}

#[test]
fn what_breaks_a_rule_changes_nothing() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let dir = dir.path();
    add(dir, KEY, new_slot(SlotKind::KeyFile, Role::Rw), &[1; 32]).expect("added");
    let before = read(dir, Copy::A);
    let e = remove(dir, KEY, 1).err();
    assert!(matches!(e, Some(KeysError::LastAdmin { slot: 1 })), "{e:?}");
    let e = remove(dir, KEY, 7).err();
    assert!(
        matches!(e, Some(KeysError::NoSuchSlot { slot: 7 })),
        "{e:?}"
    );
    assert_eq!(e.expect("refused").kind(), ErrorKind::Usage);
    for (known, slot) in [(KEY, 1), (&[1; 32][..], 2)] {
        let e = add(dir, KEY, new_slot(SlotKind::KeyFile, Role::Rw), known).err();
        assert!(
            matches!(e, Some(KeysError::KnownSecret { slot: s }) if s == slot),
            "{e:?}"
        );
    }
    for (kind, weak) in [
        (SlotKind::Passphrase, &b"short"[..]),
        (SlotKind::KeyFile, &[1; 31]),
    ] {
        let e = add(dir, KEY, new_slot(kind, Role::Rw), weak).err();
        assert!(matches!(e, Some(KeysError::WeakSecret(_))), "{e:?}");
    }
    let hungry = NewSlot {
        cost: Argon2Cost::new(Argon2Cost::CAP.m_kib + 1, 1, 1),
        ..new_slot(SlotKind::Passphrase, Role::Rw)
    };
    let e = add(dir, KEY, hungry, BOB).err();
    assert!(
        matches!(e, Some(KeysError::KdfCap { slot: 3, .. })),
        "{e:?}"
    );
    let long = "x".repeat(HINT_MAX_BYTES + 1);
    for (label, hint) in [
        (&long[..=LABEL_MAX_BYTES], ""),
        ("", &long[..]),
        ("\u{7}", ""),
    ] {
        let new = NewSlot {
            label,
            hint,
            ..new_slot(SlotKind::KeyFile, Role::Rw)
        };
        let e = add(dir, KEY, new, &[2; 32]).err();
        assert!(matches!(e, Some(KeysError::Text { .. })), "{e:?}");
        assert_eq!(e.expect("refused").kind(), ErrorKind::Policy);
    }
    assert_eq!(read(dir, Copy::A), before);
    assert_eq!(read(dir, Copy::B), before);
}

#[test]
fn a_volume_has_32_slots_with_the_longest_texts() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let dir = dir.path();
    let (label, hint) = ("l".repeat(LABEL_MAX_BYTES), "h".repeat(HINT_MAX_BYTES));
    let new = NewSlot {
        label: &label,
        hint: &hint,
        ..new_slot(SlotKind::KeyFile, Role::Rw)
    };
    for n in 2..=u8::try_from(SLOTS_MAX).expect("32") {
        add(dir, KEY, new, &[n; 32]).expect("added");
    }
    let e = add(dir, KEY, new, &[99; 32]).err();
    assert!(matches!(e, Some(KeysError::SlotsFull)), "{e:?}");
    assert_eq!(opens(dir, &[32; 32]), Some(Role::Rw));
    for slot in (2..=32).rev() {
        remove(dir, KEY, slot).expect("removed");
    }
    assert_eq!(peek(dir).expect("a header").slots.len(), 1);
}

#[test]
fn a_reader_makes_every_root_signed_for_ever() {
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    let dir = dir.path();
    let sign_all = || open(dir, KEY, Access::ReadOnly).expect("it opens").sign_all;
    add(dir, KEY, new_slot(SlotKind::KeyFile, Role::Rw), &[1; 32]).expect("added");
    assert!(!sign_all());
    add(dir, KEY, new_slot(SlotKind::KeyFile, Role::Ro), &[2; 32]).expect("added");
    assert!(sign_all());
    remove(dir, KEY, 3).expect("removed");
    assert!(sign_all());
    assert_eq!(header_of(dir).features, SIGN_ALL);
}

#[test]
fn a_disk_that_fails_at_any_step_leaves_the_old_or_the_new_header() {
    for n in 0..2 * STEPS {
        let (dir, _) = volume(SlotKind::KeyFile, KEY);
        let dir = dir.path();
        add(dir, KEY, new_slot(SlotKind::KeyFile, Role::Rw), &[1; 32]).expect("added");
        fail_at(Some(n));
        let e = remove(dir, KEY, 2).expect_err("the disk fails");
        fail_at(None);
        assert_eq!(e.kind(), ErrorKind::NoSpace, "{e:?}");
        let done = matches!(e, KeysError::SecondCopy { .. });
        assert_eq!(done, n >= STEPS, "{n}: {e:?}");
        // A copy that was written and not cut or synced is whole as long as the machine runs.
        let bob = opens(dir, &[1; 32]);
        assert!(
            if done {
                bob.is_none()
            } else {
                n > 1 || bob.is_some()
            },
            "{n}"
        );
        // The next opening for writing makes the copies the same, and the change can be made again.
        open(dir, KEY, Access::ReadWrite).expect("it opens");
        assert!(
            matches!(peek(dir).expect("a header").twin, Twin::Same),
            "{n}"
        );
        match remove(dir, KEY, 2) {
            Ok(_) => assert!(!done),
            Err(KeysError::NoSuchSlot { .. }) => assert!(bob.is_none()),
            Err(e) => panic!("{n}: {e:?}"),
        }
        assert_eq!(opens(dir, &[1; 32]), None, "{n}");
        assert_eq!(opens(dir, KEY), Some(Role::Admin), "{n}");
    }
    // No step was forgotten.
    let (dir, _) = volume(SlotKind::KeyFile, KEY);
    fail_at(Some(2 * STEPS));
    add(
        dir.path(),
        KEY,
        new_slot(SlotKind::KeyFile, Role::Rw),
        &[1; 32],
    )
    .expect("added");
    fail_at(None);
}
