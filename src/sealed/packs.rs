//! The packs with the sealing of frames inside: the same verbs, for blocks.

use std::sync::Arc;

use crate::crypto::Keyset;
use crate::kv::Packs;

/// The packs of one volume.
#[derive(Clone)]
pub struct SealedPacks {
    packs: Arc<dyn Packs>,
    keyset: Arc<Keyset>,
}

impl SealedPacks {
    /// Returns the packs of a store under these keys.
    #[must_use]
    pub fn new(packs: Arc<dyn Packs>, keyset: Arc<Keyset>) -> Self {
        Self { packs, keyset }
    }
}
