//! Contents through the kernel: its cache, direct I/O, ranges, files without a name.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, symlink};
use std::process::Command;

use rustix::fs::{FallocateFlags, copy_file_range, fallocate};

use super::served::Served;
use crate::base::AlignedBuf;

/// Bytes that differ from place to place.
fn pattern(len: usize) -> Vec<u8> {
    let words = (0_u32..).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes());
    words.take(len).collect()
}

/// Makes the kernel forget what it has cached of clean files.
fn drop_caches() {
    fs::write("/proc/sys/vm/drop_caches", "3").expect("root may");
}

#[test]
fn contents_survive_the_kernels_cache_and_a_remount() {
    let m = Served::new();
    let sizes = [0, 1, 4095, 4096, 4097, 16 << 10, 100_000, 3 << 20];
    for (i, size) in sizes.into_iter().enumerate() {
        fs::write(m.path(&format!("f{i}")), pattern(size)).unwrap();
    }
    let check = |m: &Served| {
        for (i, size) in sizes.into_iter().enumerate() {
            let read = fs::read(m.path(&format!("f{i}"))).unwrap();
            assert!(read == pattern(size), "{size} bytes");
        }
    };
    check(&m);
    rustix::fs::sync();
    drop_caches();
    check(&m);
    let m = m.remount();
    check(&m);
}

#[test]
fn direct_io_and_the_cache_see_the_same_file() {
    let m = Served::new();
    let direct = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_DIRECT)
        .open(m.path("f"))
        .unwrap();
    let content = pattern(1 << 20);
    let mut aligned = AlignedBuf::with_capacity(1 << 20);
    aligned.append(&content);
    direct.write_all_at(&aligned, 0).unwrap();
    assert!(fs::read(m.path("f")).unwrap() == content);
    let cached = OpenOptions::new().write(true).open(m.path("f")).unwrap();
    cached.write_all_at(b"through the cache", 5000).unwrap();
    let mut back = vec![0; 32 << 10];
    direct.read_exact_at(&mut back, 0).unwrap();
    assert_eq!(&back[5000..5017], b"through the cache");
}

#[test]
fn appends_of_two_descriptors_lie_behind_each_other() {
    let m = Served::new();
    let open = || {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        options.open(m.path("log")).unwrap()
    };
    let (mut a, mut b) = (open(), open());
    for _ in 0..1000 {
        a.write_all(b"aa").unwrap();
        b.write_all(b"bb").unwrap();
    }
    assert_eq!(fs::read(m.path("log")).unwrap(), b"aabb".repeat(1000));
}

#[test]
fn a_file_without_a_name_lives_as_long_as_it_is_open() {
    let m = Served::new();
    let mut f = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .open(m.path("f"))
        .unwrap();
    f.write_all(b"before").unwrap();
    fs::remove_file(m.path("f")).unwrap();
    f.write_all(b" and after").unwrap();
    f.sync_all().unwrap();
    drop_caches();
    let mut read = String::new();
    f.seek(SeekFrom::Start(0)).unwrap();
    f.read_to_string(&mut read).unwrap();
    assert_eq!(read, "before and after");
    assert_eq!(f.metadata().unwrap().nlink(), 0);
}

#[test]
fn a_rename_over_an_open_file_leaves_the_old_one_to_its_reader() {
    let m = Served::new();
    fs::write(m.path("old"), "old").unwrap();
    let mut reader = File::open(m.path("old")).unwrap();
    fs::write(m.path("new"), "new").unwrap();
    fs::rename(m.path("new"), m.path("old")).unwrap();
    assert_eq!(fs::read(m.path("old")).unwrap(), b"new");
    drop_caches();
    let mut read = String::new();
    reader.read_to_string(&mut read).unwrap();
    assert_eq!(read, "old");
}

#[test]
fn ranges_are_allocated_punched_and_copied() {
    let m = Served::new();
    let content = pattern(200_000);
    fs::write(m.path("f"), &content).unwrap();
    let f = OpenOptions::new()
        .read(true)
        .write(true)
        .open(m.path("f"))
        .unwrap();
    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    fallocate(&f, punch, 10_000, 50_000).unwrap();
    fallocate(&f, FallocateFlags::empty(), 0, 300_000).unwrap();
    let mut expected = content;
    expected[10_000..60_000].fill(0);
    expected.resize(300_000, 0);
    assert!(fs::read(m.path("f")).unwrap() == expected);
    let to = File::create(m.path("copy")).unwrap();
    let (mut at, mut left) = (0, 300_000);
    while left > 0 {
        let copied = copy_file_range(&f, Some(&mut at), &to, None, left).unwrap();
        assert!(copied > 0);
        left -= copied;
    }
    drop_caches();
    assert!(fs::read(m.path("copy")).unwrap() == expected);
}

#[test]
fn mappings_are_read_and_written() {
    let m = Served::new();
    let script = "
import mmap, os, sys
f = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(f, 50000)
m = mmap.mmap(f, 50000)
m[20000:20006] = b'mapped'
assert os.pread(f, 6, 20000) == b'mapped'
os.pwrite(f, b'written', 30000)
assert m[30000:30007] == b'written'
m.flush()
";
    let status = Command::new("python3")
        .args(["-c", script])
        .arg(m.path("f"))
        .status()
        .expect("python3 is installed");
    assert!(status.success());
    let m = m.remount();
    let read = fs::read(m.path("f")).unwrap();
    assert_eq!(read.len(), 50_000);
    assert_eq!(&read[20_000..20_006], b"mapped");
    assert_eq!(&read[30_000..30_007], b"written");
}

#[test]
fn links_of_both_sorts_lead_to_the_file() {
    let m = Served::new();
    fs::write(m.path("f"), "x").unwrap();
    fs::hard_link(m.path("f"), m.path("hard")).unwrap();
    symlink("hard", m.path("soft")).unwrap();
    let m = m.remount();
    assert_eq!(fs::read(m.path("soft")).unwrap(), b"x");
    assert_eq!(fs::metadata(m.path("f")).unwrap().nlink(), 2);
    let target = fs::read_link(m.path("soft")).unwrap();
    assert_eq!(target.to_str(), Some("hard"));
}

/// Names that stay must be listed once each, whatever comes and goes beside them.
#[test]
fn a_listing_is_steady_while_names_come_and_go() {
    let m = Served::new();
    for i in 0..3000 {
        File::create(m.path(&format!("stays{i}"))).unwrap();
    }
    let listing = fs::read_dir(m.dir()).unwrap();
    let mut seen = std::collections::HashMap::new();
    for (i, entry) in listing.enumerate() {
        File::create(m.path(&format!("comes{i}"))).unwrap();
        if i % 2 == 0 {
            fs::remove_file(m.path(&format!("comes{}", i / 2))).unwrap();
        }
        let name = entry.unwrap().file_name().into_string().unwrap();
        *seen.entry(name).or_insert(0) += 1;
        assert!(i < 10_000, "the listing ends");
    }
    for i in 0..3000 {
        assert_eq!(seen.get(&format!("stays{i}")), Some(&1), "stays{i}");
    }
}
