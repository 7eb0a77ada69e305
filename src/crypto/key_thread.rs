//! The key thread: where secrets are derived and ciphers are built.
//!
//! Key schedules, hashes and curve arithmetic leave pieces of keys on the stack of the thread that
//! runs them. So they run on a thread of their own, which overwrites its stack and ends; what comes
//! back are handles of locked memory.

use std::thread;

use crate::base::os::scrub_stack;

use super::CryptoError;

/// Stack of the thread: Argon2id and Ed25519 need far less than half of it.
const STACK_BYTES: usize = 512 << 10;

/// What is overwritten: all of the stack but the frames of the thread's start.
const SCRUB_BYTES: usize = 384 << 10;

/// Runs `work` on the key thread and waits for it.
///
/// # Errors
/// When the operating system starts no thread.
///
/// # Panics
/// When `work` does.
pub fn on_key_thread<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, CryptoError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("coffer-keys".into())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || {
                let result = work();
                scrub_stack(SCRUB_BYTES);
                result
            })
            .map_err(CryptoError::Thread)?;
        match thread.join() {
            Ok(result) => Ok(result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
