//! Numbers that a seed decides: splitmix64.

/// A sequence of numbers; the same seed gives the same one.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// The same as a size.
    pub fn size(&mut self, n: u64) -> usize {
        usize::try_from(self.below(n)).expect("64 bits")
    }

    /// Returns one of them, or none if there is none.
    pub fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        let len = u64::try_from(from.len()).expect("64 bits");
        (len > 0).then(|| from[self.size(len)].clone())
    }

    /// Returns bytes that nothing can compress.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(len + 8);
        while out.len() < len {
            out.extend_from_slice(&self.next().to_le_bytes());
        }
        out.truncate(len);
        out
    }
}
