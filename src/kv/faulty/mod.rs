//! Faults for tests: stores whose calls, disk and power fail when they are told to.
//!
//! [`FaultyKv`] and [`FaultyPacks`] wrap any store. What the wrapped store has done since its last
//! sync can be undone, so that a power cut leaves what a disk may leave: of the key-value store some
//! prefix of the unsynced batches, of a pack any mixture of old and new sectors. A store that is
//! closed without a cut keeps everything.

mod faults;
mod keys;
mod packs;

use crate::base::sync::Arc;

use super::memory::{MemoryKv, MemoryPacks};
use super::{Kv, Packs};

pub use faults::{Call, Faults};
pub use keys::FaultyKv;
pub use packs::FaultyPacks;

/// A whole store with faults.
pub struct FaultyStore {
    /// What goes wrong in both parts.
    pub faults: Arc<Faults>,
    /// The key-value store.
    pub kv: Arc<FaultyKv>,
    /// The packs.
    pub packs: Arc<FaultyPacks>,
}

impl FaultyStore {
    /// Returns an empty store in memory.
    pub fn in_memory(seed: u64) -> Self {
        Self::over(
            Arc::new(MemoryKv::default()),
            Arc::new(MemoryPacks::default()),
            seed,
        )
    }

    /// Returns a store over others.
    pub fn over(kv: Arc<dyn Kv>, packs: Arc<dyn Packs>, seed: u64) -> Self {
        let faults = Faults::new(seed);
        Self {
            kv: Arc::new(FaultyKv::new(kv, Arc::clone(&faults))),
            packs: Arc::new(FaultyPacks::new(packs, Arc::clone(&faults))),
            faults,
        }
    }

    /// Brings the store back with what a power cut has left; does nothing if there was none.
    pub fn restart(&self) {
        if self.faults.is_dead() {
            self.kv.lose_unsynced();
            self.packs.lose_unsynced();
        }
        self.faults.revive();
    }
}
