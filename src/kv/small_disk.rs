//! A small file system for tests, which can really be full.

use std::io::Write;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// A file system of its own; gone with the guard.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Mounts an empty file system. Needs root.
    pub fn new(bytes: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let size = std::ffi::CString::new(format!("size={bytes}")).unwrap();
        let none = MountFlags::empty();
        mount("coffer-test", dir.path(), "tmpfs", none, size.as_c_str())
            .expect("tests that mount run as root");
        Self(dir)
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Takes all the space that is left.
    pub fn fill(&self) {
        let mut ballast = std::fs::File::create(self.ballast()).unwrap();
        while ballast.write_all(&[1; 4096]).is_ok() {}
    }

    /// Gives the space back that [`Self::fill`] has taken.
    pub fn relieve(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(self.path(), UnmountFlags::DETACH);
    }
}
