//! Contents of files over a real store, and over one with faults.

mod contents;
mod copies;
mod failures;
mod folding;
mod space;
mod truncation;
mod zeroing;

use crate::base::Ino;
use crate::fs::tests::Volume;
use crate::fs::{FsError, SetAttr};

const R: Ino = Ino::ROOT;

/// Bytes that differ from page to page and compress badly.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let words = std::iter::repeat_with(next);
    words.flatten().take(len).collect()
}

fn truncate(v: &Volume, ino: Ino, size: u64) -> Result<(), FsError> {
    let set = SetAttr {
        size_bytes: Some(size),
        ..Default::default()
    };
    v.set(crate::fs::tests::ROOT, ino, set).map(drop)
}

/// Writes, and brings it all into blocks and records.
fn stored(v: &Volume, name: &[u8], data: &[u8]) -> Ino {
    let ino = v.file(R, name);
    v.write_at(ino, 0, data).unwrap();
    v.sync(ino).unwrap();
    ino
}

fn blocks(v: &Volume) -> u64 {
    v.core.txn.count(crate::format::record::Kind::BlockRef)
}

fn pages(v: &Volume) -> u64 {
    v.core.txn.count(crate::format::record::Kind::Page)
}
