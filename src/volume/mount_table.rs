//! The kernel's table of mounts, and who uses one of them.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Type of our mounts in the table.
const FS_TYPE: &str = "fuse.coffer";

/// Processes that are named at most: the message is for people.
const USERS_MAX: usize = 16;

/// A line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MountLine {
    /// The device number, as `MAJOR:MINOR`.
    pub(super) device: String,
    /// The mount point.
    pub(super) dir: PathBuf,
    /// What kind of file system.
    pub(super) fs_type: String,
}

impl MountLine {
    /// Returns true for a mount of a volume.
    pub(super) fn is_ours(&self) -> bool {
        self.fs_type == FS_TYPE
    }
}

/// Returns the mounts that this process sees; later ones lie over earlier ones.
pub(super) fn read() -> io::Result<Vec<MountLine>> {
    Ok(parse(&fs::read("/proc/self/mountinfo")?))
}

/// Returns the uppermost mount on exactly this directory.
pub(super) fn at(dir: &Path) -> io::Result<Option<MountLine>> {
    Ok(read()?.into_iter().rev().find(|m| m.dir == dir))
}

/// Reads the text of the table: `id parent device root dir options [tags] - type source options`.
pub(super) fn parse(text: &[u8]) -> Vec<MountLine> {
    text.split(|b| *b == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<MountLine> {
    let mut words = line.split(|b| *b == b' ');
    let device = words.nth(2)?;
    let dir = words.nth(1)?;
    let fs_type = words.skip_while(|w| *w != b"-").nth(1)?;
    Some(MountLine {
        device: String::from_utf8_lossy(device).into_owned(),
        dir: PathBuf::from(unescape(dir)),
        fs_type: String::from_utf8_lossy(fs_type).into_owned(),
    })
}

/// Undoes the octal escapes of space, tab, newline and backslash.
fn unescape(word: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(word.len());
    let mut rest = word;
    while let [first, tail @ ..] = rest {
        let escaped = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        match escaped {
            Some(byte) => {
                out.push(byte);
                rest = rest.split_at(4).1;
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(out)
}

/// Returns the processes with a directory, a program or an open file on the device of a mount, as
/// far as the caller may see them.
pub(super) fn users(mount: &MountLine) -> Vec<u32> {
    let Some(device) = device_number(&mount.device) else {
        return Vec::new();
    };
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut pids: Vec<u32> = entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok())
        .filter(|pid| uses(*pid, device, &mount.dir))
        .take(USERS_MAX)
        .collect();
    pids.sort_unstable();
    pids
}

fn device_number(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(rustix::fs::makedev(
        major.parse().ok()?,
        minor.parse().ok()?,
    ))
}

fn uses(pid: u32, device: u64, dir: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let mut links = vec![
        process.join("cwd"),
        process.join("root"),
        process.join("exe"),
    ];
    if let Ok(open) = fs::read_dir(process.join("fd")) {
        links.extend(open.filter_map(|e| Some(e.ok()?.path())));
    }
    // The target's name first: asking for its device may ask the worker.
    links.iter().any(|link| {
        fs::read_link(link).is_ok_and(|target| target.starts_with(dir))
            && fs::metadata(link).is_ok_and(|m| m.dev() == device)
    }) || maps(&process, dir)
}

/// Returns true if a process has mapped a file below `dir`.
fn maps(process: &Path, dir: &Path) -> bool {
    let mut prefix = vec![b' '];
    prefix.extend_from_slice(dir.as_os_str().as_bytes());
    prefix.push(b'/');
    fs::read(process.join("maps")).is_ok_and(|text| {
        text.split(|b| *b == b'\n')
            .any(|line| line.windows(prefix.len()).any(|w| w == prefix))
    })
}
