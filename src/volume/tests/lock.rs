//! One process at a time, and whoever is refused learns who holds it.

use super::*;
use crate::volume::lock::Lock;

#[test]
fn the_second_one_learns_who_holds_the_volume() {
    let fixture = Fixture::new();
    let volume = fixture.open(Access::ReadWrite).expect("it opens");
    volume.mounted_on(Path::new("/srv/data"));
    let refused = fixture
        .open(Access::ReadOnly)
        .map(drop)
        .expect_err("refused");
    let VolumeError::InUse(holder) = &refused else {
        panic!("{refused}");
    };
    assert_eq!(holder.pid, std::process::id());
    assert_eq!(holder.mount_point.as_deref(), Some(Path::new("/srv/data")));
    assert!(!holder.boot_id.is_empty());
    assert_eq!(refused.kind(), Kind::InUse);
    assert!(refused.to_string().contains("mounted on /srv/data"));
    volume.close().expect("it closes");
    fixture
        .open(Access::ReadWrite)
        .expect("it opens")
        .close()
        .expect("it closes");
}

#[test]
fn the_text_of_a_dead_holder_is_no_obstacle() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("lock");
    let text = r#"{"pid":1,"host":"h","boot_id":"b","mount_point":"/mnt/a-path-much-longer"}"#;
    std::fs::write(&path, text.repeat(9)).expect("a file");
    let lock = Lock::take(&path, Access::ReadWrite).expect("it is free");
    let told = std::fs::read(&path).expect("a file");
    let holder: Holder = serde_json::from_slice(&told).expect("one description");
    assert_eq!(holder.pid, std::process::id());
    drop(lock);
    assert_eq!(std::fs::read(&path).expect("a file"), b"");
}

#[test]
fn a_holder_that_says_nothing_is_another_process() {
    let temp = tempfile::tempdir().expect("a directory");
    let path = temp.path().join("lock");
    let lock = Lock::take(&path, Access::ReadWrite).expect("it is free");
    std::fs::write(&path, "nonsense").expect("a file");
    let refused = Lock::take(&path, Access::ReadWrite)
        .map(drop)
        .expect_err("refused");
    assert!(refused.to_string().contains("another process"), "{refused}");
    drop(lock);
}

#[test]
fn a_link_in_place_of_the_lock_is_not_followed() {
    let temp = tempfile::tempdir().expect("a directory");
    let target = temp.path().join("target");
    std::fs::write(&target, "precious").expect("a file");
    let path = temp.path().join("lock");
    std::os::unix::fs::symlink(&target, &path).expect("a link");
    assert!(Lock::take(&path, Access::ReadWrite).is_err());
    assert_eq!(std::fs::read(&target).expect("a file"), b"precious");
}
