//! A full disk below the volume: an error for the writer, and nothing lost that fsync has reported.

mod points;

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::{Outcome, PASSPHRASE, coffer, run, shell, until};

/// A small file system with a volume on it.
struct SmallDisk {
    dir: tempfile::TempDir,
}

impl SmallDisk {
    fn new(mib: u32) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("coffer-full-")
            .tempdir()
            .expect("a directory for the test");
        let script = format!(
            "truncate -s {mib}M image; mkfs.ext4 -q -m 0 image; mkdir disk mnt; mount -o loop image disk
            echo '{PASSPHRASE}' > secret; chmod 600 secret"
        );
        shell(dir.path(), &script, 60);
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn coffer(&self, args: &[&str], paths: &[&str]) -> Outcome {
        let mut c = coffer([args[0]]);
        if ["init", "mount"].contains(&args[0]) {
            c.arg("--secret");
            c.arg(format!("file:{}", self.path("secret").display()));
        }
        c.args(&args[1..]);
        c.args(paths.iter().map(|p| self.path(p)));
        run(&c, 60)
    }

    fn mount(&self) -> PathBuf {
        self.coffer(&["mount"], &["disk/volume", "mnt"]).ok();
        self.path("mnt")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let script =
            "for d in mnt disk; do mountpoint -q $d && { umount $d || umount -l $d; }; done; true";
        shell(self.dir.path(), script, 60);
    }
}

#[test]
fn a_full_disk_loses_nothing_that_was_synced() {
    let disk = SmallDisk::new(700);
    disk.coffer(&["init", "--kdf", "m=64,t=1,p=1"], &["disk/volume"])
        .ok();
    let root = disk.mount();
    let write = |path: &Path, seed: u8| -> std::io::Result<()> {
        let mut f = File::create(path)?;
        let mut block = vec![0; 1 << 20];
        for (i, b) in block.iter_mut().enumerate() {
            *b = u8::try_from(i * 31 % 251).unwrap_or(0)
                ^ seed.wrapping_mul(u8::try_from(i >> 8 & 0xff).unwrap_or(0));
        }
        f.write_all(&block)?;
        f.sync_all()
    };
    let mut synced = Vec::new();
    let refused = (0..=255_u8).cycle().zip(0..4000).find_map(|(seed, i)| {
        let path = root.join(format!("f{i}"));
        shell(&root, &format!("head -c 1M /dev/urandom > r{i}"), 60);
        match write(&path, seed) {
            Ok(()) => {
                synced.push((i, fs::read(&path).expect("just written")));
                None
            }
            Err(e) => Some(e),
        }
    });
    let refused = refused.expect("the disk is smaller than that");
    assert_eq!(refused.raw_os_error(), Some(libc::ENOSPC));
    for (i, bytes) in &synced {
        let now = fs::read(root.join(format!("f{i}"))).expect("reading a full volume");
        assert!(now == *bytes, "f{i} has changed");
    }
    shell(&root, "rm r*", 120);
    until("deleting makes room", Duration::from_secs(90), || {
        write(&root.join("after"), 7).ok()
    });
    disk.coffer(&["umount"], &["mnt"]).ok();
    let root = disk.mount();
    for (i, bytes) in &synced {
        let now = fs::read(root.join(format!("f{i}"))).expect("kept");
        assert!(now == *bytes, "f{i} has changed");
    }
    disk.coffer(&["umount"], &["mnt"]).ok();
}

#[test]
fn a_volume_opens_on_a_disk_that_others_have_filled() {
    let disk = SmallDisk::new(500);
    disk.coffer(&["init", "--kdf", "m=64,t=1,p=1"], &["disk/volume"])
        .ok();
    let root = disk.mount();
    shell(
        &root,
        "head -c 20M /dev/urandom > a; sha256sum a > sum; sync",
        60,
    );
    let fill = "head -c 1G /dev/zero > fill 2>/dev/null || sync";
    shell(&disk.path("disk"), fill, 60);
    shell(&root, "sha256sum -c sum; rm a", 60);
    disk.coffer(&["umount"], &["mnt"]).ok();
    let mounted = disk.coffer(&["mount"], &["disk/volume", "mnt"]);
    if mounted.code != Some(0) {
        mounted.fails(8, &["space"]);
        shell(&disk.path("disk"), "rm fill", 10);
        disk.mount();
    }
    assert_eq!(shell(&disk.path("mnt"), "ls", 10), "sum\n");
}

#[test]
fn init_on_a_full_disk_leaves_nothing() {
    let disk = SmallDisk::new(20);
    let fill = "head -c 1G /dev/zero > fill 2>/dev/null || sync";
    shell(&disk.path("disk"), fill, 60);
    disk.coffer(&["init", "--kdf", "m=64,t=1,p=1"], &["disk/volume"])
        .fails(8, &["space"]);
    shell(
        &disk.path("disk"),
        "rm fill; test ! -e volume || test -z \"$(ls -A volume)\"",
        10,
    );
}
