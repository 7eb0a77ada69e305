//! What is special to the RocksDB adapter: settings, recovery of its log, errors, space.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{delete, put};
use crate::kv::rocks::Rocks;
use crate::kv::small_disk::SmallDisk;
use crate::kv::{Access, Change, Family, Kv, KvError, KvRead};

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    found.sort();
    found
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in files(from) {
        std::fs::copy(&file, to.join(name(&file))).unwrap();
    }
}

fn count(kv: &Rocks) -> usize {
    let all = kv.scan(Family::Meta, &[0], &[0xff], usize::MAX).unwrap();
    all.len()
}

/// Reads the settings that the engine itself says it runs with, by section.
fn settings(dir: &Path) -> BTreeMap<String, BTreeMap<String, String>> {
    let newest = files(dir)
        .into_iter()
        .rfind(|f| name(f).starts_with("OPTIONS-"))
        .unwrap();
    let text = std::fs::read_to_string(newest).unwrap();
    let (mut sections, mut section) = (BTreeMap::new(), String::new());
    for line in text.lines().map(str::trim) {
        if let Some(head) = line.strip_prefix('[') {
            section = head.trim_end_matches(']').to_owned();
        } else if let Some((key, value)) = line.split_once('=') {
            let of: &mut BTreeMap<_, _> = sections.entry(section.clone()).or_default();
            of.insert(key.to_owned(), value.to_owned());
        }
    }
    sections
}

#[test]
fn the_engine_runs_with_the_settings_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let _kv = Rocks::open(dir.path(), Access::Create).unwrap();
    let found = settings(dir.path());
    let check = |section: &str, expected: &[(&str, &str)]| {
        for (key, value) in expected {
            let is = found.get(section).and_then(|s| s.get(*key));
            assert_eq!(is.map(String::as_str), Some(*value), "{section} {key}");
        }
    };
    check(
        "DBOptions",
        &[
            ("wal_recovery_mode", "kPointInTimeRecovery"),
            // Recycled logs were not tried with power cuts.
            ("recycle_log_file_num", "0"),
            ("max_total_wal_size", "25165824"),
            ("max_manifest_file_size", "0"),
            ("max_manifest_space_amp_pct", "0"),
            ("manual_wal_flush", "false"),
            ("use_fsync", "false"),
            ("unordered_write", "false"),
            ("paranoid_checks", "true"),
            ("max_background_jobs", "2"),
            ("stats_dump_period_sec", "0"),
        ],
    );
    for family in ["meta", "page"] {
        check(
            &format!("CFOptions \"{family}\""),
            &[
                ("write_buffer_size", "8388608"),
                ("max_write_buffer_number", "3"),
                ("compression", "kNoCompression"),
                ("target_file_size_base", "16777216"),
                ("memtable_op_scan_flush_trigger", "4096"),
            ],
        );
        check(
            &format!("TableOptions/BlockBasedTable \"{family}\""),
            &[
                ("filter_policy", "bloomfilter"),
                ("block_size", "4096"),
                ("cache_index_and_filter_blocks", "true"),
            ],
        );
    }
    check("CFOptions \"default\"", &[("write_buffer_size", "65536")]);
}

#[test]
fn a_store_can_be_open_once() {
    let dir = tempfile::tempdir().unwrap();
    let first = Rocks::open(dir.path(), Access::Create).unwrap();
    let second = Rocks::open(dir.path(), Access::ReadWrite);
    assert!(matches!(second.map(drop), Err(KvError::Busy)));
    drop(first);
    Rocks::open(dir.path(), Access::ReadWrite).unwrap();
}

#[test]
fn an_absent_store_is_only_created_when_asked() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("kv");
    for access in [Access::ReadWrite, Access::ReadOnly] {
        let refused = Rocks::open(&missing, access).map(drop);
        assert!(matches!(refused, Err(KvError::Engine { op: "open", .. })));
    }
    let kv = Rocks::open(&missing, Access::Create).unwrap();
    kv.write(vec![put(b"a", b"1")], true).unwrap();
    drop(kv);
    let kv = Rocks::open(&missing, Access::Create).unwrap();
    assert_eq!(count(&kv), 1);
}

