//! Files at their limits: the largest offset, very many links, large xattrs, no name at all.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FallocateFlags, XattrFlags, fallocate, getxattr, listxattr, setxattr};
use rustix::io::Errno;

use crate::dice::Dice;
use crate::harness::{TestVolume, length, report, shell, until};

/// The largest size of a file: 8 EiB - 1.
const END: u64 = (1 << 63) - 1;

fn open(path: &Path) -> File {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    options.open(path).expect("mounted")
}

/// Returns up to `len` bytes; the kernel refuses a read that would end beyond the largest size.
fn read_at(f: &File, at: u64, len: u64) -> Vec<u8> {
    let len = len.min(END - at);
    let mut bytes = vec![0xff; usize::try_from(len).expect("a test's length")];
    let n = f.read_at(&mut bytes, at).expect("it can be read");
    bytes.truncate(n);
    bytes
}

fn used_bytes(v: &TestVolume) -> u64 {
    v.info()["used_bytes"].as_u64().expect("a number")
}

/// Asserts that what has no name left takes no room any more.
#[track_caller]
fn is_empty_soon(v: &TestVolume) {
    until("the room returns", Duration::from_secs(30), || {
        (used_bytes(v) == 0).then_some(())
    });
}

#[test]
fn a_file_of_8_eib() {
    let v = TestVolume::new();
    let path = v.mount().join("huge");
    let f = open(&path);
    f.write_all_at(b"end", END - 3).expect("the last bytes");
    f.write_all_at(b"begin", 0).expect("the first bytes");
    let beyond = f.write_all_at(b"x", END).expect_err("one byte more");
    assert_eq!(beyond.raw_os_error(), Some(libc::EINVAL));
    // Everywhere in between, also where a chunk, a group of chunks or a page begins.
    let mut dice = Dice::new(1);
    let mut spots: Vec<u64> = (0..60)
        .map(|n| (1_u64 << (n + 3)) - dice.below(4))
        .collect();
    spots.extend([1 << 62, (1 << 62) + (8 << 20) - 1, END - (1 << 20)]);
    for (n, at) in spots.iter().enumerate() {
        let byte = u8::try_from(n + 1).expect("few");
        f.write_all_at(&[byte], *at).expect("any offset");
    }
    f.sync_all().expect("it is durable");
    drop(f);
    v.remount();
    let f = open(&path);
    let about = f.metadata().expect("kept");
    assert_eq!(about.len(), END);
    assert!(about.blocks() * 512 < 64 << 20, "{} blocks", about.blocks());
    assert_eq!(read_at(&f, END - 4, 100), b"\0end");
    assert_eq!(read_at(&f, END, 10), b"");
    for (n, at) in spots.iter().enumerate().rev() {
        assert_eq!(
            read_at(&f, *at, 1),
            [u8::try_from(n + 1).expect("few")],
            "at {at}"
        );
    }
    assert!(read_at(&f, 3 << 60, 1 << 20).iter().all(|b| *b == 0));
    let mut at_end = &f;
    assert_eq!(at_end.seek(SeekFrom::End(0)).expect("seek"), END);
    assert_eq!(at_end.seek(SeekFrom::End(-3)).expect("seek"), END - 3);
    let mut rest = [0; 3];
    at_end.read_exact(&mut rest).expect("the tail");
    assert_eq!(&rest, b"end");
    // All of a file is data here, with a hole at its end.
    let seek = |from| rustix::fs::seek(&f, from);
    assert_eq!(seek(rustix::fs::SeekFrom::Data(1 << 60)), Ok(1 << 60));
    assert_eq!(seek(rustix::fs::SeekFrom::Hole(1 << 60)), Ok(END));
    assert_eq!(seek(rustix::fs::SeekFrom::Data(END)), Err(Errno::NXIO));
    let start = Instant::now();
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&f, punch, 5, END - 8).expect("a hole in all but its ends");
    assert_eq!(read_at(&f, 0, 6), b"begin\0");
    assert_eq!(read_at(&f, END - 4, 4), b"\0end");
    assert!(
        spots
            .iter()
            .skip(1)
            .take(59)
            .all(|at| read_at(&f, *at, 1) == [0])
    );
    f.set_len(1 << 62).expect("shorter");
    f.set_len(END).expect("as long as before");
    assert_eq!(read_at(&f, END - 3, 3), [0; 3]);
    f.set_len(2).expect("a small file");
    assert_eq!(read_at(&f, 0, 10), b"be");
    let took = start.elapsed();
    f.set_len(END).expect("and large again");
    drop(f);
    fs::remove_file(&path).expect("kept");
    is_empty_soon(&v);
    report(&format!("8 EiB - 1: punched and cut in {took:?}"));
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn very_many_links() {
    let count = length(6_000, 60_000);
    let v = TestVolume::new();
    let root = v.mount();
    let path = root.join("file");
    fs::write(&path, "shared").expect("mounted");
    let name = |n: u32| root.join(format!("d{}", n % 10)).join(format!("link{n}"));
    (0..10).for_each(|d| fs::create_dir(root.join(format!("d{d}"))).expect("mounted"));
    let start = Instant::now();
    (1..count).for_each(|n| fs::hard_link(&path, name(n)).expect("one more link"));
    let linked = start.elapsed();
    v.remount();
    let links = || fs::metadata(&path).expect("kept").nlink();
    assert_eq!(links(), u64::from(count));
    assert_eq!(fs::read_to_string(name(count - 1)).expect("kept"), "shared");
    let tenth = usize::try_from(count / 10).expect("few");
    (0..10).for_each(|d| {
        let listed = fs::read_dir(root.join(format!("d{d}")))
            .expect("kept")
            .count();
        assert_eq!(listed, tenth - usize::from(d == 0));
    });
    let start = Instant::now();
    (1..count).for_each(|n| fs::remove_file(name(n)).expect("kept"));
    report(&format!(
        "{count} links: made in {linked:?}, removed in {:?}",
        start.elapsed()
    ));
    assert_eq!(links(), 1);
    assert_eq!(fs::read_to_string(&path).expect("kept"), "shared");
}

