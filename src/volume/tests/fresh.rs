//! A store or a header that is older than what was seen is not opened.

use super::*;

fn change(volume: &mut Volume<Open>, size_mib: u64) {
    volume.resize(Some(size_mib << 20)).expect("a commit");
}

#[test]
fn a_volume_keeps_what_was_changed() {
    let fixture = Fixture::new();
    let mut volume = fixture.open(Access::ReadWrite).expect("it opens");
    change(&mut volume, 7);
    let generation = volume.info().content.expect("content").generation;
    volume.close().expect("it closes");
    let volume = fixture.open(Access::ReadOnly).expect("it opens");
    let content = volume.info().content.expect("content");
    assert_eq!(content.size_bytes, Some(7 << 20));
    assert_eq!(content.label, "tests");
    assert!(content.generation >= generation);
    volume.close().expect("it closes");
}

#[test]
fn a_quota_below_the_smallest_is_refused() {
    let fixture = Fixture::new();
    let mut volume = fixture.open(Access::ReadWrite).expect("it opens");
    let refused = volume.resize(Some(1)).expect_err("refused");
    assert_eq!(refused.kind(), Kind::Usage);
    volume.close().expect("it closes");
}

#[test]
fn an_older_copy_is_refused_in_the_same_boot() {
    let fixture = Fixture::new();
    let old = fixture.path().join("old");
    copy_dir(&fixture.dir(), &old);
    let mut volume = fixture.open(Access::ReadWrite).expect("it opens");
    change(&mut volume, 7);
    volume.close().expect("it closes");
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let refused = fixture
            .open_at(&old, access)
            .map(drop)
            .expect_err("refused");
        assert!(matches!(refused, VolumeError::Rollback { .. }), "{refused}");
        assert_eq!(refused.kind(), Kind::Integrity);
        assert_eq!(refused.code().as_deref(), Some("C-ROLLBACK"));
    }
    // The newest one still opens.
    fixture
        .open(Access::ReadWrite)
        .expect("it opens")
        .close()
        .expect("it closes");
}

#[test]
fn what_was_synced_before_a_kill_must_come_back() {
    let fixture = Fixture::new();
    let mut volume = fixture.open(Access::ReadWrite).expect("it opens");
    change(&mut volume, 7);
    let old = fixture.path().join("old");
    copy_dir(&fixture.dir(), &old);
    change(&mut volume, 8);
    // No close: what the runtime directory says was written by the commit itself.
    drop(volume);
    let refused = fixture.open_at(&old, Access::ReadOnly).map(drop);
    assert!(matches!(refused, Err(VolumeError::Rollback { .. })));
}

#[test]
fn an_old_header_is_refused() {
    let fixture = Fixture::new();
    let volume = fixture.open(Access::ReadWrite).expect("it opens");
    volume.set_header_seq(9).expect("a commit");
    volume.close().expect("it closes");
    let refused = fixture
        .open(Access::ReadWrite)
        .map(drop)
        .expect_err("refused");
    assert!(
        matches!(refused, VolumeError::HeaderRollback { found: 1, seen: 9 }),
        "{refused}"
    );
    assert_eq!(refused.code().as_deref(), Some("C-ROLLBACK"));
}

#[test]
fn a_copy_is_not_opened_beside_its_original() {
    let fixture = Fixture::new();
    let copy = fixture.path().join("copy");
    copy_dir(&fixture.dir(), &copy);
    let volume = fixture.open(Access::ReadWrite).expect("it opens");
    let refused = fixture.open_at(&copy, Access::ReadOnly).map(drop);
    assert!(matches!(refused, Err(VolumeError::CopyInUse { .. })));
    volume.close().expect("it closes");
    let volume = fixture.open_at(&fixture.dir(), Access::ReadOnly);
    volume.expect("it opens").close().expect("it closes");
}

#[test]
fn a_wrong_secret_leaves_the_volume_free() {
    let fixture = Fixture::new();
    let wrong = SecretBytes::copy_of(b"another passphrase").expect("locked memory");
    let locked = Volume::<Locked>::open(&fixture.dir()).expect("a volume");
    let refused = locked.unlock_in(&fixture.runtime(), &wrong, Access::ReadWrite);
    assert_eq!(
        refused.map(drop).expect_err("refused").kind(),
        Kind::WrongSecret
    );
    fixture
        .open(Access::ReadWrite)
        .expect("it opens")
        .close()
        .expect("it closes");
}

/// Returns name, size and time of change of every file below `dir`.
fn states(dir: &Path) -> Vec<(PathBuf, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        let m = path.metadata().expect("a file");
        if m.is_dir() {
            found.extend(states(&path));
        } else {
            found.push((path, m.len(), m.modified().expect("a time")));
        }
    }
    found.sort();
    found
}

#[test]
fn opening_for_reading_changes_no_file_but_the_lock() {
    let fixture = Fixture::new();
    let others = |dir: &Path| {
        let mut all = states(dir);
        all.retain(|(path, ..)| !path.ends_with("lock"));
        all
    };
    let before = others(&fixture.dir());
    let mut volume = fixture.open(Access::ReadOnly).expect("it opens");
    let refused = volume.resize(Some(9 << 20)).expect_err("refused");
    assert_eq!(refused.kind(), Kind::Policy, "{refused}");
    volume.close().expect("it closes");
    assert_eq!(others(&fixture.dir()), before);
}

#[test]
fn a_directory_that_is_no_volume_is_told_apart() {
    let temp = tempfile::tempdir().expect("a directory");
    let open = |path: &Path| Volume::<Locked>::open(path).map(drop).expect_err("refused");
    let file = temp.path().join("file");
    std::fs::write(&file, "").expect("a file");
    assert!(matches!(open(temp.path()), VolumeError::NotAVolume { .. }));
    assert!(matches!(open(&file), VolumeError::NotDirectory { .. }));
    let absent = temp.path().join("absent");
    assert!(matches!(open(&absent), VolumeError::Missing { .. }));
}
