//! Additive set digests: sums of keyed hashes modulo 2^256.
//!
//! Clarke, Devadas, van Dijk, Gassend, Suh: "Incremental Multiset Hash Functions and Their
//! Application to Memory Integrity Checking", ASIACRYPT 2003 (MSet-Add-Hash).

use crate::format::root::BUCKETS;

/// The set digests of the records that a pass has met so far.
#[derive(Clone, PartialEq, Eq)]
pub struct SetDigests(Box<[[u8; 32]; BUCKETS]>);

impl Default for SetDigests {
    fn default() -> Self {
        Self(Box::new([[0; 32]; BUCKETS]))
    }
}

impl SetDigests {
    /// Adds the term of a record of a bucket.
    ///
    /// # Panics
    /// When `bucket` is not below 64.
    pub fn add(&mut self, bucket: usize, term: &[u8; 32]) {
        let sum = self.0.get_mut(bucket).expect("a bucket is below 64");
        add(sum, term);
    }

    /// Adds what another pass has met.
    pub fn merge(&mut self, other: &Self) {
        for (sum, theirs) in self.0.iter_mut().zip(other.0.iter()) {
            add(sum, theirs);
        }
    }

    /// Returns the sums, as a root holds them.
    #[must_use]
    pub fn sums(&self) -> &[[u8; 32]; BUCKETS] {
        &self.0
    }

    /// Returns the buckets whose sum differs from that of a root.
    #[must_use]
    pub fn differing(&self, root: &[[u8; 32]; BUCKETS]) -> Vec<usize> {
        let sums = self.0.iter().zip(root).enumerate();
        sums.filter(|(_, (a, b))| a != b).map(|(i, _)| i).collect()
    }
}

fn limbs(d: &[u8; 32]) -> [u64; 4] {
    let mut out = [0; 4];
    for (limb, b) in out.iter_mut().zip(d.chunks_exact(8)) {
        *limb = u64::from_le_bytes(b.try_into().expect("chunks of eight"));
    }
    out
}

fn store(d: &mut [u8; 32], limbs: [u64; 4]) {
    for (b, limb) in d.chunks_exact_mut(8).zip(limbs) {
        b.copy_from_slice(&limb.to_le_bytes());
    }
}

/// Adds a term to a sum.
pub(super) fn add(sum: &mut [u8; 32], term: &[u8; 32]) {
    let mut s = limbs(sum);
    let mut carry = false;
    for (a, b) in s.iter_mut().zip(limbs(term)) {
        let (x, c1) = a.overflowing_add(b);
        let (x, c2) = x.overflowing_add(u64::from(carry));
        *a = x;
        carry = c1 || c2;
    }
    store(sum, s);
}

/// Takes a term out of a sum.
pub(super) fn sub(sum: &mut [u8; 32], term: &[u8; 32]) {
    let mut s = limbs(sum);
    let mut borrow = false;
    for (a, b) in s.iter_mut().zip(limbs(term)) {
        let (x, b1) = a.overflowing_sub(b);
        let (x, b2) = x.overflowing_sub(u64::from(borrow));
        *a = x;
        borrow = b1 || b2;
    }
    store(sum, s);
}