#[test]
fn opened_for_reading_no_file_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (live, left) = (dir.path().join("live"), dir.path().join("left"));
    let kv = Rocks::open(&live, Access::Create).unwrap();
    kv.write(vec![put(b"a", b"1")], true).unwrap();
    // What a killed process leaves: everything is in the log only.
    copy(&live, &left);
    let state = |dir: &Path| -> Vec<_> {
        let stat = |f: PathBuf| {
            let m = std::fs::metadata(&f).unwrap();
            (f, m.len(), m.modified().unwrap())
        };
        files(dir).into_iter().map(stat).collect()
    };
    let before = state(&left);
    let kv = Rocks::open(&left, Access::ReadOnly).unwrap();
    assert!(kv.is_read_only());
    assert_eq!(kv.get(Family::Meta, b"a").unwrap(), Some(b"1".to_vec()));
    assert_eq!(
        kv.snapshot().unwrap().get(Family::Meta, b"a").unwrap(),
        Some(b"1".to_vec())
    );
    assert!(kv.write(vec![put(b"b", b"1")], true).is_err());
    drop(kv);
    assert_eq!(state(&left), before);
}

#[test]
fn a_log_cut_anywhere_leaves_whole_batches() {
    let dir = tempfile::tempdir().unwrap();
    let live = dir.path().join("live");
    let kv = Rocks::open(&live, Access::Create).unwrap();
    for n in 0..8_u8 {
        kv.write(vec![put(&[1, n], &[n; 90]), put(&[2, n], &[n; 90])], true)
            .unwrap();
    }
    let log = files(&live)
        .into_iter()
        .rfind(|f| name(f).ends_with(".log"))
        .unwrap();
    let len = std::fs::metadata(&log).unwrap().len();
    let (mut last, cut) = (0, dir.path().join("cut"));
    for keep in (0..len).step_by(29).chain([len]) {
        copy(&live, &cut);
        let shorter = std::fs::OpenOptions::new()
            .write(true)
            .open(cut.join(name(&log)))
            .unwrap();
        shorter.set_len(keep).unwrap();
        let found = count(&Rocks::open(&cut, Access::ReadWrite).unwrap());
        assert!(
            found.is_multiple_of(2) && found >= last,
            "{found} at {keep} of {len}"
        );
        last = found;
        std::fs::remove_dir_all(&cut).unwrap();
    }
    assert_eq!(last, 16);
}

/// Symptom: after a power cut a store does not open, "checksum mismatch ... MANIFEST may be corrupted".
/// The manifest was being extended: the first sector of the new record had reached the disk, the second
/// had not, and the engine takes that for damage.
#[test]
fn a_manifest_in_use_is_never_extended() {
    let dir = tempfile::tempdir().unwrap();
    let current = || {
        let named = std::fs::read_to_string(dir.path().join("CURRENT")).unwrap();
        dir.path().join(named.trim())
    };
    let kv = Rocks::open(dir.path(), Access::Create).unwrap();
    let mut before = current();
    for n in 0..8_u8 {
        let whole = std::fs::read(&before).unwrap();
        kv.write(vec![put(&[n], &[n; 100])], true).unwrap();
        kv.flush().unwrap();
        assert_ne!(current(), before, "each flush has its manifest");
        if let Ok(now) = std::fs::read(&before) {
            assert!(now == whole, "the manifest before is as it was");
        }
        before = current();
    }
}

