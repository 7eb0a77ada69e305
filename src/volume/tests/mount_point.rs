//! Every directory that cannot be a mount point has its own answer.

use super::*;
use crate::volume::mount_point::{Found, look};

fn problem(dir: &Path, volume: &Path) -> MountPointProblem {
    match look(dir, volume) {
        Err(VolumeError::MountPoint { problem, .. }) => problem,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_empty_directory_is_one() {
    let temp = tempfile::tempdir().expect("a directory");
    let (volume, dir) = (temp.path().join("volume"), temp.path().join("dir"));
    std::fs::create_dir(&volume).expect("a directory");
    std::fs::create_dir(&dir).expect("a directory");
    let absolute = dir.canonicalize().expect("a path");
    assert_eq!(look(&dir, &volume).expect("ready"), Found::Ready(absolute));
    // A name that is a prefix of the other is not a parent of it.
    let similar = temp.path().join("volume2");
    std::fs::create_dir(&similar).expect("a directory");
    assert!(matches!(look(&similar, &volume), Ok(Found::Ready(_))));
}

#[test]
fn others_are_refused() {
    use MountPointProblem as P;
    let temp = tempfile::tempdir().expect("a directory");
    let at = |name: &str| temp.path().join(name);
    let volume = at("outer/volume");
    for dir in ["outer/volume/kv", "full/sub"] {
        std::fs::create_dir_all(at(dir)).expect("a directory");
    }
    std::fs::write(at("file"), "").expect("a file");
    std::os::unix::fs::symlink(at("full/sub"), at("link")).expect("a link");
    let cases = [
        (at("absent"), P::Missing),
        (at("absent/deeper"), P::Missing),
        (at("file"), P::NotDirectory),
        (at("link"), P::Symlink),
        (at("full"), P::NotEmpty),
        (at("outer/volume"), P::InsideVolume),
        (at("outer/volume/kv"), P::InsideVolume),
        (at("outer"), P::HoldsVolume),
        (PathBuf::from("/proc"), P::Mounted),
    ];
    for (dir, expected) in cases {
        assert_eq!(problem(&dir, &volume), expected, "{}", dir.display());
    }
}

#[test]
fn a_link_in_the_parents_does_not_hide_the_volume() {
    let temp = tempfile::tempdir().expect("a directory");
    let volume = temp.path().join("volume");
    std::fs::create_dir_all(volume.join("kv")).expect("a directory");
    let link = temp.path().join("link");
    std::os::unix::fs::symlink(&volume, &link).expect("a link");
    let found = problem(&link.join("kv"), &volume);
    assert_eq!(found, MountPointProblem::InsideVolume);
}
