//! An ext4 file system in a file: what a test compares a mount with.

use std::path::{Path, PathBuf};

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
            "chmod 755 .; truncate -s {mib}M image; mkfs.ext4 -q -b 4096 -I 256 -m 0 image; mkdir mnt
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

/// Asserts that a script, run in a new directory of each, prints the same; returns what.
#[track_caller]
pub fn same_output(coffer: &Path, ext4: &Path, name: &str, script: &str) -> String {
    let print = |root: &Path| {
        let dir = root.join("case");
        std::fs::create_dir(&dir).expect("the mount takes a directory");
        let printed = shell(&dir, &format!("{script}\nexit 0"), 300);
        shell(root, "rm -rf case", 60);
        printed
    };
    let (ours, theirs) = (print(coffer), print(ext4));
    let line = ours.lines().zip(theirs.lines()).position(|(a, b)| a != b);
    if ours != theirs {
        let line = line.unwrap_or(ours.lines().count().min(theirs.lines().count()));
        let around = |text: &str| {
            let from = line.saturating_sub(25);
            let lines: Vec<&str> = text.lines().skip(from).take(line - from + 5).collect();
            lines.join("\n")
        };
        panic!(
            "{name}: line {line} differs\n-- coffer:\n{}\n-- ext4:\n{}",
            around(&ours),
            around(&theirs)
        );
    }
    ours
}