#[test]
fn logs_and_manifests_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Rocks::open(dir.path(), Access::Create).unwrap();
    let mut worst = 0;
    for round in 0..60_u32 {
        // One family is written all the time, the other never: its part of the log must go too.
        kv.write(
            vec![Change::Put(Family::Page, vec![1], vec![7; 100])],
            false,
        )
        .unwrap();
        for n in 0..16_u32 {
            let key = (round % 4 * 16 + n).to_be_bytes();
            kv.write(vec![put(&key, &[9; 64 << 10])], false).unwrap();
        }
        let size = |f: &PathBuf| std::fs::metadata(f).map_or(0, |m| m.len());
        let logs = files(dir.path())
            .iter()
            .filter(|f| !name(f).ends_with(".sst"))
            .map(size)
            .sum();
        worst = worst.max(logs);
    }
    // The bound of the log, three write buffers that wait to be flushed, and small change.
    assert!(worst < 52 << 20, "{worst} bytes");
    kv.flush().unwrap();
    drop(kv);
    let kv = Rocks::open(dir.path(), Access::ReadWrite).unwrap();
    let names: Vec<_> = files(dir.path())
        .iter()
        .map(|f| name(f).to_owned())
        .collect();
    for (prefix, most) in [("LOG", 0), ("MANIFEST", 1), ("OPTIONS", 2)] {
        let there = names.iter().filter(|n| n.starts_with(prefix)).count();
        assert!(there <= most, "{prefix}: {names:?}");
    }
    drop(kv);
}

#[test]
fn memory_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Rocks::open(dir.path(), Access::Create).unwrap();
    let mut worst = 0;
    for n in 0..2000_u32 {
        let page = Change::Put(Family::Page, n.to_be_bytes().to_vec(), vec![1; 32 << 10]);
        kv.write(vec![page, put(&n.to_be_bytes(), &[1; 8 << 10])], false)
            .unwrap();
        worst = worst.max(kv.memory_bytes());
    }
    for n in 0..2000_u32 {
        kv.get(Family::Page, &n.to_be_bytes()).unwrap();
    }
    worst = worst.max(kv.memory_bytes());
    // The cache, and three write buffers of each family.
    assert!(worst <= (32 + 6 * 8 + 4) << 20, "{worst} bytes");
    assert!(worst > 8 << 20, "{worst} bytes");
}

/// Removals lay in memory until the write buffer was full, and what they removed stayed on the disk:
/// an emptied volume kept 200 MiB.
#[test]
fn what_was_removed_leaves_the_disk_soon_after_a_flush() {
    let dir = tempfile::tempdir().unwrap();
    let kv = Rocks::open(dir.path(), Access::Create).unwrap();
    let keys = || (0..20_000_u32).map(u32::to_be_bytes);
    let value = vec![1; 1000];
    kv.write(keys().map(|k| put(&k, &value)).collect(), true)
        .unwrap();
    kv.flush().unwrap();
    let stored_bytes = || -> u64 {
        let tables = files(dir.path())
            .into_iter()
            .filter(|f| name(f).ends_with(".sst"));
        tables
            .map(|f| std::fs::metadata(f).map_or(0, |m| m.len()))
            .sum()
    };
    assert!(stored_bytes() > 19 << 20);
    kv.write(keys().map(|k| delete(&k)).collect(), true)
        .unwrap();
    kv.flush_later();
    let begin = std::time::Instant::now();
    while stored_bytes() > 1 << 20 {
        assert!(begin.elapsed().as_secs() < 60, "{}", stored_bytes());
        std::thread::yield_now();
    }
}

#[test]
fn a_full_disk_has_its_own_error_and_an_end() {
    let disk = SmallDisk::new(48 << 20);
    let kv = Rocks::open(&disk.path().join("kv"), Access::Create).unwrap();
    kv.write(vec![put(b"before", b"")], true).unwrap();
    disk.fill();
    let piece = vec![1; 1 << 20];
    let full = (0..40_u8).find_map(|n| kv.write(vec![put(&[n], &piece)], true).err());
    assert!(
        matches!(full, Some(KvError::NoSpace { op: "write" })),
        "{full:?}"
    );
    assert!(kv.get(Family::Meta, b"before").unwrap().is_some());
    assert!(matches!(kv.recover(), Err(KvError::NoSpace { .. })));
    disk.relieve();
    let begin = std::time::Instant::now();
    while let Err(e) = kv.recover() {
        assert!(begin.elapsed().as_secs() < 60, "{e}");
        std::thread::yield_now();
    }
    kv.write(vec![put(b"after", b"")], true).unwrap();
    drop(kv);
    let kv = Rocks::open(&disk.path().join("kv"), Access::ReadWrite).unwrap();
    assert!(kv.get(Family::Meta, b"after").unwrap().is_some());
}