#[test]
fn xattrs_up_to_their_limits() {
    let v = TestVolume::new();
    let root = v.mount();
    let flags = XattrFlags::empty();
    let path = root.join("f");
    fs::write(&path, "x").expect("mounted");
    let value = |seed: u64, len: usize| -> Vec<u8> {
        let mut dice = Dice::new(seed);
        (0..len)
            .map(|_| u8::try_from(dice.below(256)).expect("a byte"))
            .collect()
    };
    let first = value(1, 64 << 10);
    setxattr(&path, "user.first", &first, flags).expect("64 KiB");
    let beyond = setxattr(&path, "user.beyond", &value(2, (64 << 10) + 1), flags);
    assert_eq!(beyond, Err(Errno::TOOBIG));
    // 128 KiB together: names and values.
    let rest = (128 << 10) - (64 << 10) - "user.first".len() - "user.rest".len();
    let second = value(3, rest - 300 - "user.".len() - 250);
    setxattr(&path, "user.rest", &second, flags).expect("it fits");
    let long = format!("user.{}", "n".repeat(250));
    let third = value(4, 300);
    setxattr(&path, &long, &third, flags).expect("it just fits");
    assert_eq!(setxattr(&path, "user.a", b"", flags), Err(Errno::NOSPC));
    let too_long = format!("user.{}", "n".repeat(251));
    assert_eq!(setxattr(&path, &too_long, b"", flags), Err(Errno::RANGE));
    v.remount();
    let get = |name: &str| {
        let mut value = vec![0; 65 << 10];
        getxattr(&path, name, &mut value).map(|n| value[..n].to_vec())
    };
    assert!(
        get("user.first").as_ref() == Ok(&first),
        "64 KiB have changed"
    );
    assert!(
        get("user.rest").as_ref() == Ok(&second),
        "the rest has changed"
    );
    assert!(
        get(&long).as_ref() == Ok(&third),
        "the long name's value has changed"
    );
    // A value is replaced by one as large, where there is room for one of them only.
    let again = value(5, 64 << 10);
    setxattr(&path, "user.first", &again, flags).expect("in the place of the old one");
    assert!(
        get("user.first").as_ref() == Ok(&again),
        "the new value has changed"
    );
    fs::remove_file(&path).expect("kept");
    v.remount();
    is_empty_soon(&v);
}

