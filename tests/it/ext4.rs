//! An ext4 file system in a file: what a test compares a mount with.

use std::path::PathBuf;

use crate::harness::shell;

/// An ext4 file system, mounted as long as this lives.
pub struct Ext4 {
    dir: tempfile::TempDir,
}

impl Ext4 {
    /// Makes and mounts a file system of `mib` MiB; the file below it is sparse.
    #[track_caller]
    pub fn new(mib: u32) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("coffer-ext4-")
            .tempdir()
            .expect("a directory for the test");
        let script = format!(
            "truncate -s {mib}M image; mkfs.ext4 -q -I 256 -m 0 image; mkdir mnt
            mount -o loop,user_xattr,acl image mnt; rmdir mnt/lost+found"
        );
        shell(dir.path(), &script, 60);
        Self { dir }
    }

    /// Returns the mount point.
    pub fn root(&self) -> PathBuf {
        self.dir.path().join("mnt")
    }
}

impl Drop for Ext4 {
    fn drop(&mut self) {
        let script = "if mountpoint -q mnt; then umount mnt || umount -l mnt; fi";
        shell(self.dir.path(), script, 60);
    }
}
