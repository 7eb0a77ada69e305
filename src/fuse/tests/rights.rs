//! Rights the kernel checks and we keep: owners, suid, ACLs; and times and space.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, StatxFlags, XattrFlags, getxattr, listxattr, setxattr, statx};

use super::served::Served;

/// Someone who is not root.
const USER: u32 = 1234;

/// Runs a shell command as [`USER`] and returns true if it succeeds.
fn user_can(command: &str, file: &Path) -> bool {
    let status = Command::new("sh")
        .args(["-c", command, "sh"])
        .arg(file)
        .uid(USER)
        .gid(USER)
        .stderr(std::process::Stdio::null())
        .status()
        .expect("a shell");
    status.success()
}

/// Returns the mode as the kernel uses it: to ask for more may bring all attributes anew.
fn mode(file: &Path) -> u32 {
    let stat = statx(CWD, file, AtFlags::empty(), StatxFlags::MODE).unwrap();
    u32::from(stat.stx_mode) & 0o7777
}

fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn permissions_decide_who_reads_and_writes() {
    let m = Served::new();
    let f = m.path("f");
    fs::write(&f, "x").unwrap();
    fs::set_permissions(m.dir(), Permissions::from_mode(0o755)).unwrap();
    set_mode(&f, 0o600);
    assert!(!user_can("cat $1 >/dev/null", &f));
    set_mode(&f, 0o604);
    assert!(user_can("cat $1 >/dev/null", &f));
    assert!(!user_can("echo >>$1", &f));
    chown(&f, Some(USER), None).unwrap();
    assert!(user_can("echo >>$1", &f));
    assert_eq!(fs::metadata(&f).unwrap().uid(), USER);
}

#[test]
fn suid_and_sgid_go_when_someone_else_changes_the_file() {
    let m = Served::new();
    let f = m.path("f");
    let changes = [
        "echo >>$1",
        ": >$1",
        "chgrp 1234 $1",
        "dd if=/dev/zero of=$1 conv=notrunc oflag=direct bs=4096 count=1 status=none",
        "fallocate --length 9999 $1",
        "fallocate --punch-hole --length 1 $1",
    ];
    for change in changes {
        fs::write(&f, "x").unwrap();
        chown(&f, Some(USER), Some(USER)).unwrap();
        set_mode(&f, 0o6777);
        assert!(user_can(change, &f), "{change}");
        assert_eq!(mode(&f), 0o777, "{change}");
    }
    set_mode(&f, 0o6777);
    fs::write(&f, "root may").unwrap();
    assert_eq!(mode(&f), 0o6777);
    setxattr(&f, CAPABILITY, &capability(), XattrFlags::empty()).unwrap();
    File::options()
        .write(true)
        .open(&f)
        .unwrap()
        .set_len(1)
        .unwrap();
    let gone = getxattr(&f, CAPABILITY, &mut [0; 20]);
    assert_eq!(gone, Err(rustix::io::Errno::NODATA));
    // Also to the owner it has, and by root.
    for (uid, gid) in [(Some(USER), None), (None, Some(USER)), (Some(0), Some(0))] {
        set_mode(&f, 0o6777);
        setxattr(&f, CAPABILITY, &capability(), XattrFlags::empty()).unwrap();
        chown(&f, uid, gid).unwrap();
        assert_eq!(mode(&f), 0o777, "{uid:?} {gid:?}");
        let gone = getxattr(&f, CAPABILITY, &mut [0; 20]);
        assert_eq!(gone, Err(rustix::io::Errno::NODATA), "{uid:?} {gid:?}");
    }
}

const CAPABILITY: &str = "security.capability";

