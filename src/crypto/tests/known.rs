//! Published answers, and answers of other implementations; `fixtures/kat/` names the sources.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Tag};
use argon2::{Algorithm, Argon2, AssociatedData, ParamsBuilder, Version};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use hkdf::Hkdf;
use proptest::prelude::*;
use serde_json::Value;
use sha2::Sha256;

use crate::base::VolumeId;
use crate::crypto::derive;
use crate::crypto::secret::Secret;
use crate::crypto::tier::{Signing, verify};
use crate::crypto::xaes::XaesKey;
use crate::format::header::Argon2Cost;

pub(super) fn hex(s: &str) -> Vec<u8> {
    assert!(s.len().is_multiple_of(2), "{s}");
    (0..s.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap())
        .collect()
}

fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    bytes.try_into().unwrap()
}

fn key_of(bytes: &[u8]) -> Secret<32> {
    Secret::build(|s| s.copy_from_slice(bytes)).unwrap()
}

/// One published case.
struct Case(Value);

impl Case {
    fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap()
    }

    fn bytes(&self, field: &str) -> Vec<u8> {
        hex(self.text(field))
    }

    fn number(&self, field: &str) -> usize {
        self.0[field].as_u64().unwrap().try_into().unwrap()
    }

    fn is_valid(&self) -> bool {
        match self.text("result") {
            "valid" => true,
            "invalid" => false,
            other => panic!("{other}"),
        }
    }
}

/// Returns the cases of a file, which must have as many valid and invalid ones as said.
fn cases(name: &str, valid: usize, invalid: usize) -> Vec<Case> {
    let path = format!("{}/fixtures/kat/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let mut file: Value = serde_json::from_str(&text).unwrap();
    let Value::Array(cases) = file["cases"].take() else {
        panic!("no cases");
    };
    let cases: Vec<Case> = cases.into_iter().map(Case).collect();
    let all_valid = |c: &&Case| c.0["result"].is_null() || c.is_valid();
    assert_eq!(cases.iter().filter(all_valid).count(), valid);
    assert_eq!(cases.len(), valid + invalid);
    cases
}

#[test]
fn aes_gcm_vectors() {
    for c in cases("aes256_gcm", 39, 27) {
        let (key, iv, aad) = (c.bytes("key"), c.bytes("iv"), c.bytes("aad"));
        let (message, ciphertext, tag) = (c.bytes("msg"), c.bytes("ct"), c.bytes("tag"));
        let iv: [u8; 12] = array(&iv);
        let bulk = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key).unwrap());
        let nonce = || Nonce::assume_unique_for_key(iv);
        let portable = Aes256Gcm::new_from_slice(&key).unwrap();

        let mut sealed = message.clone();
        let bulk_tag = bulk.seal_in_place_separate_tag(nonce(), Aad::from(&aad), &mut sealed);
        assert_eq!(sealed, ciphertext, "{:?}", c.0);
        assert_eq!(bulk_tag.unwrap().as_ref() == tag, c.is_valid());
        let mut sealed = message.clone();
        let portable_tag =
            portable.encrypt_inout_detached(&iv.into(), &aad, InOutBuf::from(&mut sealed[..]));
        assert_eq!(sealed, ciphertext, "{:?}", c.0);
        assert_eq!(portable_tag.unwrap().as_slice() == tag, c.is_valid());

        let mut body = [&ciphertext[..], &tag].concat();
        let opened = bulk.open_in_place(nonce(), Aad::from(&aad), &mut body);
        assert_eq!(opened.is_ok_and(|m| *m == message), c.is_valid());
        let mut body = ciphertext.clone();
        let tag = Tag::from(array::<16>(&tag));
        let opened =
            portable.decrypt_inout_detached(&iv.into(), &aad, InOutBuf::from(&mut body[..]), &tag);
        assert_eq!(opened.is_ok() && body == message, c.is_valid());
    }
}

#[test]
fn hkdf_vectors() {
    for c in cases("hkdf_sha256", 79, 3) {
        let hkdf = Hkdf::<Sha256>::new(Some(&c.bytes("salt")), &c.bytes("ikm"));
        let mut okm = vec![0; c.number("size")];
        let done = hkdf.expand(&c.bytes("info"), &mut okm).is_ok();
        assert_eq!(done && okm == c.bytes("okm"), c.is_valid(), "{:?}", c.0);
    }
}

#[test]
fn hmac_vectors() {
    for c in cases("hmac_sha256", 33, 54) {
        // Ours takes keys of 32 bytes; HMAC fills shorter ones with zeros and hashes longer ones.
        let key = match c.bytes("key") {
            long if long.len() > 64 => continue,
            mut key if key.len() <= 32 => {
                key.resize(32, 0);
                key
            }
            other => panic!("{} bytes", other.len()),
        };
        let message = c.bytes("msg");
        let (a, b) = message.split_at(message.len() / 3);
        let mac = derive::mac(&key_of(&key), &[a, b]);
        assert_eq!(mac.as_slice() == c.bytes("tag"), c.is_valid(), "{:?}", c.0);
    }
}

#[test]
fn ed25519_vectors() {
    for c in cases("ed25519", 85, 63) {
        let public = array(&c.bytes("public"));
        let accepted = <[u8; 64]>::try_from(c.bytes("sig"))
            .is_ok_and(|s| verify(&public, &c.bytes("msg"), &s).is_ok());
        assert_eq!(accepted, c.is_valid(), "{:?}", c.0);
    }
}

/// RFC 8032, section 7.1: the first three tests.
#[test]
fn ed25519_signatures() {
    let tests = [
        (
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ),
        (
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ),
        (
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ),
    ];
    for (seed, public, message, signature) in tests {
        let signing = Signing::new(&key_of(&hex(seed))).unwrap();
        assert_eq!(signing.public().as_slice(), hex(public));
        assert_eq!(signing.sign(&hex(message)).as_slice(), hex(signature));
    }
}

