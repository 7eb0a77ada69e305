//! The accumulated test of XAES-256-GCM (C2SP): ten thousand random messages, one hash.

use super::known::hex;
use crate::crypto::secret::Secret;
use crate::crypto::xaes::XaesKey;

/// Bytes that SHAKE128 takes or gives between two permutations.
const RATE: usize = 168;

/// SHAKE128 (FIPS 202), first absorbing, then giving bytes; only this test needs it.
struct Shake128 {
    lanes: [u64; 25],
    at: usize,
}

impl Shake128 {
    fn new() -> Self {
        Self {
            lanes: [0; 25],
            at: 0,
        }
    }

    fn xor(&mut self, at: usize, byte: u8) {
        self.lanes[at / 8] ^= u64::from(byte) << (8 * (at % 8));
    }

    fn absorb(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.xor(self.at, *b);
            self.at += 1;
            if self.at == RATE {
                self.permute();
            }
        }
    }

    /// Ends the input.
    fn pad(mut self) -> Self {
        self.xor(self.at, 0x1f);
        self.xor(RATE - 1, 0x80);
        self.permute();
        self
    }

    fn give(&mut self, out: &mut [u8]) {
        for b in out {
            if self.at == RATE {
                self.permute();
            }
            *b = self.lanes[self.at / 8].to_le_bytes()[self.at % 8];
            self.at += 1;
        }
    }

    fn take(&mut self, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        self.give(&mut out);
        out
    }

    /// Keccak-f[1600]; lane (x, y) is number x + 5 y.
    fn permute(&mut self) {
        let mut a = self.lanes;
        let mut shift_register: u8 = 1;
        for _ in 0..24 {
            // theta
            let c: [u64; 5] = std::array::from_fn(|x| (0..5).fold(0, |p, y| p ^ a[x + 5 * y]));
            for (i, lane) in a.iter_mut().enumerate() {
                *lane ^= c[(i + 4) % 5] ^ c[(i % 5 + 1) % 5].rotate_left(1);
            }
            // rho and pi
            let (mut x, mut y, mut moved) = (1, 0, a[1]);
            for t in 0..24_u32 {
                (x, y) = (y, (2 * x + 3 * y) % 5);
                let rotated = moved.rotate_left((t + 1) * (t + 2) / 2 % 64);
                moved = std::mem::replace(&mut a[x + 5 * y], rotated);
            }
            // chi
            for row in a.chunks_exact_mut(5) {
                let old: [u64; 5] = std::array::from_fn(|x| row[x]);
                for x in 0..5 {
                    row[x] = old[x] ^ (!old[(x + 1) % 5] & old[(x + 2) % 5]);
                }
            }
            // iota
            for j in 0..7 {
                if shift_register & 1 == 1 {
                    a[0] ^= 1 << ((1_u32 << j) - 1);
                }
                let carry = if shift_register >> 7 == 1 { 0x71 } else { 0 };
                shift_register = (shift_register << 1) ^ carry;
            }
        }
        self.lanes = a;
        self.at = 0;
    }
}

#[test]
fn xaes_accumulated() {
    let mut random = Shake128::new().pad();
    let mut hash = Shake128::new();
    for _ in 0..10_000 {
        let key = Secret::build(|k| random.give(k)).unwrap();
        let key = XaesKey::new(&key).unwrap();
        let mut nonce = [0; 24];
        random.give(&mut nonce);
        let len = usize::from(random.take(1)[0]);
        let plain = random.take(len);
        let len = usize::from(random.take(1)[0]);
        let aad = random.take(len);
        let mut bulk = plain.clone();
        let tag = key.seal(&nonce, &aad, &mut bulk);
        let mut portable = plain.clone();
        assert_eq!(tag, key.seal_portable(&nonce, &aad, &mut portable));
        assert_eq!(bulk, portable);
        hash.absorb(&bulk);
        hash.absorb(&tag);
        let mut body = [&bulk[..], &tag].concat();
        assert_eq!(*key.open(&nonce, &aad, &mut body).unwrap(), plain);
    }
    assert_eq!(
        hash.pad().take(32),
        hex("e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939")
    );
}

#[test]
fn shake128_of_nothing() {
    assert_eq!(
        Shake128::new().pad().take(16),
        hex("7f9c2ba4e88f827d616045507605853e")
    );
}
