//! A volume in use: file trees, remounts, another place, permissions, links, attributes, holes.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::harness::{TestVolume, run, shell};

/// Lists a tree: type, mode, owner, size, target, mtime, path, then the sums of all files.
const LIST: &str =
    "find . -printf '%y %m %U:%G %s %l %T@ %p\\n' | sed '/^d/s/ [0-9.]* \\./ ./' | sort
    find . -type f -print0 | sort -z | xargs -0 sha256sum";

#[test]
fn a_tree_survives_remount_and_relocation() {
    let mut v = TestVolume::new();
    let root = v.mount();
    assert_eq!(fs::read_dir(&root).expect("mounted").count(), 0);
    shell(
        &root,
        "cp -a /etc/ssl /usr/include/linux . ; mkdir -p a/b/c; printf x > a/b/c/one
        head -c 3000000 /dev/urandom > large; head -c 5000 /dev/zero > zeros; : > empty
        ln large second; ln -s a/b link; mkfifo pipe",
        120,
    );
    let before = shell(&root, LIST, 60);
    let root = v.remount();
    assert_eq!(shell(&root, LIST, 60), before);
    v.umount();
    v.relocate();
    let root = v.mount();
    assert_eq!(shell(&root, LIST, 60), before);
    shell(&root, "rm -r ssl linux; test ! -e linux", 60);
    let root = v.remount();
    assert_eq!(
        shell(&root, "ls", 60),
        "a\nempty\nlarge\nlink\npipe\nsecond\nzeros\n"
    );
}

#[test]
fn names_and_paths_reach_their_limits() {
    let v = TestVolume::new();
    let root = v.mount();
    let long = "n".repeat(255);
    fs::write(root.join(&long), b"long").expect("names of 255 bytes");
    let e = fs::write(root.join("n".repeat(256)), b"").expect_err("names of 256 bytes");
    assert_eq!(e.raw_os_error(), Some(libc::ENAMETOOLONG));
    let odd = std::ffi::OsStr::from_bytes(b"\xff \n\t*\\\"");
    fs::write(root.join(odd), b"odd").expect("any byte but NUL and slash");
    shell(
        &root,
        "for i in $(seq 60); do mkdir dddddddddddddddddddddddddddddddddddddddd; cd d*; done; echo deep > f",
        60,
    );
    let root = v.remount();
    assert_eq!(fs::read(root.join(&long)).expect("kept"), b"long");
    assert_eq!(fs::read(root.join(odd)).expect("kept"), b"odd");
    assert_eq!(shell(&root, "find . -name f -exec cat {} +", 60), "deep\n");
}

#[test]
fn permissions_are_enforced_and_kept() {
    let v = TestVolume::new();
    let root = v.mount();
    fs::write(root.join("private"), b"x").expect("mounted");
    fs::set_permissions(root.join("private"), fs::Permissions::from_mode(0o600)).expect("own");
    shell(
        &root,
        "mkdir shared; chmod 1777 shared; touch shared/of_root; chown 0:0 private
        mkdir group; chgrp daemon group; chmod 2775 group; touch group/inherits",
        60,
    );
    let as_nobody = |script: &str| {
        let mut c = Command::new("setpriv");
        c.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
        c.args(["bash", "-c", script]).current_dir(&root);
        run(&c, 60).code
    };
    assert_eq!(as_nobody("cat private"), Some(1));
    assert_eq!(as_nobody("echo y > shared/mine"), Some(0));
    assert_eq!(as_nobody("rm -f shared/of_root"), Some(1));
    assert_eq!(as_nobody("rm -f shared/mine"), Some(0));
    let daemon = fs::metadata(root.join("group")).expect("made").gid();
    let inherits = fs::metadata(root.join("group/inherits")).expect("made");
    assert_eq!(inherits.gid(), daemon);
    let root = v.remount();
    let mode = |p: &str| fs::metadata(root.join(p)).expect("kept").mode() & 0o7777;
    assert_eq!((mode("private"), mode("shared")), (0o600, 0o1777));
    assert_eq!(mode("group"), 0o2775);
}

