//! Every value leaves sealed and bound to its name, kind and epoch; every value returns verified.
//!
//! [`Records`] does so for the key-value store, `packs` carries the already sealed frames of blocks.
//! This layer and the transaction layer are the only ones that see the store: nothing above can
//! write a plain byte to it.

mod packs;
mod records;
mod view;

pub use packs::{PACK_MAX_BYTES, PackWriter, SealedPacks};
pub use records::{Batch, Record, Records, SealedError};
pub use view::{Slice, View};

#[cfg(test)]
mod tests;
