//! Additive set digests: sums of keyed hashes modulo 2^256.
//!
//! Clarke, Devadas, van Dijk, Gassend, Suh: "Incremental Multiset Hash Functions and Their
//! Application to Memory Integrity Checking", ASIACRYPT 2003 (MSet-Add-Hash).

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
