//! Payloads that fuzzing showed to decode though no writer makes them.
//!
//! Symptom: what decoded encoded to other bytes, broke an invariant that its type states, or, for a
//! key, panicked in its successor. An authentic record is what a holder of the keys wrote, so only a
//! defect of the writer could have shown them; decoders refuse them now (C-DECODE).

use crate::base::{Ino, InodeGen, PageIx};

use super::dirent::{Dirent, decode_dirents, encode_dirents};
use super::inode::Inode;
use super::key::{KEY_MAX_BYTES, Key};
use super::page::PageRecord;
use super::root::Root;
use super::xattr::{VALUE_MAX_BYTES, XattrRecord};

#[test]
fn names_that_no_directory_has_are_refused() {
    let with = |name: &[u8]| {
        decode_dirents(&encode_dirents(&[Dirent {
            ino: Ino(2),
            generation: InodeGen(1),
            kind: 8,
            name: name.to_vec(),
        }]))
    };
    for name in [b"".as_slice(), b".", b"..", b"a/b", b"a\0", b"/"] {
        assert!(with(name).is_err(), "{name:?}");
    }
    for name in [b"a".as_slice(), b"...", b"\xff\n", &[b'x'; 255]] {
        assert!(with(name).is_ok(), "{name:?}");
    }
}

#[test]
fn attributes_without_a_name_or_too_long_are_refused() {
    let with = |name: &[u8], value: &[u8]| XattrRecord::decode(&XattrRecord::encode(name, value));
    assert!(with(b"", b"value").is_err());
    assert!(with(b"user.\0", b"value").is_err());
    assert!(with(b"user.a", &vec![1; VALUE_MAX_BYTES + 1]).is_err());
    assert!(with(b"user.a", &vec![1; VALUE_MAX_BYTES]).is_ok());
}

/// Bytes of an inode without target and xattrs.
const FIXED_BYTES: usize = 106;

#[test]
fn attributes_of_an_inode_are_in_order() {
    let with = |names: &[&[u8]]| {
        let mut payload = vec![0; FIXED_BYTES];
        for name in names {
            payload.extend_from_slice(&u16::try_from(name.len()).unwrap().to_le_bytes());
            payload.extend_from_slice(name);
            payload.extend_from_slice(&[0, 0]);
        }
        Inode::decode(&payload)
    };
    assert!(with(&[]).is_ok());
    assert!(with(&[b"user.a", b"user.b"]).is_ok());
    assert!(with(&[b"user.b", b"user.a"]).is_err());
    assert!(with(&[b"user.a", b"user.a"]).is_err());
    assert!(with(&[b""]).is_err());
}

#[test]
fn a_page_does_not_end_in_zeros() {
    let mut payload = PageRecord::encode(Ino(2), PageIx(1), &[7]);
    assert!(PageRecord::decode(&payload).is_ok());
    payload.push(0);
    assert!(PageRecord::decode(&payload).is_err());
}

#[test]
fn the_time_of_a_root_is_a_time() {
    let mut root = Root::new([0; 16]);
    root.time.nanos = 999_999_999;
    assert_eq!(Root::decode(&root.encode()).as_ref(), Ok(&root));
    root.time.nanos += 1;
    assert!(Root::decode(&root.encode()).is_err());
}

#[test]
fn every_key_of_a_record_has_a_successor() {
    for len in 1..=KEY_MAX_BYTES {
        let mut bytes = vec![0xff; len];
        bytes[0] = b'X';
        if let Some(key) = Key::from_bytes(&bytes) {
            assert!(key.successor() > key);
        }
    }
}
