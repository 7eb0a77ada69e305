//! What docs/SEMANTICS.md says that no FUSE file system can do: each is tried and refused as told.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};

use rustix::fs::{
    AtFlags, FallocateFlags, SeekFrom, StatxFlags, fallocate, ioctl_ficlone, seek, statx, syncfs,
};
use rustix::io::Errno;

use crate::harness::{TestVolume, shell};

#[test]
fn what_is_not_possible_is_refused() {
    let v = TestVolume::new();
    let root = v.mount();
    let open = |name: &str| {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        options.open(root.join(name)).expect("mounted")
    };
    let (file, other) = (open("file"), open("other"));
    file.write_all_at(&[7; 8192], 0).expect("mounted");

    assert_eq!(ioctl_ficlone(&other, &file), Err(Errno::OPNOTSUPP));
    for mode in [FallocateFlags::COLLAPSE_RANGE, FallocateFlags::INSERT_RANGE] {
        assert_eq!(fallocate(&file, mode, 0, 4096), Err(Errno::OPNOTSUPP));
    }
    let mut unnamed = OpenOptions::new();
    unnamed.write(true).custom_flags(libc::O_TMPFILE);
    let refused = unnamed.open(&root).map_err(|e| e.raw_os_error());
    assert_eq!(refused.err(), Some(Some(libc::EOPNOTSUPP)));

    let asked = StatxFlags::BASIC_STATS | StatxFlags::BTIME;
    let known = statx(&file, "", AtFlags::EMPTY_PATH, asked).expect("mounted");
    let born = StatxFlags::from_bits_retain(known.stx_mask).contains(StatxFlags::BTIME);
    assert!(
        !born,
        "the kernel tells birth times now: say so in docs/SEMANTICS.md"
    );
}

#[test]
fn what_is_told_otherwise_is_told_so() {
    let v = TestVolume::new();
    let root = v.mount();
    let file = File::create_new(root.join("file")).expect("mounted");
    file.write_all_at(b"data", 1 << 20).expect("mounted");
    // All is data, up to a hole at the end.
    assert_eq!(seek(&file, SeekFrom::Data(4096)), Ok(4096));
    assert_eq!(seek(&file, SeekFrom::Hole(4096)), Ok((1 << 20) + 4));
    assert_eq!(seek(&file, SeekFrom::Data((1 << 20) + 4)), Err(Errno::NXIO));
    assert_eq!(syncfs(file.as_fd()), Ok(()));
    // Zeroing and punching keep the size that they are told to keep.
    let zero = FallocateFlags::ZERO_RANGE;
    assert_eq!(
        fallocate(&file, zero | FallocateFlags::KEEP_SIZE, 1 << 20, 8192),
        Ok(())
    );
    assert_eq!(file.metadata().map(|m| m.len()).ok(), Some((1 << 20) + 4));
    assert_eq!(fallocate(&file, zero, 1 << 20, 8192), Ok(()));
    assert_eq!(
        file.metadata().map(|m| m.len()).ok(),
        Some((1 << 20) + 8192)
    );
    let bytes = fs::read(root.join("file")).expect("mounted");
    assert!(bytes.iter().all(|b| *b == 0));
    // The largest file.
    let most = i64::MAX.unsigned_abs();
    file.set_len(most).expect("files may be that long");
    assert_eq!(file.metadata().map(|m| m.len()).ok(), Some(most));
    let beyond = file
        .write_at(b"x", most)
        .map_err(|e: io::Error| e.raw_os_error());
    assert!(
        matches!(beyond, Err(Some(libc::EFBIG | libc::EINVAL))),
        "{beyond:?}"
    );
}

/// Makes a handle of each file and writes it down, or opens what was written down.
const HANDLES: &str = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
class Handle(ctypes.Structure):
    _fields_ = [("len", ctypes.c_uint), ("kind", ctypes.c_int), ("bytes", ctypes.c_char * 128)]
for name in ["file", "dir/below"]:
    handle, mount = Handle(128), ctypes.c_int()
    if sys.argv[1] == "make":
        made = libc.name_to_handle_at(-100, name.encode(), ctypes.byref(handle), ctypes.byref(mount), 0)
        assert made == 0, os.strerror(ctypes.get_errno())
        open("../" + os.path.basename(name), "wb").write(bytes(handle))
        continue
    ctypes.memmove(ctypes.byref(handle), open("../" + os.path.basename(name), "rb").read(), ctypes.sizeof(handle))
    file = libc.open_by_handle_at(os.open(".", os.O_RDONLY), ctypes.byref(handle), os.O_RDONLY)
    print(os.read(file, 99).decode() if file >= 0 else os.strerror(ctypes.get_errno()))
"#;

#[test]
fn a_file_handle_outlives_a_mount() {
    let v = TestVolume::new();
    let root = v.mount();
    fs::write(v.scratch().join("handles.py"), HANDLES).expect("own directory");
    let handles = |how: &str| {
        shell(
            &v.root(),
            &format!("/usr/bin/python3 ../handles.py {how}"),
            30,
        )
    };
    shell(
        &root,
        "mkdir dir; echo one > file; echo two > dir/below",
        10,
    );
    handles("make");
    let root = v.remount();
    assert_eq!(handles("open"), "one\n\ntwo\n\n");
    shell(&root, "rm file; mv dir/below elsewhere", 10);
    assert_eq!(handles("open"), "Stale file handle\ntwo\n\n");
}