/// The bytes of a file capability, cap_net_raw+ep: version 2 and effective, then permitted and
/// inheritable, twice.
fn capability() -> Vec<u8> {
    let words = [0x0200_0001_u32, 1 << 13, 0, 0, 0];
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

/// The bytes of an ACL as system.posix_acl_access holds it: version 2, then tag, rights, id.
fn acl(entries: &[(u16, u16, u32)]) -> Vec<u8> {
    let mut bytes = 2_u32.to_le_bytes().to_vec();
    for (tag, rights, id) in entries {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(rights.to_le_bytes());
        bytes.extend(id.to_le_bytes());
    }
    bytes
}

const NOBODY: u32 = u32::MAX;
const USER_OBJ: u16 = 1;
const USER_TAG: u16 = 2;
const GROUP_OBJ: u16 = 4;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

#[test]
fn access_lists_are_kept_checked_and_in_step_with_the_mode() {
    let m = Served::new();
    let f = m.path("f");
    fs::write(&f, "x").unwrap();
    set_mode(&f, 0o600);
    let list = acl(&[
        (USER_OBJ, 6, NOBODY),
        (USER_TAG, 6, USER),
        (GROUP_OBJ, 0, NOBODY),
        (MASK, 6, NOBODY),
        (OTHER, 0, NOBODY),
    ]);
    let flags = XattrFlags::empty();
    setxattr(&f, "system.posix_acl_access", &list, flags).unwrap();
    assert_eq!(mode(&f), 0o660);
    assert!(user_can("cat $1 >/dev/null && echo >>$1", &f));
    set_mode(&f, 0o640);
    assert!(user_can("cat $1 >/dev/null", &f));
    assert!(!user_can("echo >>$1", &f));
    let m = m.remount();
    let f = m.path("f");
    assert!(user_can("cat $1 >/dev/null", &f));
    assert!(!user_can("echo >>$1", &f));
}

#[test]
fn a_default_list_is_inherited_and_replaces_the_umask() {
    let m = Served::new();
    let d = m.path("d");
    fs::create_dir(&d).unwrap();
    let list = acl(&[
        (USER_OBJ, 7, NOBODY),
        (USER_TAG, 7, USER),
        (GROUP_OBJ, 5, NOBODY),
        (MASK, 7, NOBODY),
        (OTHER, 0, NOBODY),
    ]);
    let flags = XattrFlags::empty();
    setxattr(&d, "system.posix_acl_default", &list, flags).unwrap();
    set_mode(&d, 0o755);
    File::create(d.join("f")).unwrap();
    fs::create_dir(d.join("sub")).unwrap();
    assert_eq!(mode(&d.join("f")), 0o660);
    assert!(user_can("echo >>$1", &d.join("f")));
    assert!(user_can("echo >$1/new", &d.join("sub")));
}

#[test]
fn xattrs_are_kept_listed_and_removed() {
    let m = Served::new();
    let f = m.path("f");
    fs::write(&f, "x").unwrap();
    let big = vec![7; 60_000];
    setxattr(&f, "user.small", b"value", XattrFlags::CREATE).unwrap();
    setxattr(&f, "trusted.big", &big, XattrFlags::empty()).unwrap();
    let again = setxattr(&f, "user.small", b"value", XattrFlags::CREATE);
    assert_eq!(again, Err(rustix::io::Errno::EXIST));
    let m = m.remount();
    let f = m.path("f");
    let mut value = vec![0; 65_536];
    assert_eq!(getxattr(&f, "trusted.big", &mut value).unwrap(), 60_000);
    assert!(value[..60_000] == big);
    let few = getxattr(&f, "user.small", &mut value[..2]);
    assert_eq!(few, Err(rustix::io::Errno::RANGE));
    let len = listxattr(&f, &mut value).unwrap();
    let listed = &value[..len];
    let mut names: Vec<_> = listed
        .split(|b| *b == 0)
        .filter(|n| !n.is_empty())
        .collect();
    names.sort_unstable();
    assert_eq!(names, [&b"trusted.big"[..], b"user.small"]);
    rustix::fs::removexattr(&f, "user.small").unwrap();
    let gone = getxattr(&f, "user.small", &mut value);
    assert_eq!(gone, Err(rustix::io::Errno::NODATA));
}

#[test]
fn times_are_kept_to_the_nanosecond() {
    let m = Served::new();
    let f = File::create(m.path("f")).unwrap();
    let early = UNIX_EPOCH - Duration::new(1, 200_000_001);
    let late = UNIX_EPOCH + Duration::new(2_000_000_000, 123_456_789);
    let times = fs::FileTimes::new().set_accessed(early).set_modified(late);
    f.set_times(times).unwrap();
    drop(f);
    let m = m.remount();
    let about = fs::metadata(m.path("f")).unwrap();
    assert_eq!(about.accessed().unwrap(), early);
    assert_eq!(about.modified().unwrap(), late);
}

#[test]
fn a_write_from_the_cache_keeps_the_time_of_the_write() {
    let m = Served::new();
    let before = SystemTime::now() - Duration::from_secs(1);
    fs::write(m.path("f"), "x").unwrap();
    let written = fs::metadata(m.path("f")).unwrap().modified().unwrap();
    assert!(written > before);
    let m = m.remount();
    assert_eq!(
        fs::metadata(m.path("f")).unwrap().modified().unwrap(),
        written
    );
}

#[test]
fn space_is_counted_in_blocks_of_4096() {
    let m = Served::new();
    let space = rustix::fs::statvfs(m.dir()).unwrap();
    assert_eq!((space.f_bsize, space.f_frsize), (4096, 4096));
    assert_eq!(space.f_namemax, 255);
    assert!(space.f_bfree > 0 && space.f_bfree <= space.f_blocks);
}
