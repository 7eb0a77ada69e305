//! Nothing is found where nothing is wrong.

use super::volume::{CHUNK, ROOT, Volume, noise, wait, write, write_at};
use crate::base::Ino;
use crate::maint::{CheckError, CheckOptions, Phase, Target, check};

#[test]
fn an_empty_volume_is_clean() {
    let report = Volume::empty().check_data();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.looked.inodes, 1);
    assert_eq!(report.looked.records, 2);
}

#[test]
fn a_volume_with_something_of_every_kind_is_clean_and_counted() {
    let volume = Volume::filled();
    let report = volume.check_data();
    assert!(report.is_clean(), "{:?}", report.findings);
    let looked = report.looked;
    assert_eq!(looked.inodes, 12);
    assert_eq!(looked.directories, 4);
    assert_eq!(looked.names, 12);
    assert_eq!(looked.records, volume.dump().len() as u64 - 1);
    assert!(looked.data_bytes > 12 * CHUNK as u64, "{looked:?}");
    assert!(report.generation.is_some());
    // Without the contents no block is read.
    assert_eq!(volume.check().looked.data_bytes, 0);
}

#[test]
fn a_check_changes_nothing() {
    let volume = Volume::filled();
    let before = volume.dump();
    volume.check_data();
    assert!(before == volume.dump());
}

/// What a crash leaves is no damage: orphans, a truncation in progress, bytes that no commit names.
#[test]
fn what_a_crash_leaves_is_clean() {
    let volume = Volume::filled();
    let (fs, txn) = volume.open();
    let huge = write(&fs, Ino::ROOT, b"huge", b"x");
    for n in 0..8 {
        write_at(&fs, huge, n * 64 * CHUNK as u64, &noise(n, CHUNK));
    }
    let held = write(&fs, Ino::ROOT, b"held", &noise(20, 3 * CHUNK));
    fs.lookup(Ino::ROOT, b"held").unwrap();
    fs.unlink(Ino::ROOT, b"held").unwrap();
    let set = crate::fs::SetAttr {
        size_bytes: Some(10),
        ..crate::fs::SetAttr::default()
    };
    wait(|done| fs.setattr(ROOT, huge, &set, done)).unwrap();
    txn.commit_wait().unwrap();
    // The snapshot is that of a crash at this point, whatever is done behind it.
    let report = volume.check_data();
    assert!(report.is_clean(), "{:?}", report.findings);
    assert!(report.looked.inodes >= 13, "{held} is still there");
    fs.shutdown().unwrap();
    assert!(volume.check_data().is_clean());
}

#[test]
fn whoever_watches_learns_of_both_phases_and_can_stop_it() {
    let volume = Volume::filled();
    let (records, packs) = (volume.records(), volume.sealed_packs());
    let target = Target {
        records: &records,
        packs: &packs,
        chunk_bytes: u32::try_from(CHUNK).unwrap(),
    };
    let options = CheckOptions { read_data: true };
    let seen = crate::base::sync::Mutex::new(Vec::new());
    let watch = |p: crate::maint::Progress| {
        assert!(p.done <= p.total);
        seen.lock().push(p.phase);
        true
    };
    let report = check(target, options, &watch).unwrap();
    assert!(report.is_clean());
    let seen = seen.into_inner();
    assert!(seen.contains(&Phase::Records) && seen.contains(&Phase::Data));
    let stopped = check(target, options, &|p| p.phase == Phase::Records);
    assert!(matches!(stopped, Err(CheckError::Stopped)));
}

#[test]
fn every_finding_is_described() {
    let described = include_str!("../../../docs/FINDINGS.md");
    for code in crate::maint::Code::ALL {
        let severity = format!("{:?}", code.severity()).to_lowercase();
        let row = format!("| {code} | {severity} | ");
        assert!(described.contains(&row), "{row}");
    }
}