#[test]
fn suid_goes_with_the_first_write() {
    let v = TestVolume::new();
    let root = v.mount();
    shell(&root, "echo x > f; chmod 6755 f; chmod 1777 .", 60);
    let mut c = Command::new("setpriv");
    c.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"]);
    c.args(["bash", "-c", "echo y >> f"]).current_dir(&root);
    shell(&root, "chmod o+w f", 60);
    run(&c, 60).ok();
    let mode = fs::metadata(root.join("f")).expect("made").mode() & 0o7777;
    assert_eq!(mode, 0o757);
}

#[test]
fn xattrs_and_acls_are_kept() {
    let v = TestVolume::new();
    let root = v.mount();
    let big = "v".repeat(60_000);
    fs::write(v.scratch().join("big"), &big).expect("own directory");
    shell(
        &root,
        "touch f; setfattr -n user.small -v value f; setfattr -n trusted.t -v 1 f
        setfattr -n user.big -v \"$(cat ../big)\" f
        setfacl -m u:daemon:rw,m::rw f; mkdir d; setfacl -d -m u:daemon:rwx d; touch d/child",
        60,
    );
    let root = v.remount();
    let list = shell(
        &root,
        "getfattr -m - -d f | sort | cut -c1-40; getfacl -cE f d d/child",
        60,
    );
    for line in [
        "user.small=\"value\"",
        "trusted.t=\"1\"",
        "user:daemon:rw-",
        "default:user:daemon:rwx",
    ] {
        assert!(list.contains(line), "{line} is not in {list}");
    }
    let size = shell(&root, "getfattr --only-values -n user.big f | wc -c", 60);
    assert_eq!(size.trim(), "60000");
    shell(
        &root,
        "setfattr -x user.big f; ! getfattr -n user.big f 2>/dev/null",
        60,
    );
}

#[test]
fn links_count_and_outlive_their_first_name() {
    let v = TestVolume::new();
    let root = v.mount();
    fs::write(root.join("a"), b"shared").expect("mounted");
    fs::hard_link(root.join("a"), root.join("b")).expect("hard links");
    symlink("b", root.join("s")).expect("symlinks");
    assert_eq!(fs::metadata(root.join("a")).expect("made").nlink(), 2);
    fs::remove_file(root.join("a")).expect("unlink");
    let root = v.remount();
    assert_eq!(fs::metadata(root.join("b")).expect("kept").nlink(), 1);
    assert_eq!(fs::read(root.join("s")).expect("kept"), b"shared");
    fs::create_dir(root.join("d")).expect("mkdir");
    fs::create_dir(root.join("d/e")).expect("mkdir");
    assert_eq!(fs::metadata(root.join("d")).expect("made").nlink(), 3);
}

#[test]
fn an_open_file_outlives_its_name() {
    let v = TestVolume::new();
    let root = v.mount();
    let mut f = File::options();
    let mut f = f
        .read(true)
        .write(true)
        .create_new(true)
        .open(root.join("gone"))
        .expect("mounted");
    f.write_all(b"still here").expect("write");
    fs::remove_file(root.join("gone")).expect("unlink");
    f.write_all(b", still").expect("write after unlink");
    f.sync_all().expect("fsync after unlink");
    f.rewind().expect("seek");
    let mut text = String::new();
    f.read_to_string(&mut text).expect("read after unlink");
    assert_eq!(text, "still here, still");
    drop(f);
    let root = v.remount();
    assert_eq!(fs::read_dir(&root).expect("mounted").count(), 0);
    assert_eq!(
        v.info()["used_bytes"].as_u64().map(|b| b < 1 << 20),
        Some(true)
    );
}

