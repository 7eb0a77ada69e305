//! The rules for key files, each broken once.

use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;

use super::*;

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::create_dir(dir.path().join("volume")).expect("a volume");
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn file(&self, name: &str, bytes: &[u8], mode: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, bytes).expect("a file");
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, mode).expect("its mode");
        path
    }

    fn read(&self, path: &Path) -> Result<SecretBytes, KeysError> {
        read_key_file(path, &self.path("volume"))
    }

    fn fault(&self, path: &Path) -> Option<KeyFileFault> {
        match self.read(path) {
            Ok(_) => None,
            Err(e @ KeysError::KeyFile { fault, .. }) => {
                assert_eq!(e.kind(), ErrorKind::Policy);
                assert!(e.to_string().starts_with("C-PERM: "), "{e}");
                Some(fault)
            }
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn a_private_file_of_our_own_is_read() {
    let place = Place::new();
    for mode in [0o400, 0o600, 0o700] {
        let path = place.file("key", KEY, mode);
        let read = place.read(&path).expect("a key");
        assert_eq!(read, secret(KEY));
    }
    let longest = place.file("long", &[1; 64 << 10], 0o600);
    let read = place.read(&longest).expect("a key");
    assert_eq!(read.len(), SecretBytes::MAX_BYTES);
}

#[test]
fn a_file_open_to_others_is_refused() {
    let place = Place::new();
    for mode in [0o640, 0o604, 0o610, 0o601, 0o620, 0o602] {
        let path = place.file("key", KEY, mode);
        assert_eq!(place.fault(&path), Some(KeyFileFault::Mode { mode }));
    }
}

#[test]
fn a_file_of_someone_else_is_refused() {
    let place = Place::new();
    let path = place.file("key", KEY, 0o600);
    // Only root can give a file away; anyone else has none to try.
    if chown(&path, Some(12_345), None).is_ok() {
        let uid = 12_345;
        assert_eq!(place.fault(&path), Some(KeyFileFault::Owner { uid }));
    }
}

#[test]
fn what_is_no_regular_file_is_refused() {
    let place = Place::new();
    let key = place.file("key", KEY, 0o600);
    symlink(&key, place.path("link")).expect("a symlink");
    assert_eq!(
        place.fault(&place.path("link")),
        Some(KeyFileFault::Symlink)
    );
    let not_regular = Some(KeyFileFault::NotRegular);
    assert_eq!(place.fault(&place.path("volume")), not_regular);
    assert_eq!(place.fault(Path::new("/dev/null")), not_regular);
    let pipe = place.path("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RWXU).expect("a pipe");
    assert_eq!(place.fault(&pipe), not_regular);
    let socket = place.path("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
    assert_eq!(place.fault(&socket), not_regular);
}

#[test]
fn a_file_too_long_for_a_key_is_refused() {
    let place = Place::new();
    let path = place.file("key", &[1; (64 << 10) + 1], 0o600);
    assert_eq!(place.fault(&path), Some(KeyFileFault::TooLong));
}

#[test]
fn a_file_inside_the_volume_is_refused_by_any_name() {
    let place = Place::new();
    std::fs::create_dir(place.path("volume/deep")).expect("a directory");
    let inside = place.file("volume/deep/key", KEY, 0o600);
    assert_eq!(place.fault(&inside), Some(KeyFileFault::InsideVolume));
    symlink(place.path("volume"), place.path("alias")).expect("a symlink");
    let alias = place.path("alias/deep/../deep/key");
    assert_eq!(place.fault(&alias), Some(KeyFileFault::InsideVolume));
    symlink(place.path("volume/deep"), place.path("deep")).expect("a symlink");
    let deep = place.path("deep/key");
    assert_eq!(place.fault(&deep), Some(KeyFileFault::InsideVolume));
    let absent = place.path("absent");
    std::fs::create_dir(place.path("volume-2")).expect("a directory");
    let beside = place.file("volume-2/key", KEY, 0o600);
    assert_eq!(place.fault(&beside), None);
    // A volume that is yet to be made holds nothing.
    read_key_file(&beside, &absent).expect("a key");
}

#[test]
fn a_missing_file_is_named() {
    let place = Place::new();
    let e = place.read(&place.path("absent")).expect_err("no file");
    assert_eq!(e.kind(), ErrorKind::Failure);
    assert!(e.to_string().contains("absent"), "{e}");
}
