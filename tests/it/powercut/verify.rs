//! Opens what a power cut has left and looks at everything in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use coffer::base::Ino;
use coffer::fs::{Attr, FileKind, Fs, FsError};
use coffer::volume::{Access, SecretBytes, Volume};

use super::disk::File;
use super::expect::{Entry, Id, Kind, Tree, XATTR, fingerprint};
use crate::harness::{Outcome, PASSPHRASE, TestVolume, coffer, run};

/// Bytes read at once.
const READ_BYTES: u32 = 1 << 20;

/// What a volume shows: its tree, and the contents of its files.
pub type Contents = (Tree, BTreeMap<Id, File>);

/// Forgets what this boot has seen of a volume: the power was gone.
pub fn forget_boot(volume_id: &str) {
    let seen = Path::new("/run/coffer").join(volume_id);
    if let Err(e) = fs::remove_dir_all(&seen) {
        assert_eq!(e.kind(), io::ErrorKind::NotFound, "{}", seen.display());
    }
}

/// Opens a volume with the library, reads everything and closes it.
pub fn open_and_read(volume: &Path) -> Result<Contents, String> {
    let secret = SecretBytes::copy_of(PASSPHRASE.as_bytes()).expect("memory for a secret");
    let opened = Volume::open(volume).and_then(|v| v.unlock(&secret, Access::ReadWrite));
    let volume = opened.map_err(|e| format!("it does not open: {e:?}"))?;
    let contents = read_all(volume.fs());
    let closed = volume.close();
    let contents = contents?;
    closed.map_err(|e| format!("it does not close: {e:?}"))?;
    Ok(contents)
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
            if entry.kind == Kind::Dir {
                todo.push((ino, format!("{path}/")));
            } else {
                *links.entry(ino).or_insert(attr.nlink) -= 1;
            }
            if entry.kind == Kind::File && !files.contains_key(&ino.0) {
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
        FileKind::Directory => Kind::Dir,
        FileKind::Symlink => {
            let target = fs.readlink(attr.ino)?;
            Kind::Symlink(String::from_utf8_lossy(&target).into_owned())
        }
        _ => Kind::File,
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
                Kind::Dir
            } else if meta.is_symlink() {
                Kind::Symlink(fs::read_link(&path)?.to_string_lossy().into_owned())
            } else {
                let mut file = File::default();
                file.write(0, &fs::read(&path)?);
                assert_eq!(file.len, meta.len(), "size of {}", path.display());
                files.insert(meta.ino(), file);
                Kind::File
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
