//! Copies by reference and by bytes.

use super::{R, blocks, noise, pages, stored, truncate};
use crate::base::Ino;
use crate::fs::FsError;
use crate::fs::tests::{CHUNK, ROOT, Volume, wait};

fn copy(v: &Volume, from: (Ino, usize), to: (Ino, usize), len: usize) -> Result<usize, FsError> {
    let (from, to) = ((from.0, from.1 as u64), (to.0, to.1 as u64));
    let n = wait(|done| v.copy_file_range(ROOT, from, to, len as u64, done))?;
    Ok(usize::try_from(n).unwrap())
}

#[test]
fn whole_chunks_are_shared() {
    let mut v = Volume::new();
    let data = noise(1, 5 * CHUNK + 100);
    let f = stored(&v, b"f", &data);
    let before = v.blocks.stats();
    let g = v.file(R, b"g");
    assert_eq!(copy(&v, (f, 0), (g, 0), data.len()).unwrap(), data.len());
    assert_eq!(v.blocks.stats(), before);
    assert!(v.contents(g) == data);
    v.sync(g).unwrap();
    assert_eq!((blocks(&v), pages(&v)), (5, 2));
    v.reopen();
    // Each has its own contents from here on.
    v.write_at(f, 0, b"changed").unwrap();
    truncate(&v, f, CHUNK as u64).unwrap();
    v.sync(f).unwrap();
    assert!(v.contents(g) == data);
}

#[test]
fn data_that_is_still_dirty_is_copied() {
    let v = Volume::new();
    let data = noise(2, 2 * CHUNK);
    let f = v.file(R, b"f");
    v.write_at(f, 0, &data).unwrap();
    let g = v.file(R, b"g");
    v.write_at(g, 10, b"old").unwrap();
    assert_eq!(copy(&v, (f, 0), (g, CHUNK), 2 * CHUNK).unwrap(), 2 * CHUNK);
    let mut expected = vec![0; CHUNK];
    expected[10..13].copy_from_slice(b"old");
    expected.extend_from_slice(&data);
    assert!(v.contents(g) == expected);
    assert!(v.getattr(g).unwrap().mtime > v.getattr(g).unwrap().btime);
}

#[test]
fn odd_ranges_and_one_file_are_copied_by_bytes() {
    let v = Volume::new();
    let data = noise(3, 3 * CHUNK);
    let f = stored(&v, b"f", &data);
    let g = v.file(R, b"g");
    assert_eq!(copy(&v, (f, 1000), (g, 5), CHUNK + 7).unwrap(), CHUNK + 7);
    assert!(v.read_at(g, 5, u32::MAX) == data[1000..CHUNK + 1007]);
    assert_eq!(copy(&v, (f, 0), (f, 4 * CHUNK), CHUNK).unwrap(), CHUNK);
    assert!(v.read_at(f, 4 * CHUNK as u64, u32::MAX) == data[..CHUNK]);
    assert_eq!(v.read_at(f, 3 * CHUNK as u64, 10), [0; 10]);
}

#[test]
fn a_copy_ends_at_the_end_of_its_source() {
    let v = Volume::new();
    let f = stored(&v, b"f", &noise(4, CHUNK + 10));
    let g = v.file(R, b"g");
    assert_eq!(copy(&v, (f, CHUNK), (g, 0), 100).unwrap(), 10);
    assert_eq!(copy(&v, (f, CHUNK + 10), (g, 0), 100).unwrap(), 0);
    assert_eq!(v.getattr(g).unwrap().size_bytes, 10);
}

/// A hole stays one, and a long copy by bytes answers short.
#[test]
fn a_long_copy_by_bytes_answers_short() {
    let v = Volume::new();
    let f = v.file(R, b"f");
    truncate(&v, f, 1 << 30).unwrap();
    let g = v.file(R, b"g");
    let copied = copy(&v, (f, 0), (g, 1), 1 << 30).unwrap();
    assert!((8 << 20..9 << 20).contains(&copied), "{copied}");
    v.sync(g).unwrap();
    assert_eq!(blocks(&v), 0);
}
