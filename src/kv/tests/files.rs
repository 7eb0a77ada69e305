//! What is special to packs in files.

use std::os::unix::fs::MetadataExt;

use super::packs_contract::aligned;
use crate::base::PackNo;
use crate::kv::files::PackFiles;
use crate::kv::small_disk::SmallDisk;
use crate::kv::{KvError, Packs};

const MIB: usize = 1 << 20;

fn allocated_bytes(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).unwrap().blocks() * 512
}

#[test]
fn punching_and_the_reserve_move_space() {
    let dir = tempfile::tempdir().unwrap();
    let packs = PackFiles::open(dir.path(), false).unwrap();
    packs.create(PackNo(10)).unwrap();
    packs
        .write_at(PackNo(10), 0, &aligned(&vec![1; MIB]))
        .unwrap();
    packs.sync(PackNo(10)).unwrap();
    let path = dir.path().join("0000000a");
    assert!(allocated_bytes(&path) >= MIB as u64);
    assert!(packs.punch(PackNo(10), 0, MIB as u64 / 2).unwrap());
    let left = allocated_bytes(&path);
    assert!(left < MIB as u64 * 3 / 4, "{left}");
    let reserve = dir.path().join("reserve");
    packs.set_reserve(3 * MIB as u64).unwrap();
    assert!(allocated_bytes(&reserve) >= 3 * MIB as u64);
    packs.set_reserve(MIB as u64).unwrap();
    assert!(allocated_bytes(&reserve) < 2 * MIB as u64);
    packs.set_reserve(0).unwrap();
    assert_eq!(allocated_bytes(&reserve), 0);
}

#[test]
fn a_reserve_that_is_not_there_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let packs = PackFiles::open(dir.path(), false).unwrap();
    let refused = packs.set_reserve(1 << 50);
    assert!(
        matches!(refused, Err(KvError::NoSpace { .. } | KvError::Io { .. })),
        "{refused:?}"
    );
    packs.set_reserve(0).unwrap();
}

#[test]
fn other_names_in_the_directory_are_no_packs() {
    let dir = tempfile::tempdir().unwrap();
    for name in [
        "reserve",
        "0000000G",
        "1",
        "000000001",
        "+000001f",
        "0000001f",
    ] {
        std::fs::write(dir.path().join(name), b"x").unwrap();
    }
    let packs = PackFiles::open(dir.path(), false).unwrap();
    assert_eq!(packs.list().unwrap(), [(PackNo(0x1f), 1)]);
}

#[test]
fn more_packs_than_handles_can_be_used() {
    let dir = tempfile::tempdir().unwrap();
    let packs = PackFiles::open(dir.path(), false).unwrap();
    let block = aligned(&[5; 4096]);
    for n in 0..300 {
        packs.create(PackNo(n)).unwrap();
        packs.write_at(PackNo(n), 0, &block).unwrap();
    }
    let open = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|e| std::fs::read_link(e.unwrap().path()).ok())
        .filter(|target| target.starts_with(dir.path()))
        .count();
    assert!(open <= 512, "{open} descriptors");
    let mut out = [0; 4096];
    for n in 0..300 {
        packs.read_at(PackNo(n), 0, &mut out).unwrap();
        assert_eq!(out, [5; 4096]);
    }
}

#[test]
fn opened_for_reading_nothing_changes() {
    let dir = tempfile::tempdir().unwrap();
    let packs = PackFiles::open(dir.path(), false).unwrap();
    packs.create(PackNo(1)).unwrap();
    packs.write_at(PackNo(1), 0, &aligned(&[5; 4096])).unwrap();
    drop(packs);
    let packs = PackFiles::open(dir.path(), true).unwrap();
    let mut out = [0; 10];
    packs.read_at(PackNo(1), 100, &mut out).unwrap();
    assert_eq!(out, [5; 10]);
    let refused = packs.write_at(PackNo(1), 0, &aligned(&[6; 4096]));
    assert!(matches!(refused, Err(KvError::Pack { .. })), "{refused:?}");
    packs.read_at(PackNo(1), 100, &mut out).unwrap();
    assert_eq!(out, [5; 10]);
}

#[test]
fn a_full_disk_has_its_own_error() {
    let disk = SmallDisk::new(4 << 20);
    let packs = PackFiles::open(disk.path(), false).unwrap();
    packs.create(PackNo(1)).unwrap();
    packs.set_reserve(MIB as u64).unwrap();
    disk.fill();
    assert_eq!(packs.free_bytes().unwrap(), 0);
    let block = aligned(&[5; 4096]);
    let full = packs.write_at(PackNo(1), 0, &block);
    assert!(
        matches!(full, Err(KvError::NoSpace { op: "write" })),
        "{full:?}"
    );
    let full = packs.set_reserve(2 * MIB as u64);
    assert!(
        matches!(full, Err(KvError::NoSpace { op: "reserve" })),
        "{full:?}"
    );
    packs.set_reserve(0).unwrap();
    packs.write_at(PackNo(1), 0, &block).unwrap();
}

#[test]
fn a_symlink_is_no_pack() {
    let dir = tempfile::tempdir().unwrap();
    let packs = PackFiles::open(dir.path(), false).unwrap();
    let elsewhere = dir.path().join("elsewhere");
    std::fs::write(&elsewhere, [1; 4096]).unwrap();
    std::os::unix::fs::symlink(&elsewhere, dir.path().join("00000001")).unwrap();
    assert!(packs.read_at(PackNo(1), 0, &mut [0; 10]).is_err());
    assert!(packs.write_at(PackNo(1), 0, &aligned(&[5; 4096])).is_err());
    assert!(packs.create(PackNo(1)).is_err());
}