/// Keys of small order would accept one signature for every message.
#[test]
fn ed25519_refuses_weak_keys() {
    let identity = {
        let mut y_is_one = [0; 32];
        y_is_one[0] = 1;
        y_is_one
    };
    let mut signature = [0; 64];
    signature[0] = 1;
    assert!(verify(&identity, b"anything", &signature).is_err());
}

#[test]
fn blake3_vectors() {
    let key = b"whats the Elvish word for friend";
    for c in cases("blake3_keyed", 35, 0) {
        let input: Vec<u8> = (0..=250).cycle().take(c.number("input_len")).collect();
        assert_eq!(blake3::hash(&input).as_bytes()[..], c.bytes("hash"));
        let expected = c.bytes("keyed_hash");
        assert_eq!(blake3::keyed_hash(key, &input).as_bytes()[..], expected);
        let mut pieces = blake3::Hasher::new_keyed(key);
        for piece in input.chunks(1000) {
            pieces.update(piece);
        }
        assert_eq!(pieces.finalize().as_bytes()[..], expected);
    }
}

/// RFC 9106, section 5.3.
#[test]
fn argon2id_vector() {
    let params = ParamsBuilder::new()
        .m_cost(32)
        .t_cost(3)
        .p_cost(4)
        .data(AssociatedData::new(&[4; 12]).unwrap())
        .build()
        .unwrap();
    let argon2 =
        Argon2::new_with_secret(&[3; 8], Algorithm::Argon2id, Version::V0x13, params).unwrap();
    let mut out = [0; 32];
    argon2
        .hash_password_into(&[1; 32], &[2; 16], &mut out)
        .unwrap();
    assert_eq!(
        out.as_slice(),
        hex("0d640df58d78766c08c037a34a8b53c9d01ef0452d75b65eb52520e96b01e659")
    );
}

/// The same with our salt, memory and costs; the answers are OpenSSL's.
#[test]
fn stretching_agrees_with_openssl() {
    let salt: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    for (cost, expected) in [
        (
            Argon2Cost::new(64, 1, 1),
            "5cd3e6ae36f9bc470e89e4d20b7d0f0f178756bf183f82cd820940d679e1c9d8",
        ),
        (
            Argon2Cost::new(256, 3, 4),
            "85c8ca095b0b05a92dde55518af91dab2d636e19ae7c737bc74464e5583d4d56",
        ),
        (
            Argon2Cost::new(1024, 2, 2),
            "3c5d0627c12cf4df761eb4408acce3993c54b9f070f3dd4f8707c0e71a8f9391",
        ),
    ] {
        let key = derive::stretch(b"correct horse battery", &salt, cost).unwrap();
        assert_eq!(key.expose().as_slice(), hex(expected));
    }
}

/// The labels are part of the format; the answers are OpenSSL's.
#[test]
fn key_derivation_agrees_with_openssl() {
    let volume = VolumeId([7; 16]);
    let input: [u8; 32] = std::array::from_fn(|i| u8::try_from(i).unwrap());
    let key: Secret<32> = derive::purpose_key(&key_of(&input), "meta", volume).unwrap();
    assert_eq!(
        key.expose().as_slice(),
        hex("33119524d4c9626fb955b31f686fbb21477041c0f10f7512adfc17c4374318e9")
    );
    let keys = derive::slot_keys(b"some key of at least 32 bytes ...", &[9; 32], volume).unwrap();
    assert_eq!(
        keys.each_ref().map(|k| *k.expose()).concat(),
        hex(
            "15d2b4c788c9bb8c1a90fc34a2477fd13fd0d81248730e06ed18760e52410fe79af9645c6251244f943ff9b6b3010c2b4d2c01aa1ad3bd8ac3a2ab6ce160ac0922c10f20192fa5868361dbb8ece46ba38d09f2ddb02295e9a530d0d3a787b7c2"
        )
    );
}

fn check_xaes(key: u8, aad: &[u8], expected: &str) {
    let key = XaesKey::new(&key_of(&[key; 32])).unwrap();
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

proptest! {
    #[test]
    fn the_two_implementations_open_each_others_output(
        key: [u8; 32],
        nonce: [u8; 24],
        aad in proptest::collection::vec(any::<u8>(), 0..200),
        message in proptest::collection::vec(any::<u8>(), 0..20_000),
        flip: usize,
    ) {
        let key = XaesKey::new(&key_of(&key)).unwrap();
        let mut bulk = message.clone();
        let tag = key.seal(&nonce, &aad, &mut bulk);
        let mut portable = message.clone();
        let portable_tag = key.seal_portable(&nonce, &aad, &mut portable);
        prop_assert_eq!(&bulk, &portable);
        prop_assert_eq!(tag, portable_tag);

        let mut body = [&portable[..], &portable_tag].concat();
        prop_assert_eq!(&*key.open(&nonce, &aad, &mut body).unwrap(), &message[..]);
        key.open_portable(&nonce, &aad, &mut bulk, &tag).unwrap();
        prop_assert_eq!(&bulk, &message);

        let mut body = [&portable[..], &portable_tag].concat();
        let at = flip % body.len();
        body[at] ^= 1;
        let (ciphertext, tag) = body.split_last_chunk::<16>().unwrap();
        let (mut ciphertext, tag) = (ciphertext.to_vec(), *tag);
        prop_assert!(key.open_portable(&nonce, &aad, &mut ciphertext, &tag).is_err());
        prop_assert!(key.open(&nonce, &aad, &mut body).is_err());
    }
}
