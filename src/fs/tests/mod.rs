//! Operations over a real store in a temporary directory.

mod attributes;
mod counts;
mod durability;
mod integrity;
mod listing;
mod lookups;
mod model;
mod names;
mod renames;
mod volume;
mod xattrs;

pub(in crate::fs) use integrity::check;
pub(in crate::fs) use volume::{CHUNK, ROOT, Setup, Volume, wait};