#[test]
fn sparse_files_hold_what_was_written() {
    let v = TestVolume::new();
    let root = v.mount();
    let open = |p: &Path| OpenOptions::new().read(true).write(true).open(p);
    let path = root.join("sparse");
    File::create(&path).expect("mounted");
    let f = open(&path).expect("made");
    f.write_all_at(b"far", 1 << 40).expect("a file of a TiB");
    f.write_all_at(b"near", 5).expect("write");
    f.set_len((1 << 40) + 4096).expect("truncate up");
    f.sync_all().expect("fsync");
    drop(f);
    let root = v.remount();
    let f = open(&root.join("sparse")).expect("kept");
    let meta = f.metadata().expect("kept");
    assert_eq!(meta.len(), (1 << 40) + 4096);
    assert!(meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
    let mut b = [1; 12];
    f.read_exact_at(&mut b, 0).expect("read");
    assert_eq!(&b, b"\0\0\0\0\0near\0\0\0");
    f.read_exact_at(&mut b[..4], 1 << 40).expect("read");
    assert_eq!(&b[..4], b"far\0");
    f.set_len(6).expect("truncate");
    f.set_len(12).expect("truncate up again");
    f.read_exact_at(&mut b, 0).expect("read");
    assert_eq!(&b, b"\0\0\0\0\0n\0\0\0\0\0\0");
    shell(
        &root,
        "fallocate -p -o 0 -l 4096 sparse; test $(stat -c %s sparse) = 12",
        60,
    );
}

#[test]
fn special_files_keep_their_kind() {
    let v = TestVolume::new();
    let root = v.mount();
    shell(&root, "mkfifo p; mknod c c 1 3; mknod b b 7 9", 60);
    let root = v.remount();
    let kind = |p: &str| fs::symlink_metadata(root.join(p)).expect("kept");
    assert!(kind("p").file_type().is_fifo());
    assert!(kind("c").file_type().is_char_device());
    assert!(kind("b").file_type().is_block_device());
    assert_eq!(kind("b").rdev(), libc::makedev(7, 9));
}

#[test]
fn what_was_synced_survives_a_kill() {
    let v = TestVolume::new();
    let root = v.mount();
    fs::create_dir(root.join("d")).expect("mounted");
    for i in 0..50 {
        let mut f = File::create(root.join(format!("d/{i}"))).expect("create");
        f.write_all(format!("{i}").repeat(1000).as_bytes())
            .expect("write");
        f.sync_all().expect("fsync");
    }
    v.kill_worker();
    let root = v.mount();
    for i in 0..50 {
        let text = fs::read_to_string(root.join(format!("d/{i}"))).expect("kept");
        assert!(text == format!("{i}").repeat(1000), "file {i} has changed");
    }
    let mut f = File::open(root.join("d/7")).expect("kept");
    assert_eq!(f.seek(SeekFrom::End(0)).expect("seek"), 1000);
}

/// Files made by a request were stamped with the time itself, files written in the cache with the
/// kernel's last tick: what was written later looked older, to make(1) for example. And the change
/// time of such a file was the time of its creation after the next mount.
#[test]
fn times_are_in_order_and_kept() {
    let v = TestVolume::new();
    let root = v.mount();
    let times = |root: &Path, name: &str| {
        let m = fs::symlink_metadata(root.join(name)).expect("kept");
        let (mtime, ctime) = (m.mtime(), m.ctime());
        [(mtime, m.mtime_nsec()), (ctime, m.ctime_nsec())]
    };
    let mut before = Vec::new();
    for i in 0..100 {
        let names = [format!("dir{i}"), format!("empty{i}"), format!("full{i}")];
        let [dir, empty, full] = names.clone();
        fs::create_dir(root.join(dir)).expect("mounted");
        File::create(root.join(empty)).expect("mounted");
        fs::write(root.join(full), "contents").expect("mounted");
        before.extend(names.map(|n| (times(&root, &n), n)));
    }
    let is_ordered = |pair: &[([(i64, i64); 2], String)]| pair[0].0 <= pair[1].0;
    let unordered: Vec<_> = before.windows(2).filter(|p| !is_ordered(p)).collect();
    assert!(unordered.is_empty(), "{unordered:#?}");
    let root = v.remount();
    for (time, name) in before {
        assert_eq!(times(&root, &name), time, "{name}");
    }
}
