//! What sealing promises of records, and of packs.

mod packs;
mod records;
