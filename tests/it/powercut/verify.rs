//! Opens what a power cut has left and looks at everything in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coffer::base::Ino;
use coffer::fs::{Attr, Caller, Done, FileKind, Fs, FsError, WriteFlags};
use coffer::volume::{Access, SecretBytes, Volume};

use super::disk::File;
use super::expect::{Contents, Entry, EntryKind, Tree, XATTR, fingerprint};
use super::record::Disk;
use crate::dice::Dice;
use crate::harness::{Outcome, PASSPHRASE, TestVolume, coffer, run};

/// Bytes read at once.
const READ_BYTES: u32 = 1 << 20;

/// Files that are made after a power cut.
const LATER_FILES: u64 = 4;

/// Forgets what this boot has seen of a volume: the power was gone.
pub fn forget_boot(volume_id: &str) {
    let seen = Path::new("/run/coffer").join(volume_id);
    if let Err(e) = fs::remove_dir_all(&seen) {
        assert_eq!(e.kind(), io::ErrorKind::NotFound, "{}", seen.display());
    }
}

/// Opens a volume with the library, does `f` and closes it.
fn opened<T>(volume: &Path, f: impl FnOnce(&Fs) -> Result<T, String>) -> Result<T, String> {
    let secret = SecretBytes::copy_of(PASSPHRASE.as_bytes()).expect("memory for a secret");
    let opened = Volume::open(volume).and_then(|v| v.unlock(&secret, Access::ReadWrite));
    let volume = opened.map_err(|e| format!("it does not open: {e:?}"))?;
    let done = f(volume.fs());
    let closed = volume.close();
    let done = done?;
    closed.map_err(|e| format!("it does not close: {e:?}"))?;
    Ok(done)
}

/// Opens a volume with the library, reads everything and closes it.
pub fn open_and_read(volume: &Path) -> Result<Contents, String> {
    opened(volume, read_all)
}

/// A file that was made after a power cut.
pub struct Later {
    name: String,
    bytes: Vec<u8>,
    /// Where the trace stood when it was synced.
    synced: usize,
}

impl Later {
    /// Takes the file out of what a volume shows after the next cut, at this position: it must be
    /// there once it was synced.
    pub fn take_from(&self, contents: &mut Contents, at: usize) -> Result<(), String> {
        let (tree, files) = contents;
        let entry = tree.remove(&self.name);
        let file = entry.and_then(|e| files.remove(&e.id));
        if at < self.synced {
            return Ok(());
        }
        let file = file.ok_or_else(|| format!("{} was synced and is not there", self.name))?;
        let mut bytes = Vec::new();
        file.read(0, self.bytes.len() + 1, &mut bytes);
        match bytes == self.bytes {
            true => Ok(()),
            false => Err(format!("{} was synced and is not as it was", self.name)),
        }
    }
}

/// The same, and makes some files, each of which is synced; they are added to `later`.
pub fn open_and_use(
    volume: &Path,
    disk: &Disk,
    later: &mut Vec<Later>,
) -> Result<Contents, String> {
    opened(volume, |fs| {
        let contents = read_all(fs)?;
        for n in 0..LATER_FILES {
            let name = format!("later{n}");
            let bytes = Dice::new(n).bytes(usize::try_from(n * 9_000).expect("small"));
            make(fs, &name, &bytes).map_err(|e| format!("making {name}: {e}"))?;
            later.push(Later {
                name,
                bytes,
                synced: disk.moment().at,
            });
        }
        Ok(contents)
    })
}

/// Makes a file in the root and syncs it.
fn make(fs: &Fs, name: &str, bytes: &[u8]) -> Result<(), FsError> {
    let who = Caller { uid: 0, gid: 0 };
    let mode = libc::S_IFREG | 0o600;
    let ino = fs.mknod(who, Ino::ROOT, name.as_bytes(), mode, 0, 0)?.ino;
    let flags = WriteFlags::default();
    wait(|done| fs.write(who, ino, 0, bytes, flags, done))?;
    wait(|done| fs.fsync(ino, false, done))
}

/// Calls `f`, which answers later, and waits for the answer.
fn wait<T: Send + 'static>(f: impl FnOnce(Done<T>)) -> Result<T, FsError> {
    let (tx, rx) = std::sync::mpsc::sync_channel(1);
    f(Box::new(move |answer| {
        tx.send(answer).expect("it is awaited");
    }));
    rx.recv().expect("every call is answered")
}