#[test]
fn very_many_small_xattrs() {
    let v = TestVolume::new();
    let many = v.mount().join("many");
    let flags = XattrFlags::empty();
    fs::write(&many, "x").expect("mounted");
    for n in 0..2000 {
        let name = format!("user.{n}");
        setxattr(&many, &name, name.as_bytes(), flags).expect("one more");
    }
    v.remount();
    let mut names = vec![0; 64 << 10];
    let len = listxattr(&many, &mut names).expect("the list");
    let listed = names[..len].split(|b| *b == 0).filter(|n| !n.is_empty());
    assert_eq!(listed.count(), 2000);
    for n in (0..2000).step_by(2) {
        rustix::fs::removexattr(&many, format!("user.{n}")).expect("kept");
    }
    let len = listxattr(&many, &mut names).expect("the list");
    assert_eq!(names[..len].iter().filter(|b| **b == 0).count(), 1000);
    fs::remove_file(&many).expect("kept");
    v.remount();
    is_empty_soon(&v);
}

/// A file without a name works until it is closed, over fsyncs of its own and of others; then its
/// room returns, also when the worker was killed or the volume unmounted meanwhile.
#[test]
fn open_files_without_a_name() {
    let v = TestVolume::new();
    let root = v.mount();
    let large = vec![7_u8; 3 << 20];
    let make = |name: &str| {
        let f = open(&root.join(name));
        f.write_all_at(&large, 0).expect("write");
        f.sync_all().expect("fsync");
        fs::remove_file(root.join(name)).expect("unlink");
        f.write_all_at(b"after", 100).expect("write without a name");
        f.sync_all().expect("fsync without a name");
        f
    };
    let files: Vec<File> = (0..20).map(|n| make(&format!("f{n}"))).collect();
    shell(
        &root,
        "mkdir d; cd d; rmdir ../d; ! echo x > f; ! mkdir e; ls -A",
        10,
    );
    let mut other = open(&root.join("other"));
    other.write_all(b"x").expect("write");
    other.sync_all().expect("fsync of another");
    for f in &files {
        assert_eq!(f.metadata().expect("it lives").nlink(), 0);
        assert_eq!(f.metadata().expect("it lives").len(), 3 << 20);
        assert_eq!(read_at(f, 98, 9), b"\x07\x07after\x07\x07");
        f.set_len(1 << 20).expect("it can be cut");
        f.write_all_at(b"more", 5 << 20).expect("it can grow");
        f.sync_all().expect("fsync");
        assert_eq!(read_at(f, 1 << 20, 4), [0; 4]);
        assert_eq!(read_at(f, 5 << 20, 9), b"more");
    }
    assert!(used_bytes(&v) > 20 << 20);
    assert_eq!(shell(&root, "ls -A", 10), "other\n");
    drop(files);
    until("their room returns", Duration::from_secs(30), || {
        (used_bytes(&v) < 1 << 20).then_some(())
    });
    // Gone after a kill, too.
    let files: Vec<File> = (0..5).map(|n| make(&format!("g{n}"))).collect();
    v.kill_worker();
    drop((files, other));
    v.mount();
    assert_eq!(shell(&root, "ls -A", 10), "other\n");
    until("their room returns", Duration::from_secs(30), || {
        (used_bytes(&v) < 1 << 20).then_some(())
    });
}

/// A rename over an open file: who has it open goes on with the old one, whoever opens it gets the
/// new one, whole.
#[test]
fn a_rename_over_an_open_file() {
    let v = TestVolume::new();
    let root = v.mount();
    let path = root.join("config");
    let mut held = Vec::new();
    for n in 0..50_u8 {
        fs::write(root.join("new"), vec![n; 200_000]).expect("a new version");
        fs::rename(root.join("new"), &path).expect("over the old one");
        held.push(open(&path));
        assert!(fs::read(&path).expect("kept") == vec![n; 200_000]);
    }
    for (n, f) in (0..50_u8).zip(&held) {
        assert!(
            read_at(f, 0, 300_000) == vec![n; 200_000],
            "version {n} has changed"
        );
        assert_eq!(f.metadata().expect("open").nlink(), u64::from(n == 49));
    }
    let newest = held.pop().expect("fifty of them");
    newest.sync_all().expect("it is durable, and its name");
    drop((held, newest));
    v.kill_worker();
    v.mount();
    assert!(fs::read(&path).expect("kept") == vec![49; 200_000]);
    until("old versions go", Duration::from_secs(30), || {
        (used_bytes(&v) < 1 << 20).then_some(())
    });
}
