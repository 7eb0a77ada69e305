//! How secrets are read, compared and shown.

use std::io::{self, Read, Write};

use crate::crypto::{CryptoError, Secret, SecretBytes};

fn secret(bytes: &[u8]) -> SecretBytes {
    SecretBytes::copy_of(bytes).unwrap()
}

/// Gives one byte at a time and is interrupted before each.
struct Slow<'a>(&'a [u8], bool);

impl Read for Slow<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = out.len().min(1);
        self.0.read(&mut out[..len])
    }
}

#[test]
fn a_secret_is_read_to_its_end() {
    let read = SecretBytes::read_from(&mut Slow(b"in small pieces", false)).unwrap();
    assert_eq!(read, secret(b"in small pieces"));
    assert_eq!(read.len(), 15);
    let (mut from, mut to) = io::pipe().unwrap();
    to.write_all(b"from a ").unwrap();
    to.write_all(b"descriptor\n").unwrap();
    drop(to);
    let read = SecretBytes::read_from(&mut from).unwrap();
    assert_eq!(read.as_passphrase(), b"from a descriptor");
    assert!(SecretBytes::read_from(&mut io::empty()).unwrap().is_empty());
}

#[test]
fn an_endless_secret_is_refused() {
    for len in [1023, 1024, 1025, 2048, 40_000, SecretBytes::MAX_BYTES] {
        let bytes: Vec<u8> = (b'a'..=b'z').cycle().take(len).collect();
        assert_eq!(secret(&bytes).as_passphrase(), bytes);
        assert_eq!(secret(&bytes).len(), len);
    }
    let long = vec![1; SecretBytes::MAX_BYTES + 1];
    let e = SecretBytes::copy_of(&long).unwrap_err();
    assert!(matches!(e, CryptoError::SecretTooLong));
    let e = SecretBytes::read_from(&mut io::repeat(1)).unwrap_err();
    assert!(matches!(e, CryptoError::SecretTooLong));
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let e = SecretBytes::read_from(&mut Broken).unwrap_err();
    assert!(matches!(e, CryptoError::SecretUnreadable(_)));
}

#[test]
fn one_newline_is_cut_and_no_more() {
    for (given, passphrase) in [
        ("words", "words"),
        ("words\n", "words"),
        ("words\n\n", "words\n"),
        ("\nwords", "\nwords"),
        ("words \t", "words \t"),
        ("words\r\n", "words\r"),
        ("\n", ""),
        ("", ""),
    ] {
        assert_eq!(
            secret(given.as_bytes()).as_passphrase(),
            passphrase.as_bytes()
        );
    }
    assert_eq!(secret(b"words"), secret(b"words\n"));
    assert_ne!(secret(b"words"), secret(b"word"));
    assert_ne!(secret(b"words"), secret(b"words "));
}

#[test]
fn a_key_keeps_its_last_byte_when_it_needs_it() {
    let mut key = [7; 33];
    key[32] = b'\n';
    assert_eq!(secret(&key).as_key(), Some(&key[..32]));
    key[31] = b'\n';
    assert_eq!(secret(&key[..32]).as_key(), Some(&key[..32]));
    assert_eq!(secret(&key[..31]).as_key(), None);
    assert!(!secret(&key[..31]).suits_key_slots());
    assert!(secret(&key[..32]).suits_key_slots());
}

#[test]
fn what_a_person_can_type_is_text() {
    assert!(secret("gr\u{fc}n\n".as_bytes()).is_text());
    assert_eq!(secret("gr\u{fc}n\n".as_bytes()).passphrase_chars(), 4);
    assert!(!secret(b"two\nlines").is_text());
    assert!(!secret(b"nul\0").is_text());
    assert!(!secret(&[0xff, 0xfe]).is_text());
    assert_eq!(secret(&[0xff, 0xfe]).passphrase_chars(), 2);
}

#[test]
fn secrets_are_not_shown() {
    assert_eq!(format!("{:?}", secret(b"hidden")), "<secret>");
    let key = Secret::<32>::build(|k| *k = [b'h'; 32]).unwrap();
    assert_eq!(format!("{key:?}"), "<secret>");
    let other = Secret::<32>::build(|k| *k = [b'i'; 32]).unwrap();
    assert_ne!(key, other);
}
