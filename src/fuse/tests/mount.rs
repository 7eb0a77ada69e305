//! Mounting, serving and unmounting with a file system that has nothing but a root directory.

use std::fs;
use std::io;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use fuser::{
    Errno, FileHandle, Filesystem, INodeNo, KernelConfig, ReplyAttr, ReplyEmpty, ReplyOpen, Request,
};
use tempfile::TempDir;

use super::super::attributes::{KEEP, file_attr};
use super::super::mount::{mount_by_helper, unmount_by_helper};
use super::super::{FuseError, MountOptions, adapter, mount, raise_limits, run, unmount};
use crate::base::{Ino, InodeGen, Timestamp};
use crate::fs::{Attr, FileKind};

/// The name of the mounts, with what has a meaning in lists of options.
const NAME: &str = "coffer:t,e\\st";

/// A root directory with nothing in it.
struct Empty;

impl Filesystem for Empty {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        adapter::agree(config)
    }

    fn getattr(&self, _req: &Request, at: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        let attr = Attr {
            ino: Ino(at.0),
            generation: InodeGen(1),
            size_bytes: 4096,
            blocks_512: 8,
            atime: Timestamp::default(),
            mtime: Timestamp::default(),
            ctime: Timestamp::default(),
            btime: Timestamp::default(),
            kind: FileKind::Directory,
            perm: 0o1750,
            nlink: 2,
            uid: 12,
            gid: 34,
            rdev: 0,
        };
        reply.attr(&KEEP, &file_attr(&attr));
    }

    fn opendir(&self, _req: &Request, _at: INodeNo, _f: fuser::OpenFlags, reply: ReplyOpen) {
        reply.error(Errno::ENOSYS);
    }

    fn fsyncdir(&self, _r: &Request, _at: INodeNo, _fh: FileHandle, _d: bool, reply: ReplyEmpty) {
        reply.ok();
    }
}

/// A mount of [`Empty`], served on a thread; a test that fails takes it away too.
struct Served {
    dir: TempDir,
    session: Option<JoinHandle<Result<(), FuseError>>>,
}

impl Served {
    fn new(options: MountOptions) -> Self {
        let dir = TempDir::new().expect("a directory");
        let device = mount(dir.path(), NAME, options).expect("these tests need root and FUSE");
        Self::on(dir, device)
    }

    fn on(dir: TempDir, device: OwnedFd) -> Self {
        let (ready, is_ready) = mpsc::channel();
        let threads = NonZero::new(2).expect("2 is not 0");
        let session = thread::spawn(move || {
            run(Empty, device, threads, move |_| {
                ready.send(()).expect("the test waits for it");
            })
        });
        let served = Self {
            dir,
            session: Some(session),
        };
        is_ready.recv().expect("the session opens");
        served
    }

    fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Waits for the end of the session, which its unmount brings.
    fn join(mut self) {
        let session = self.session.take().expect("joined once");
        let ended = session.join().expect("no panic");
        ended.expect("an unmount is a good end");
        assert_eq!(mountinfo(self.dir()), None);
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if mountinfo(self.dir()).is_some() {
            unmount(self.dir(), true).expect("lazily everything goes");
        }
    }
}

/// Returns the line of the last mount on `dir`.
fn mountinfo(dir: &Path) -> Option<String> {
    let wanted = dir
        .to_str()
        .expect("a temporary directory has a plain name");
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("Linux has it");
    mounts
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some(wanted))
        .map(str::to_owned)
}

#[test]
fn a_mount_answers_and_ends_with_its_unmount() {
    let served = Served::new(MountOptions::default());
    let root = fs::metadata(served.dir()).expect("the mount answers");
    assert_eq!(root.mode(), 0o041_750);
    assert_eq!((root.uid(), root.gid()), (12, 34));
    assert_eq!(root.blksize(), 128 << 10);
    unmount(served.dir(), false).expect("nothing is in use");
    served.join();
}

#[test]
fn the_list_of_mounts_shows_name_type_and_options() {
    let options = MountOptions {
        read_only: true,
        allow_other: true,
        no_exec: true,
        ..MountOptions::default()
    };
    let served = Served::new(options);
    let line = mountinfo(served.dir()).expect("it is mounted");
    unmount(served.dir(), false).expect("nothing is in use");
    served.join();
    assert!(line.contains(" ro,nosuid,nodev,noexec,"), "{line}");
    // The kernel writes the backslash as \134.
    assert!(line.contains(" - fuse.coffer coffer:t,e\\134st "), "{line}");
    assert!(line.contains("default_permissions,allow_other"), "{line}");
}

#[test]
fn fusermount3_mounts_with_the_same_options() {
    let options = MountOptions {
        read_only: true,
        allow_other: true,
        no_exec: true,
        ..MountOptions::default()
    };
    let dir = TempDir::new().expect("a directory");
    let device = mount_by_helper(dir.path(), NAME, options).expect("fuse3 is installed");
    let served = Served::on(dir, device);
    let line = mountinfo(served.dir()).expect("it is mounted");
    let refused = unmount_by_helper(&served.dir().join("nothing"), false);
    unmount_by_helper(served.dir(), false).expect("nothing is in use");
    served.join();
    assert!(line.contains(" ro,nosuid,nodev,noexec,"), "{line}");
    assert!(line.contains(" - fuse.coffer coffer:t,e\\134st "), "{line}");
    assert!(line.contains("default_permissions,allow_other"), "{line}");
    assert!(
        matches!(refused, Err(FuseError::Helper { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_mount_in_use_is_busy_and_goes_lazily() {
    let served = Served::new(MountOptions::default());
    let open = fs::File::open(served.dir()).expect("the root opens");
    let refused = unmount(served.dir(), false);
    assert!(
        matches!(refused, Err(FuseError::Busy { .. })),
        "{refused:?}"
    );
    unmount(served.dir(), true).expect("lazily it goes");
    assert_eq!(mountinfo(served.dir()), None);
    let session = served.session.as_ref().expect("not joined yet");
    assert!(!session.is_finished());
    drop(open);
    served.join();
}

#[test]
fn nothing_mounted_is_an_error_of_its_own() {
    let dir = TempDir::new().expect("a directory");
    let refused = unmount(dir.path(), false);
    assert!(
        matches!(refused, Err(FuseError::NotMounted { .. })),
        "{refused:?}"
    );
}

#[test]
fn symbolic_links_and_files_are_no_mount_points() {
    let dir = TempDir::new().expect("a directory");
    let (link, file) = (dir.path().join("link"), dir.path().join("file"));
    symlink(dir.path(), &link).expect("a link");
    fs::write(&file, "").expect("a file");
    for bad in [link, file, dir.path().join("nothing")] {
        let refused = mount(&bad, "coffer:test", MountOptions::default());
        assert!(
            matches!(refused, Err(FuseError::MountPoint { .. })),
            "{refused:?}"
        );
    }
}

#[test]
fn limits_are_raised() {
    let served = Served::new(MountOptions::default());
    raise_limits(served.dir()).expect("root may");
    let line = mountinfo(served.dir()).expect("it is mounted");
    let device = line.split(' ').nth(2).expect("the third word");
    let read_ahead = fs::read_to_string(format!("/sys/class/bdi/{device}/read_ahead_kb"));
    let max_ratio = fs::read_to_string(format!("/sys/class/bdi/{device}/max_ratio"));
    unmount(served.dir(), false).expect("nothing is in use");
    served.join();
    assert_eq!(read_ahead.expect("readable").trim(), "2048");
    assert_eq!(max_ratio.expect("readable").trim(), "40");
}
