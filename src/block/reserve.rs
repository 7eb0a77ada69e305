//! Space kept back, so that deletes, commits and the cleaner go on when the store is full.
//!
//! A file holds it. When the file system is nearly full the file gives it up: what is admitted still
//! counts it as taken, so only records and the cleaner's copies go there. Others can take what was
//! given up, so the last share of it is kept until the volume is closed.

use crate::base::sync::Mutex;
use crate::sealed::{PACK_MAX_BYTES, SealedError, SealedPacks};

/// One pack for the cleaner, two write buffers of the key-value store and 64 MiB for its log.
const RESERVE_MAX_BYTES: u64 = PACK_MAX_BYTES as u64 + 2 * (16 << 20) + (64 << 20);

/// On a small file system the reserve is this share of it.
const RESERVE_SHARE: u64 = 16;

/// But never less than this.
const RESERVE_MIN_BYTES: u64 = 4 << 20;

/// Free space is low below this share of the reserve.
const LOW_SHARE: u64 = 4;

/// This share of the reserve is given up for the end only: the last landing and the last commit.
const LAST_SHARE: u64 = 4;

/// The space kept back.
pub(super) struct Reserve {
    target_bytes: u64,
    held_bytes: Mutex<u64>,
}

impl Reserve {
    /// Takes the space, if it is there.
    ///
    /// # Errors
    /// When the file system cannot be asked.
    pub(super) fn take(packs: &SealedPacks) -> Result<Self, SealedError> {
        let share = packs.size_bytes()? / RESERVE_SHARE;
        let reserve = Self {
            target_bytes: share.clamp(RESERVE_MIN_BYTES, RESERVE_MAX_BYTES),
            held_bytes: Mutex::new(0),
        };
        // Without it the volume is full, which whoever writes will learn.
        let _is_held = reserve.try_hold(packs);
        Ok(reserve)
    }

    /// Returns a reserve of nothing, for a volume that is only read.
    pub(super) fn none() -> Self {
        Self {
            target_bytes: 0,
            held_bytes: Mutex::new(0),
        }
    }

    /// Takes all of it; what could be had of it before stays.
    fn try_hold(&self, packs: &SealedPacks) -> bool {
        let mut held_bytes = self.held_bytes.lock();
        if *held_bytes < self.target_bytes && packs.set_reserve(self.target_bytes).is_ok() {
            *held_bytes = self.target_bytes;
        }
        if *held_bytes < self.target_bytes {
            // What part of the rest was there is not kept.
            drop(packs.set_reserve(*held_bytes));
        }
        *held_bytes == self.target_bytes
    }

    /// Gives the space to whoever must go on, but for the last share; false if there was none to give.
    pub(super) fn release(&self, packs: &SealedPacks) -> bool {
        self.shrink(packs, self.target_bytes / LAST_SHARE)
    }

    /// Gives all of it up: the volume is being closed.
    pub(super) fn give_up(&self, packs: &SealedPacks) {
        self.shrink(packs, 0);
    }

    fn shrink(&self, packs: &SealedPacks, bytes: u64) -> bool {
        let mut held_bytes = self.held_bytes.lock();
        let shrinks = *held_bytes > bytes && packs.set_reserve(bytes).is_ok();
        if shrinks {
            *held_bytes = bytes;
        }
        shrinks
    }

    /// Gives the space up if there are fewer than `bytes` without it.
    ///
    /// # Errors
    /// When the file system cannot be asked.
    pub(super) fn lend(&self, packs: &SealedPacks, bytes: u64) -> Result<(), SealedError> {
        if packs.free_bytes()? < bytes + self.target_bytes / LOW_SHARE {
            self.release(packs);
        }
        Ok(())
    }

    /// Returns the bytes that can be admitted; gives the space up when there are few.
    ///
    /// # Errors
    /// When the file system cannot be asked.
    pub(super) fn free_bytes(&self, packs: &SealedPacks) -> Result<u64, SealedError> {
        let free = packs.free_bytes()?;
        let given_up = self.target_bytes - *self.held_bytes.lock();
        if given_up == 0 && free < self.target_bytes / LOW_SHARE {
            self.release(packs);
        }
        Ok(free.saturating_sub(given_up))
    }

    /// Takes the space again if there is so much that it need not be given up at once. Returns true if
    /// the store has room: the space is held.
    ///
    /// # Errors
    /// When the file system cannot be asked.
    pub(super) fn restore(&self, packs: &SealedPacks) -> Result<bool, SealedError> {
        let free = self.free_bytes(packs)?;
        if free < self.target_bytes / LOW_SHARE * 2 {
            return Ok(false);
        }
        Ok(self.try_hold(packs))
    }
}
