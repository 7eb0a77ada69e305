//! Byte layouts: pure functions between bytes and structs, little-endian, no I/O, no crypto.
//!
//! `docs/FORMAT.md` holds the same tables for readers.

pub mod account;
pub mod blockref;
pub mod bytes;
pub mod dirent;
pub mod envelope;
pub mod extents;
pub mod header;
pub mod inode;
pub mod key;
pub mod orphan;
pub mod padding;
pub mod page;
pub mod punch;
pub mod record;
pub mod root;
pub mod settings;
pub mod xattr;

#[cfg(test)]
mod tests;