/// Mounts a volume with the real binary, reads everything and unmounts it.
pub fn mount_and_read(volume: &Path) -> Result<Contents, String> {
    let volume = TestVolume::in_place(volume, &[]);
    let done = |what: &str, outcome: Outcome| match outcome.code {
        Some(0) => Ok(()),
        _ => Err(format!("{what}: {:?} {}", outcome.code, outcome.stderr)),
    };
    done("it does not mount", volume.try_mount(&[]))?;
    let contents = read_mount(&volume.root()).map_err(|e| format!("it cannot be read: {e}"));
    let unmounted = run(coffer(["umount"]).arg(volume.root()), 60);
    let contents = contents?;
    done("it does not unmount", unmounted)?;
    Ok(contents)
}

/// Reads everything through the library.
fn read_all(fs: &Fs) -> Result<Contents, String> {
    let (mut tree, mut files) = (Tree::new(), BTreeMap::new());
    let mut links = BTreeMap::new();
    let mut todo = vec![(Ino::ROOT, String::new())];
    while let Some((dir, at)) = todo.pop() {
        let mut listed = Vec::new();
        let mut each = |e: &coffer::fs::DirEntry<'_>| {
            let name = String::from_utf8_lossy(e.name).into_owned();
            listed.push((e.ino, e.kind, name));
            true
        };
        let failed = |what: &str, e: FsError| format!("{what} of {at:?}: {e}");
        fs.readdir(dir, 0, &mut each)
            .map_err(|e| failed("readdir", e))?;
        for (ino, kind, name) in listed.into_iter().filter(|(_, _, n)| n != "." && n != "..") {
            let path = format!("{at}{name}");
            let attr = fs.getattr(ino).map_err(|e| failed(&path, e))?;
            if attr.kind != kind {
                return Err(format!(
                    "{path} is {:?}, its entry says {kind:?}",
                    attr.kind
                ));
            }
            let entry = entry(fs, &attr).map_err(|e| failed(&path, e))?;
            if entry.kind == EntryKind::Dir {
                todo.push((ino, format!("{path}/")));
            } else {
                *links.entry(ino).or_insert(attr.nlink) -= 1;
            }
            if entry.kind == EntryKind::File && !files.contains_key(&ino.0) {
                let file = contents(fs, &attr).map_err(|e| failed(&path, e))?;
                files.insert(ino.0, file);
            }
            tree.insert(path, entry);
        }
    }
    match links.into_iter().find(|(_, left)| *left != 0) {
        Some((ino, left)) => Err(format!("inode {ino:?}: {left} links too many")),
        None => Ok((tree, files)),
    }
}

fn entry(fs: &Fs, attr: &Attr) -> Result<Entry, FsError> {
    let kind = match attr.kind {
        FileKind::Directory => EntryKind::Dir,
        FileKind::Symlink => {
            let target = fs.readlink(attr.ino)?;
            EntryKind::Symlink(String::from_utf8_lossy(&target).into_owned())
        }
        _ => EntryKind::File,
    };
    let xattr = match fs.getxattr(attr.ino, XATTR.as_bytes()) {
        Ok(value) => Some(fingerprint(&value)),
        Err(FsError::NoAttribute) => None,
        Err(e) => return Err(e),
    };
    Ok(Entry {
        id: attr.ino.0,
        kind,
        xattr,
    })
}

fn contents(fs: &Fs, attr: &Attr) -> Result<File, FsError> {
    let mut file = File::default();
    let mut part = Vec::new();
    while file.len < attr.size_bytes {
        part.clear();
        fs.read(attr.ino, file.len, READ_BYTES, &mut part)?;
        if part.is_empty() {
            // Shorter than it says: whoever compares sees it.
            break;
        }
        file.write(file.len, &part);
    }
    Ok(file)
}

/// Reads everything through a mount.
fn read_mount(root: &Path) -> io::Result<Contents> {
    let (mut tree, mut files) = (Tree::new(), BTreeMap::new());
    let mut todo = vec![root.to_path_buf()];
    while let Some(dir) = todo.pop() {
        for found in fs::read_dir(dir)? {
            let path = found?.path();
            let meta = fs::symlink_metadata(&path)?;
            let kind = if meta.is_dir() {
                todo.push(path.clone());
                EntryKind::Dir
            } else if meta.is_symlink() {
                EntryKind::Symlink(fs::read_link(&path)?.to_string_lossy().into_owned())
            } else {
                let mut file = File::default();
                file.write(0, &fs::read(&path)?);
                assert_eq!(file.len, meta.len(), "size of {}", path.display());
                files.insert(meta.ino(), file);
                EntryKind::File
            };
            let mut value = vec![0; 1 << 16];
            let xattr = match rustix::fs::lgetxattr(&path, XATTR, &mut value[..]) {
                Ok(len) => Some(fingerprint(&value[..len])),
                Err(_) => None,
            };
            let name = path.strip_prefix(root).expect("below the root");
            let entry = Entry {
                id: meta.ino(),
                kind,
                xattr,
            };
            tree.insert(name.to_string_lossy().into_owned(), entry);
        }
    }
    Ok((tree, files))
}
