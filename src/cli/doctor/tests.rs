//! Each finding, from facts of a host that has just this fault.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;

use super::facts::{Disk, Facts, FuseDevice, MountState, Swap, allows_other, fuse_device};
use super::facts::{dead_sockets, kernel_version, mount_points};
use super::findings::{Finding, LOCK_NEED_BYTES, Level, assess};
use super::text;

/// A host on which a user can mount and nothing is to be mended.
fn healthy() -> Facts {
    Facts {
        root: false,
        fuse: FuseDevice::Usable,
        fusermount: Some((PathBuf::from("/usr/bin/fusermount3"), true)),
        user_allow_other: true,
        kernel: Some((6, 1)),
        max_pages: Some(256),
        lock_limit_bytes: Some(8 << 20),
        secret_memory: true,
        swaps: Vec::new(),
        mounts: vec![(PathBuf::from("/mnt/good"), MountState::Answers)],
        runtime_dir: Some(PathBuf::from("/run/user/1000/coffer")),
        dead_sockets: Vec::new(),
        disk: Some(Ok(Disk {
            dir: PathBuf::from("/srv/v"),
            free_bytes: 100 << 30,
            free_inodes: Some(1 << 20),
        })),
    }
}

/// Returns what is not as it should be.
fn faults(facts: &Facts) -> Vec<Finding> {
    let mut found = assess(facts);
    found.retain(|f| f.level != Level::Ok);
    found
}

/// Asserts that `change` to a healthy host gives exactly one finding.
fn one_fault(change: impl FnOnce(&mut Facts), check: &str, level: Level, mend: &str) {
    let mut facts = healthy();
    change(&mut facts);
    let found = faults(&facts);
    let [f] = found.as_slice() else {
        panic!("one finding expected for {check}: {found:?}");
    };
    assert_eq!((f.check, f.level), (check, level));
    assert!(f.mend.as_ref().is_some_and(|m| m.contains(mend)), "{f:?}");
}

#[test]
fn a_healthy_host_has_nothing_to_mend() {
    assert_eq!(faults(&healthy()), []);
    let shown = text(&assess(&healthy()), true);
    assert!(shown.contains("/mnt/good answers"), "{shown}");
    assert!(shown.ends_with("Nothing prevents mounting."), "{shown}");
}

#[test]
fn faults_of_the_fuse_device_prevent_mounting() {
    use Level::Problem;
    let check = "fuse-device";
    one_fault(
        |f| f.fuse = FuseDevice::Absent,
        check,
        Problem,
        "modprobe fuse",
    );
    one_fault(
        |f| f.fuse = FuseDevice::NoDriver,
        check,
        Problem,
        "modprobe fuse",
    );
    one_fault(
        |f| f.fuse = FuseDevice::Closed,
        check,
        Problem,
        "chmod 666 /dev/fuse",
    );
    let root = |f: &mut Facts| {
        f.root = true;
        f.fuse = FuseDevice::Closed;
    };
    one_fault(root, check, Problem, "--device /dev/fuse");
}

#[test]
fn an_old_kernel_is_slow_or_too_old() {
    one_fault(
        |f| f.kernel = Some((4, 19)),
        "kernel",
        Level::Problem,
        "5.12",
    );
    one_fault(
        |f| f.kernel = Some((5, 4)),
        "kernel",
        Level::Warning,
        "5.12",
    );
    one_fault(|f| f.kernel = None, "kernel", Level::Warning, "uname");
}

#[test]
fn users_need_fusermount_and_root_does_not() {
    one_fault(
        |f| f.fusermount = None,
        "fusermount",
        Level::Problem,
        "install fuse3",
    );
    let not_suid = |f: &mut Facts| f.fusermount = Some((PathBuf::from("/bin/fusermount3"), false));
    one_fault(
        not_suid,
        "fusermount",
        Level::Problem,
        "chmod 4755 /bin/fusermount3",
    );
    let conf = "tee -a /etc/fuse.conf";
    one_fault(
        |f| f.user_allow_other = false,
        "allow-other",
        Level::Warning,
        conf,
    );
    let mut facts = healthy();
    facts.root = true;
    facts.fusermount = None;
    facts.user_allow_other = false;
    assert_eq!(faults(&facts), []);
}

#[test]
fn memory_for_keys_must_be_lockable() {
    let low = |f: &mut Facts| f.lock_limit_bytes = Some(LOCK_NEED_BYTES - 1);
    one_fault(low, "lock-limit", Level::Problem, "ulimit -l");
    let low_root = |f: &mut Facts| {
        f.root = true;
        f.lock_limit_bytes = Some(0);
    };
    one_fault(low_root, "lock-limit", Level::Warning, "LimitMEMLOCK");
    let mut facts = healthy();
    facts.lock_limit_bytes = None;
    assert_eq!(faults(&facts), []);
    let none = |f: &mut Facts| f.secret_memory = false;
    one_fault(none, "secret-memory", Level::Warning, "secretmem.enable=1");
}

