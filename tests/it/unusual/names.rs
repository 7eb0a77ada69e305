//! Names of every byte, names and paths of every length, deep trees.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::Instant;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use crate::harness::{TestVolume, report, shell};

/// Directories below each other.
const LEVELS: usize = 1000;

/// Bytes of a path with its NUL, for the kernel.
const PATH_MAX: usize = 4096;

fn listed(dir: &Path) -> BTreeSet<Vec<u8>> {
    let entries = fs::read_dir(dir).expect("it can be listed");
    entries
        .map(|e| e.expect("the listing goes on").file_name().into_vec())
        .collect()
}

/// Names of one byte, each byte at both ends and in the middle, and runs of all of them.
fn odd_names() -> BTreeSet<Vec<u8>> {
    let legal: Vec<u8> = (1..=255).filter(|b| *b != b'/').collect();
    let mut names = BTreeSet::new();
    for b in &legal {
        names.insert(vec![*b]);
        names.insert(vec![*b, *b]);
        names.insert(vec![b'x', *b]);
        names.insert(vec![*b, b'x']);
        names.insert([&[b'n'; 127][..], &[*b], &[b'n'; 127]].concat());
        // Of 255 bytes, different in the last one only.
        names.insert([&[b'e'; 254][..], &[*b]].concat());
    }
    names.insert(legal.clone());
    names.insert(legal.iter().rev().copied().collect());
    names.remove(&b"."[..]);
    names.remove(&b".."[..]);
    names
}

#[test]
fn names_may_have_any_byte_and_length() {
    let v = TestVolume::new();
    let root = v.mount();
    let (dir, other) = (root.join("names"), root.join("other"));
    fs::create_dir(&dir).expect("mounted");
    fs::create_dir(&other).expect("mounted");
    let mut names = odd_names();
    names.extend((1..=255).map(|len| vec![b'L'; len]));
    for name in &names {
        fs::write(dir.join(OsStr::from_bytes(name)), name).expect("a legal name");
    }
    assert!(listed(&dir) == names, "the names are others");
    v.remount();
    assert!(listed(&dir) == names, "the names are others");
    for name in &names {
        let name = OsStr::from_bytes(name);
        fs::rename(dir.join(name), other.join(name)).expect("kept");
    }
    assert!(listed(&dir).is_empty());
    assert!(listed(&other) == names, "the names are others");
    for name in &names {
        let path = other.join(OsStr::from_bytes(name));
        assert!(&fs::read(&path).expect("kept") == name);
        fs::remove_file(path).expect("kept");
    }
    assert!(listed(&other).is_empty());
    let long = root.join("x".repeat(256));
    let refused = File::create(long).expect_err("256 bytes");
    assert_eq!(refused.raw_os_error(), Some(libc::ENAMETOOLONG));
}

#[test]
fn paths_end_at_path_max() {
    let v = TestVolume::new();
    let root = v.mount();
    let mut dir = root.clone();
    let room = |dir: &Path| PATH_MAX - 1 - dir.as_os_str().len();
    while room(&dir) > 300 {
        dir.push("d".repeat(200));
        fs::create_dir(&dir).expect("a path below the limit");
    }
    dir.push("d".repeat(room(&dir) - 101));
    fs::create_dir(&dir).expect("a path below the limit");
    assert_eq!(room(&dir), 100);
    let last = dir.join("f".repeat(99));
    assert_eq!(last.as_os_str().len(), PATH_MAX - 1);
    fs::write(&last, "deep").expect("the longest path");
    let beyond = fs::write(dir.join("f".repeat(100)), "").expect_err("one byte more");
    assert_eq!(beyond.raw_os_error(), Some(libc::ENAMETOOLONG));
    // By a path of its own more is possible.
    shell(
        &dir,
        "echo x > gggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggggg",
        10,
    );
    v.remount();
    assert_eq!(fs::read_to_string(&last).expect("kept"), "deep");
}

fn down(dir: &OwnedFd, name: &str) -> rustix::io::Result<OwnedFd> {
    openat(
        dir,
        name,
        OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

fn open(dir: &Path) -> OwnedFd {
    openat(CWD, dir, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("it is there")
}

/// Returns the directory at the bottom of a deep tree.
fn bottom(dir: OwnedFd, name: &str) -> OwnedFd {
    (0..LEVELS).fold(dir, |dir, _| down(&dir, name).expect("one more level"))
}

#[test]
fn a_thousand_levels_deep() {
    let v = TestVolume::new();
    let root = v.mount();
    let name = "level-".repeat(40);
    let mode = Mode::RWXU;
    let start = Instant::now();
    let mut dir = open(&root);
    for _ in 0..LEVELS {
        mkdirat(&dir, &name, mode).expect("one more level");
        dir = down(&dir, &name).expect("one more level");
    }
    let made = start.elapsed();
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::CLOEXEC;
    let f = openat(&dir, "file", flags, Mode::RUSR).expect("a file");
    rustix::io::write(&f, b"at the bottom").expect("it is written");
    drop((f, dir));
    let root = v.remount();
    let start = Instant::now();
    let dir = bottom(open(&root), &name);
    let found = start.elapsed();
    let mut text = String::new();
    let f = openat(&dir, "file", OFlags::RDONLY, Mode::empty()).expect("kept");
    File::from(f).read_to_string(&mut text).expect("kept");
    assert_eq!(text, "at the bottom");
    // A directory never comes below itself, however far below.
    let top = open(&root);
    let loops = renameat(&top, &name, &dir, "loop");
    assert_eq!(loops, Err(Errno::INVAL));
    // The bottom goes up, the tree goes below what was its bottom.
    mkdirat(&dir, "moves", mode).expect("one more");
    renameat(&dir, "moves", &top, "moves").expect("up");
    let moves = down(&top, "moves").expect("moved");
    renameat(&top, &name, &moves, "below").expect("down");
    let start = Instant::now();
    for _ in 0..100 {
        mkdirat(&dir, "far", mode).expect("one more");
        renameat(&dir, "far", &top, "far").expect("up");
        renameat(&top, "far", &dir, "far").expect("down");
        unlinkat(&dir, "far", AtFlags::REMOVEDIR).expect("it is empty");
    }
    report(&format!(
        "{LEVELS} levels: made in {made:?}, entered in {found:?}, 200 renames through all of them in {:?}",
        start.elapsed()
    ));
    drop((dir, top, moves));
    assert_eq!(
        shell(&root, "find . -name file | wc -l; rm -r moves; ls -A", 60),
        "1\n"
    );
    assert!(listed(&v.remount()).is_empty());
}
