//! Punched and zeroed ranges, from a byte to 8 EiB.

use super::super::geometry::SIZE_MAX;
use super::super::zero::STEP_GROUPS;
use super::{R, blocks, noise, pages, stored, truncate};
use crate::base::Ino;
use crate::fs::tests::{CHUNK, ROOT, Volume, check, wait};
use crate::meta::GROUP_CHUNKS;

const PUNCH: i32 = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
const ZERO: i32 = libc::FALLOC_FL_ZERO_RANGE | libc::FALLOC_FL_KEEP_SIZE;

fn fallocate(v: &Volume, ino: Ino, offset: u64, len: u64, mode: i32) {
    wait(|done| v.fallocate(ROOT, ino, offset, len, mode, done)).unwrap();
}

/// Symptom: a hole punched into a large sparse file took all the memory of the machine, because every
/// chunk of the range became dirty, also those that held nothing.
#[test]
fn a_hole_as_large_as_a_file_can_be() {
    let mut v = Volume::new();
    let f = v.file(R, b"f");
    truncate(&v, f, SIZE_MAX).unwrap();
    let far = |n: u64| (1 << 62) + n * (1 << 40);
    for n in 0..20 {
        v.write_at(f, far(n), &noise(n, CHUNK)).unwrap();
        v.write_at(f, far(n) + 5 * CHUNK as u64, b"page").unwrap();
    }
    v.write_at(f, 0, b"begin").unwrap();
    v.write_at(f, SIZE_MAX - 3, b"end").unwrap();
    v.sync(f).unwrap();
    // Some dirty, and some dirty over what is committed.
    v.write_at(f, far(3) + 10, b"dirty").unwrap();
    v.write_at(f, far(100), b"dirty").unwrap();
    assert!(blocks(&v) == 20 && pages(&v) >= 20);
    fallocate(&v, f, 2, SIZE_MAX - 4, PUNCH);
    let whole = |v: &Volume| {
        assert_eq!(v.read_at(f, 0, 5), b"be\0\0\0");
        assert_eq!(v.read_at(f, SIZE_MAX - 3, 3), b"\0nd");
        for n in (0..20).chain([100]) {
            let read = v.read_at(f, far(n), 6 * u32::try_from(CHUNK).unwrap());
            assert!(read.iter().all(|b| *b == 0), "{n}");
        }
    };
    whole(&v);
    v.sync(f).unwrap();
    assert_eq!((blocks(&v), pages(&v)), (2, 0));
    v.crash();
    whole(&v);
    check(&v, false);
}

/// More than a step takes, by both modes, with what lies beside the range kept.
#[test]
fn a_range_of_many_steps() {
    for mode in [PUNCH, ZERO] {
        let mut v = Volume::new();
        let chunks = 2 * STEP_GROUPS * GROUP_CHUNKS + 100;
        let mut expected = noise(1, CHUNK).repeat(chunks);
        let f = stored(&v, b"f", &expected);
        v.write_at(f, 7 * CHUNK as u64 + 1, b"a page over a block")
            .unwrap();
        v.sync(f).unwrap();
        let (from, to) = (CHUNK + 100, expected.len() - 5000);
        fallocate(&v, f, from as u64, (to - from) as u64, mode);
        expected[from..to].fill(0);
        assert!(v.contents(f) == expected);
        v.sync(f).unwrap();
        v.crash();
        assert!(v.contents(f) == expected);
        check(&v, false);
        assert_eq!(
            v.getattr(f).unwrap().blocks_512 / 8,
            3 * CHUNK as u64 / 4096
        );
    }
}
