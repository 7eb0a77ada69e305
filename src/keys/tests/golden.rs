//! The header of format 1 as it was written once: it must open for ever, and be written the same.

use super::*;
use crate::crypto::PrfDomain;
use crate::format::record::Kind;

/// Two copies of a header: an administrator's passphrase in slot 1, a reader's key in slot 2.
fn fixture() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/formats/v1")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn the_first_format_is_written_the_same() {
    let dir = tempfile::tempdir().expect("a directory");
    let new = NewHeader {
        cost: Argon2Cost::new(64, 2, 2),
        ..new_header(SlotKind::Passphrase)
    };
    let created = create(new, &secret(PASSPHRASE), counting()).expect("created");
    created.write(dir.path()).expect("written");
    let mut header = header_of(dir.path());
    change(&mut header, PASSPHRASE, |h, admin| {
        let reader = slot_for(h, admin, Role::Ro, KEY, None);
        h.slots.push(reader);
    });
    for copy in Copy::BOTH {
        assert_eq!(file_bytes(&header), read(&fixture(), copy));
    }
}

#[test]
fn the_first_format_opens() {
    let seen = peek(&fixture()).expect("a header");
    assert!(matches!(seen.twin, Twin::Same));
    assert_eq!((seen.format, seen.header_seq), (1, 2));
    let labels: Vec<&str> = seen.slots.iter().map(|s| s.label.as_str()).collect();
    assert_eq!(labels, ["", "second"]);
    let admin = open(&fixture(), PASSPHRASE, Access::ReadOnly).expect("slot 1");
    let reader = open(&fixture(), KEY, Access::ReadOnly).expect("slot 2");
    assert_eq!((admin.slot.role, reader.slot.role), (Role::Admin, Role::Ro));
    for unlocked in [admin, reader] {
        let keys = &unlocked.keyset;
        assert_eq!(unlocked.label, "accounts");
        assert_eq!(hex(&keys.fingerprint()), FINGERPRINT);
        assert_eq!(keys.content_id(b"chunk").to_string(), CONTENT_ID);
        let hash = keys.prf16(PrfDomain::Name, &[b"name"]);
        assert_eq!(hex(&hash), NAME_HASH);
        assert_eq!(hex(&keys.digest_term(b"key", b"value")), DIGEST_TERM);
        let record: Vec<u8> = (0..RECORD.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&RECORD[i..i + 2], 16).expect("hex"))
            .collect();
        let plain = keys.open(Kind::Inode, b"Iname", &record);
        assert_eq!(plain.expect("authentic"), b"plain");
    }
}

const FINGERPRINT: &str = "ca8d910f929496c1d2bb27078b7b8125";
const CONTENT_ID: &str = "ed36fbc1be758a710b6c30689ac1ae49634ecdeba9d2fa4dd9dd24d6a3733a99";
const NAME_HASH: &str = "87f20242fb9930ee97abc868e66a119e";
const DIGEST_TERM: &str = "26cc155cf2a342da32ab717700ad7c0722fbea7cde9eac8f9701462e81794f4d";

/// An inode record under the name `Iname`.
const RECORD: &str = "010201000000ceb6038fc36ac7c16a113a160d6b9345f0b2ebf9cfb7089dea9d4bb4f104453dff892a9820f54934fc283ad0a6";
