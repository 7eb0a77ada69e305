//! Which secrets may make a slot.

use super::*;

fn refusal(kind: SlotKind, bytes: &[u8]) -> Option<WeakSecret> {
    match create(new_header(kind), &secret(bytes), counting()) {
        Ok(_) => None,
        Err(KeysError::WeakSecret(weak)) => Some(weak),
        Err(e) => panic!("{e}"),
    }
}

#[test]
fn a_new_passphrase_is_text_of_twelve_characters() {
    let passphrase = |bytes: &[u8]| refusal(SlotKind::Passphrase, bytes);
    assert_eq!(passphrase(b""), Some(WeakSecret::Empty));
    assert_eq!(passphrase(b"\n"), Some(WeakSecret::Empty));
    let chars = 11;
    assert_eq!(
        passphrase(b"eleven char\n"),
        Some(WeakSecret::Short { chars })
    );
    // Two bytes each: characters count.
    assert_eq!(
        passphrase("\u{e9}".repeat(11).as_bytes()),
        Some(WeakSecret::Short { chars })
    );
    assert_eq!(passphrase("\u{e9}".repeat(12).as_bytes()), None);
    assert_eq!(passphrase(b"twelve chars"), None);
    assert_eq!(passphrase(&[0xff; 20]), Some(WeakSecret::NotText));
    assert_eq!(passphrase(b"two lines of\ntext"), Some(WeakSecret::NotText));
}

#[test]
fn a_new_key_has_thirty_two_bytes() {
    let key = |bytes: &[u8]| refusal(SlotKind::KeyFile, bytes);
    assert_eq!(key(b""), Some(WeakSecret::Empty));
    assert_eq!(key(&[1; 31]), Some(WeakSecret::ShortKey { bytes: 31 }));
    assert_eq!(key(&[1; 32]), None);
    // A random key may end like a line.
    assert_eq!(key(&[b'\n'; 32]), None);
}

#[test]
fn a_long_label_is_refused() {
    let label = "x".repeat(129);
    let new = NewHeader {
        label: &label,
        ..new_header(SlotKind::KeyFile)
    };
    let e = create(new, &secret(KEY), counting()).err();
    assert_eq!(e.map(|e| e.kind()), Some(ErrorKind::Policy));
}

#[test]
fn a_new_slot_cannot_ask_for_more_than_any_header_may() {
    let cap = Argon2Cost::CAP;
    for cost in [
        Argon2Cost::new(cap.m_kib + 1, 1, 1),
        Argon2Cost::new(7, 1, 1),
        Argon2Cost::new(8, 0, 1),
    ] {
        let new = NewHeader {
            cost,
            ..new_header(SlotKind::Passphrase)
        };
        let e = create(new, &secret(PASSPHRASE), counting()).err();
        let e = e.expect("the cost is out of range");
        assert_eq!(e.kind(), ErrorKind::Policy, "{e}");
        assert!(e.to_string().starts_with("C-KDFCAP: "), "{e}");
    }
}
