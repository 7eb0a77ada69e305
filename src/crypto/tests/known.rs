//! Published answers.

use crate::crypto::secret::Secret;
use crate::crypto::xaes::XaesKey;

pub(super) fn hex(s: &str) -> Vec<u8> {
    assert!(s.len().is_multiple_of(2), "{s}");
    (0..s.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap())
        .collect()
}

fn xaes(key: [u8; 32]) -> XaesKey {
    XaesKey::new(&Secret::build(|s| *s = key).unwrap()).unwrap()
}

fn check_xaes(key: u8, aad: &[u8], expected: &str) {
    let key = xaes([key; 32]);
    let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
    let mut bulk = *b"XAES-256-GCM";
    let mut portable = bulk;
    let tag = key.seal(nonce, aad, &mut bulk);
    let portable_tag = key.seal_portable(nonce, aad, &mut portable);
    let sealed = [&bulk[..], &tag].concat();
    assert_eq!(sealed, hex(expected));
    assert_eq!(sealed, [&portable[..], &portable_tag].concat());
    let mut body = sealed.clone();
    assert_eq!(key.open(nonce, aad, &mut body).unwrap(), b"XAES-256-GCM");
    key.open_portable(nonce, aad, &mut bulk, &tag).unwrap();
    assert_eq!(&bulk, b"XAES-256-GCM");
}

/// The two vectors of the specification: the top bit of AES(0) clear, and set.
#[test]
fn xaes_vectors() {
    check_xaes(
        1,
        b"",
        "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
    );
    check_xaes(
        3,
        b"c2sp.org/XAES-256-GCM",
        "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
    );
}
