//! Randomness: the only way to random bytes.

use thiserror::Error;

/// The operating system could not give random bytes.
#[derive(Debug, Error)]
#[error("the operating system gives no random bytes: {0}")]
pub struct RngError(String);

/// Gives unpredictable bytes; tests put a deterministic or a broken one in its place.
pub trait Rng: Send + Sync {
    /// Fills `out` with random bytes.
    ///
    /// # Errors
    /// When the source has none to give.
    fn fill(&self, out: &mut [u8]) -> Result<(), RngError>;
}

/// getrandom(2), called for each request: no generator state in user space that a fork, a clone of
/// the machine or a core dump could repeat or reveal.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsRng;

impl Rng for OsRng {
    fn fill(&self, out: &mut [u8]) -> Result<(), RngError> {
        getrandom::fill(out).map_err(|e| RngError(e.to_string()))
    }
}
