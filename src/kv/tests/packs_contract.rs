//! The contract of packs.

use std::sync::Arc;

use crate::base::{AlignedBuf, PackNo};
use crate::kv::faulty::FaultyStore;
use crate::kv::files::PackFiles;
use crate::kv::memory::{MemoryKv, MemoryPacks};
use crate::kv::{KvError, Packs};

const ONE: PackNo = PackNo(1);
const TWO: PackNo = PackNo(0xfedc_ba98);

/// Calls `test` with empty packs of each sort.
fn each_store(test: impl Fn(&dyn Packs)) {
    test(&MemoryPacks::default());
    let dir = tempfile::tempdir().unwrap();
    test(&PackFiles::open(dir.path(), false).unwrap());
    test(&*FaultyStore::in_memory(1).packs);
    let dir = tempfile::tempdir().unwrap();
    let files = PackFiles::open(dir.path(), false).unwrap();
    let kv = Arc::new(MemoryKv::default());
    test(&*FaultyStore::over(kv, Arc::new(files), 1).packs);
}

pub(super) fn aligned(bytes: &[u8]) -> AlignedBuf {
    let mut buf = AlignedBuf::with_capacity(bytes.len());
    buf.append(bytes);
    buf
}

fn blocks(fill: &[u8]) -> AlignedBuf {
    let bytes: Vec<u8> = fill.iter().flat_map(|b| [*b; 4096]).collect();
    aligned(&bytes)
}

fn read(packs: &dyn Packs, pack: PackNo, offset: u64, len: usize) -> Vec<u8> {
    let mut out = vec![0xee; len];
    packs.read_at(pack, offset, &mut out).unwrap();
    out
}

fn fails(result: Result<(), KvError>, pack: PackNo) {
    match result {
        Err(KvError::Pack { pack: p, .. }) => assert_eq!(p, pack),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_written_is_read_at_any_alignment() {
    each_store(|packs| {
        packs.create(ONE).unwrap();
        packs.write_at(ONE, 0, &blocks(&[1, 2])).unwrap();
        packs.write_at(ONE, 8192, &blocks(&[3])).unwrap();
        let mut expected = vec![2; 4000];
        expected.resize(4096, 3);
        assert_eq!(read(packs, ONE, 4192, 4096), expected);
        packs.sync(ONE).unwrap();
        assert_eq!(read(packs, ONE, 4192, 4096), expected);
        assert_eq!(packs.list().unwrap(), [(ONE, 12288)]);
    });
}

#[test]
fn reading_beyond_the_end_fails() {
    each_store(|packs| {
        packs.create(ONE).unwrap();
        packs.write_at(ONE, 0, &blocks(&[1])).unwrap();
        fails(packs.read_at(ONE, 4000, &mut [0; 200]), ONE);
        fails(packs.read_at(ONE, 1 << 40, &mut [0; 1]), ONE);
        packs.read_at(ONE, 4000, &mut [0; 96]).unwrap();
    });
}

#[test]
fn packs_are_created_once_listed_in_order_and_removed() {
    each_store(|packs| {
        assert_eq!(packs.list().unwrap(), []);
        packs.create(TWO).unwrap();
        packs.create(ONE).unwrap();
        fails(packs.create(ONE), ONE);
        packs.write_at(TWO, 0, &blocks(&[7])).unwrap();
        assert_eq!(packs.list().unwrap(), [(ONE, 0), (TWO, 4096)]);
        packs.remove(ONE).unwrap();
        packs.remove(ONE).unwrap();
        assert_eq!(packs.list().unwrap(), [(TWO, 4096)]);
        fails(packs.read_at(ONE, 0, &mut [0; 1]), ONE);
        fails(packs.write_at(ONE, 0, &blocks(&[1])), ONE);
        fails(packs.sync(ONE), ONE);
        fails(packs.truncate(ONE, 0), ONE);
    });
}

#[test]
fn punched_blocks_read_as_zeros_and_keep_their_place() {
    each_store(|packs| {
        packs.create(ONE).unwrap();
        packs.write_at(ONE, 0, &blocks(&[1, 2, 3])).unwrap();
        assert!(packs.punch(ONE, 4096, 4096).unwrap());
        assert_eq!(read(packs, ONE, 0, 12288), *blocks(&[1, 0, 3]));
        assert_eq!(packs.list().unwrap(), [(ONE, 12288)]);
        assert!(packs.punch(ONE, 8192, 1 << 20).unwrap());
        assert_eq!(packs.list().unwrap(), [(ONE, 12288)]);
        assert_eq!(read(packs, ONE, 0, 12288), *blocks(&[1, 0, 0]));
    });
}

#[test]
fn a_truncated_pack_goes_on_where_it_was_cut() {
    each_store(|packs| {
        packs.create(ONE).unwrap();
        packs.write_at(ONE, 0, &blocks(&[1, 2, 3])).unwrap();
        packs.truncate(ONE, 4096).unwrap();
        assert_eq!(packs.list().unwrap(), [(ONE, 4096)]);
        packs.write_at(ONE, 4096, &blocks(&[9])).unwrap();
        assert_eq!(read(packs, ONE, 0, 8192), *blocks(&[1, 9]));
    });
}

#[test]
fn the_reserve_is_no_pack() {
    each_store(|packs| {
        let free = packs.free_bytes().unwrap();
        assert!(free > 0);
        packs.set_reserve(1 << 20).unwrap();
        packs.set_reserve(2 << 20).unwrap();
        assert_eq!(packs.list().unwrap(), []);
        packs.set_reserve(0).unwrap();
    });
}
