//! Newtypes, clock, randomness and synchronisation that every layer uses.
//!
//! Pure and small: nothing here knows what a volume is. The one file with `unsafe` is `os.rs`.

mod aligned;
mod clock;
pub mod hardening;
mod ids;
pub mod os;
mod rng;
pub mod sync;

pub use aligned::{AlignedBuf, DIRECT_IO_ALIGN};
pub use clock::{Clock, SystemClock, Timestamp};
pub use ids::{
    ChunkIx, ContentId, Epoch, Generation, Ino, InodeGen, PAGE_BYTES, PackNo, PageIx, VolumeId,
};
pub use rng::{OsRng, Rng, RngError};