#[test]
fn swap_in_clear_is_named() {
    let swap = |name: &str, safe| Swap {
        name: name.to_owned(),
        safe,
    };
    let both = |f: &mut Facts| f.swaps = vec![swap("/dev/zram0", true), swap("/swap.img", false)];
    one_fault(both, "swap", Level::Warning, "swapoff /swap.img,");
    let mut facts = healthy();
    facts.swaps = vec![swap("/dev/dm-1", true)];
    assert_eq!(faults(&facts), []);
}

#[test]
fn small_requests_are_slow() {
    let small = |f: &mut Facts| f.max_pages = Some(32);
    one_fault(
        small,
        "fuse-request-size",
        Level::Warning,
        "fs.fuse.max_pages_limit=256",
    );
    let mut facts = healthy();
    facts.max_pages = None;
    assert_eq!(faults(&facts), []);
}

#[test]
fn dead_and_silent_mounts_and_their_traces_are_found() {
    for state in [MountState::Dead, MountState::Silent] {
        let bad = |f: &mut Facts| f.mounts.push((PathBuf::from("/mnt/bad"), state));
        one_fault(
            bad,
            "mounts",
            Level::Warning,
            "coffer umount --force /mnt/bad",
        );
    }
    let left = |f: &mut Facts| f.dead_sockets = vec![PathBuf::from("/run/coffer/x/control")];
    one_fault(left, "runtime", Level::Warning, "rm /run/coffer/x/control");
    let nowhere = |f: &mut Facts| f.runtime_dir = None;
    one_fault(nowhere, "runtime", Level::Problem, "export XDG_RUNTIME_DIR");
}

#[test]
fn a_full_disk_is_found_before_it_hurts() {
    let disk = |free_bytes, free_inodes| {
        Some(Ok(Disk {
            dir: PathBuf::from("/srv/v"),
            free_bytes,
            free_inodes,
        }))
    };
    one_fault(
        |f| f.disk = disk(1 << 20, None),
        "disk",
        Level::Warning,
        "df -h /srv/v",
    );
    one_fault(
        |f| f.disk = disk(1 << 40, Some(3)),
        "disk",
        Level::Warning,
        "df -i /srv/v",
    );
    let gone = |f: &mut Facts| f.disk = Some(Err("gone".to_owned()));
    one_fault(gone, "disk", Level::Problem, "ls -ld");
    let mut facts = healthy();
    facts.disk = None;
    assert_eq!(faults(&facts), []);
}

#[test]
fn problems_are_shown_with_what_mends_them() {
    let mut facts = healthy();
    facts.fuse = FuseDevice::Absent;
    let shown = text(&assess(&facts), false);
    assert!(
        shown.contains("PROBLEM  there is no device /dev/fuse\n"),
        "{shown}"
    );
    assert!(shown.contains("mend: modprobe fuse"), "{shown}");
    assert!(shown.contains("will fail"), "{shown}");
}

#[test]
fn the_tables_of_the_host_are_understood() {
    assert_eq!(kernel_version("6.1.0-18-amd64\n"), Some((6, 1)));
    assert_eq!(kernel_version("5.10"), Some((5, 10)));
    assert_eq!(kernel_version("next"), None);
    assert!(allows_other("# user_allow_other\n  user_allow_other  \n"));
    assert!(!allows_other("#user_allow_other\nuser_allow_others\n"));
    let table = "\
36 35 98:0 / /mnt1 rw,noatime shared:1 - ext4 /dev/root rw
37 35 0:50 / /mnt/my\\040files rw,nosuid shared:2 - fuse.coffer coffer:home rw,user_id=0
38 35 0:51 / /other rw - fuse.sshfs coffer:home rw";
    assert_eq!(mount_points(table), [PathBuf::from("/mnt/my files")]);
}

#[test]
fn what_is_no_device_is_no_fuse_device() {
    let dir = tempfile::tempdir().expect("a directory");
    assert_eq!(fuse_device(&dir.path().join("missing")), FuseDevice::Absent);
    assert_eq!(fuse_device(dir.path()), FuseDevice::Absent);
    // A character device that the kernel knows opens, as /dev/fuse would.
    assert_eq!(fuse_device("/dev/null".as_ref()), FuseDevice::Usable);
}

#[test]
fn only_sockets_that_nobody_listens_on_are_dead() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = |name: &str| {
        let volume = dir.path().join(name);
        std::fs::create_dir(&volume).expect("a directory");
        volume.join("control")
    };
    std::fs::create_dir(dir.path().join("unmounted")).expect("a directory");
    let _live = UnixListener::bind(socket("live")).expect("a socket");
    let dead = socket("dead");
    drop(UnixListener::bind(&dead).expect("a socket"));
    assert_eq!(dead_sockets(dir.path()), [dead]);
}
