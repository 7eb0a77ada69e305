//! Tests of the ciphers: what they promise here, published answers, and what stays in memory.

mod accumulated;
mod keyset;
mod known;
mod memory;
mod secret;

use crate::base::sync::Mutex;
use crate::base::{Rng, RngError};

/// Gives the same bytes in every run, and no byte twice in a row.
struct Counting(Mutex<u64>);

impl Counting {
    fn new() -> Self {
        Self(Mutex::new(0))
    }
}

impl Rng for Counting {
    fn fill(&self, out: &mut [u8]) -> Result<(), RngError> {
        let mut count = self.0.lock();
        for chunk in out.chunks_mut(32) {
            *count += 1;
            let block = blake3::hash(&count.to_le_bytes());
            chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
        }
        Ok(())
    }
}
