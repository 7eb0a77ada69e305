//! Recovery codes: 160 random bits for paper, with a checksum that finds what was mistyped.
//!
//! ```text
//! 36 characters in groups of four: 32 of the secret (20 bytes, most significant bit first), 4 of the
//! checksum (the first 20 bits of BLAKE3("coffer recovery code v1" | secret))
//! alphabet: 0123456789ABCDEFGHJKMNPQRSTVWXYZ
//! ```
//!
//! Read back, letters may be small, O is 0, I and L are 1, and blanks and dashes do not count.

use crate::base::Rng;
use crate::base::os::LockedBytes;

use super::CryptoError;
use super::secret::{Secret, SecretBytes};

const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

const SECRET_BYTES: usize = 20;

/// Characters of the secret, each of five bits.
const SECRET_CHARS: usize = SECRET_BYTES * 8 / 5;

/// Characters of the secret and of the checksum.
const CHARS: usize = SECRET_CHARS + 4;

/// Characters between two dashes.
const GROUP_CHARS: usize = 4;

const CHECKSUM_LABEL: &[u8] = b"coffer recovery code v1";

/// A recovery code.
pub struct RecoveryCode(Secret<SECRET_BYTES>);

impl RecoveryCode {
    /// Returns a new random code.
    ///
    /// # Errors
    /// When there is no randomness or no locked memory.
    pub fn random(rng: &dyn Rng) -> Result<Self, CryptoError> {
        Ok(Self(Secret::random(rng)?))
    }

    pub(super) fn expose(&self) -> &[u8; SECRET_BYTES] {
        self.0.expose()
    }

    /// Returns the code as it is printed.
    ///
    /// # Errors
    /// When there is no locked memory.
    pub fn text(&self) -> Result<SecretBytes, CryptoError> {
        let mut text = LockedBytes::zeroed(CHARS + CHARS / GROUP_CHARS - 1)?;
        let checksum = checksum(&self.0);
        let digit = |n: usize| {
            let (bytes, n) = match n.checked_sub(SECRET_CHARS) {
                None => (&self.0.expose()[..], n),
                Some(n) => (&checksum[..], n),
            };
            let bit = |i: usize| bytes.get(i / 8).map_or(0, |b| b >> (7 - i % 8) & 1);
            (0..5).fold(0, |digit, i| digit << 1 | usize::from(bit(5 * n + i)))
        };
        let mut at = 0;
        for n in 0..CHARS {
            if n > 0 && n.is_multiple_of(GROUP_CHARS) {
                text[at] = b'-';
                at += 1;
            }
            text[at] = ALPHABET[digit(n)];
            at += 1;
        }
        SecretBytes::copy_of(&text)
    }

    /// Returns the code that a secret is; none if it is something else, or was mistyped.
    ///
    /// # Errors
    /// When there is no locked memory.
    pub fn parse(secret: &SecretBytes) -> Result<Option<Self>, CryptoError> {
        let digits = || secret.as_passphrase().iter().filter_map(digit_of);
        if !looks_like_a_code(secret) {
            return Ok(None);
        }
        let code = Secret::build(|out| pack(digits(), out))?;
        let mut rest = [0; 3];
        pack(digits().skip(SECRET_CHARS), &mut rest);
        let [a, b, c] = checksum(&code);
        Ok((rest == [a, b, c & 0xf0]).then_some(Self(code)))
    }

    /// Returns true for a secret that has the form of a code but is none: it was mistyped.
    ///
    /// # Errors
    /// When there is no locked memory.
    pub fn is_mistyped(secret: &SecretBytes) -> Result<bool, CryptoError> {
        Ok(looks_like_a_code(secret) && Self::parse(secret)?.is_none())
    }
}

/// Returns the first three bytes of the checksum, of which 20 bits count.
fn checksum(code: &Secret<SECRET_BYTES>) -> [u8; 3] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(CHECKSUM_LABEL).update(code.expose());
    let hash = hasher.finalize();
    let [a, b, c, ..] = *hash.as_bytes();
    [a, b, c]
}

fn looks_like_a_code(secret: &SecretBytes) -> bool {
    let text = secret.as_passphrase();
    let is_filling = |b: &u8| matches!(b, b'-' | b' ');
    let chars = || text.iter().filter(|b| !is_filling(b));
    chars().count() == CHARS && chars().all(|b| digit_of(b).is_some())
}

/// Returns the value of a character.
fn digit_of(char: &u8) -> Option<u8> {
    let char = match char.to_ascii_uppercase() {
        b'O' => b'0',
        b'I' | b'L' => b'1',
        other => other,
    };
    let at = ALPHABET.iter().position(|c| *c == char)?;
    u8::try_from(at).ok()
}

/// Puts digits of five bits into bytes, most significant bit first.
fn pack(digits: impl Iterator<Item = u8>, out: &mut [u8]) {
    for (n, digit) in digits.enumerate() {
        for i in 0..5 {
            let bit = 5 * n + i;
            if let Some(byte) = out.get_mut(bit / 8) {
                *byte |= (digit >> (4 - i) & 1) << (7 - bit % 8);
            }
        }
    }
}
