//! Directory listings.
//!
//! A cookie is the hash of a name, so a listing can go on anywhere, also after a restart and while
//! the directory changes: what was there all the time comes exactly once. Entries with equal cookies
//! (a collision) are one step: only the last leads beyond them, so that a reply which ends among
//! them is followed by one that has them all.

use crate::base::Ino;
use crate::base::sync::Arc;
use crate::format::key::Key;
use crate::meta::{Dirent, Inode, Names, decode_dirents};

use super::attr::attr_of;
use super::{Attr, DirEntry, FileKind, Fs, FsError};

/// The cookies after `.` and `..`.
const AFTER_DOT: u64 = 1;
const AFTER_DOT_DOT: u64 = 2;

/// Records read at first, about one reply of 4 KiB; then twice as many each time.
const BATCH_MIN: usize = 32;

/// Records read at once at most.
const BATCH_MAX: usize = 512;

/// An entry with its own cookie and the one to go on from.
struct Listed {
    entry: Dirent,
    cookie: u64,
    next: u64,
}

impl Fs {
    /// Lists from `cookie` (0 = start, `.` and `..` included) until `each` returns false.
    ///
    /// # Errors
    /// When the inode is no directory, or the store fails.
    pub fn readdir(
        &self,
        ino: Ino,
        cookie: u64,
        each: &mut dyn FnMut(&DirEntry<'_>) -> bool,
    ) -> Result<(), FsError> {
        let dir = self.directory(ino)?;
        for (name, at, next) in self.dots(ino, &dir, cookie) {
            if !each(&dot(at, name, next)) {
                return Ok(());
            }
        }
        self.walk(ino, cookie, &mut |listed| {
            for l in listed {
                if !each(&shown(l)?) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// The same with attributes; each entry taken (true) but `.` and `..` counts a lookup.
    ///
    /// # Errors
    /// When the inode is no directory, or the store fails.
    pub fn readdirplus(
        &self,
        ino: Ino,
        cookie: u64,
        each: &mut dyn FnMut(&DirEntry<'_>, &Attr) -> bool,
    ) -> Result<(), FsError> {
        let dir = self.directory(ino)?;
        for (name, at, next) in self.dots(ino, &dir, cookie) {
            if !each(&dot(at, name, next), &self.getattr(at)?) {
                return Ok(());
            }
        }
        self.walk(ino, cookie, &mut |listed| {
            self.core.prefetch(listed.iter().map(|l| l.entry.ino))?;
            for l in listed {
                // Counted first, as in a lookup: the kernel may hold it from here on.
                self.lookups.add(l.entry.ino);
                let attr = self.live_attr(l.entry.ino);
                let taken = match &attr {
                    Ok(Some(attr)) => each(&shown(l)?, attr),
                    _ => false,
                };
                if !taken {
                    self.forget(l.entry.ino, 1);
                }
                if !taken && attr?.is_some() {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }

    /// Returns the attributes of an inode that may have been removed meanwhile.
    fn live_attr(&self, ino: Ino) -> Result<Option<Attr>, FsError> {
        match self.data.live(ino) {
            Ok(inode) if inode.nlink > 0 => Ok(Some(attr_of(ino, &inode)?)),
            Ok(_) | Err(FsError::NoEntry) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn directory(&self, ino: Ino) -> Result<Arc<Inode>, FsError> {
        let dir = self.core.inode(ino)?;
        if !dir.is_directory() {
            return Err(FsError::NotDirectory);
        }
        self.accessed(ino, &dir);
        Ok(dir)
    }

    fn dots(
        &self,
        ino: Ino,
        dir: &Inode,
        cookie: u64,
    ) -> impl Iterator<Item = (&'static [u8], Ino, u64)> + use<> {
        let dots: [(&[u8], Ino, u64); 2] =
            [(b".", ino, AFTER_DOT), (b"..", dir.parent, AFTER_DOT_DOT)];
        dots.into_iter().filter(move |(_, _, next)| cookie < *next)
    }

    /// Reads entries after `cookie` in batches until `each` returns false.
    fn walk(
        &self,
        dir: Ino,
        cookie: u64,
        each: &mut dyn FnMut(&[Listed]) -> Result<bool, FsError>,
    ) -> Result<(), FsError> {
        let mut before = cookie.max(AFTER_DOT_DOT);
        let names = &self.core.names;
        let mut from = names.dirents_from(dir, before + 1);
        let to = names.dir(dir).prefix_end();
        let mut limit = BATCH_MIN;
        loop {
            let mut found = self.core.txn.scan(&from, &to, limit)?;
            // The last of a full batch only tells whether the one before it shares its cookie.
            let ahead = match found.len() == limit {
                true => found.pop().map(|(key, _)| key),
                false => None,
            };
            let listed = unfold(&found, ahead.as_ref(), &mut before)?;
            if !each(&listed)? {
                return Ok(());
            }
            let Some(key) = ahead else {
                return Ok(());
            };
            from = key;
            limit = (limit * 2).min(BATCH_MAX);
        }
    }
}

/// Returns the entries of some records; `before` is the cookie to go on from before the first, then
/// before what follows the last.
fn unfold(
    found: &[(Key, Vec<u8>)],
    ahead: Option<&Key>,
    before: &mut u64,
) -> Result<Vec<Listed>, FsError> {
    let mut listed: Vec<Listed> = Vec::with_capacity(found.len());
    for (key, payload) in found {
        let cookie = Names::cookie(key);
        for entry in decode_dirents(payload)? {
            let next = cookie;
            listed.push(Listed {
                entry,
                cookie,
                next,
            });
        }
    }
    let followers: Vec<Option<u64>> = listed
        .iter()
        .skip(1)
        .map(|l| Some(l.cookie))
        .chain([ahead.map(Names::cookie)])
        .collect();
    for (l, follower) in listed.iter_mut().zip(followers) {
        if follower == Some(l.cookie) {
            l.next = *before;
        } else {
            *before = l.cookie;
        }
    }
    Ok(listed)
}

fn shown(l: &Listed) -> Result<DirEntry<'_>, FsError> {
    let kind = FileKind::from_mode(u32::from(l.entry.kind) << 12);
    Ok(DirEntry {
        ino: l.entry.ino,
        kind: kind.ok_or(FsError::Io("C-DECODE"))?,
        name: &l.entry.name,
        next_cookie: l.next,
    })
}

fn dot(ino: Ino, name: &[u8], next_cookie: u64) -> DirEntry<'_> {
    DirEntry {
        ino,
        kind: FileKind::Directory,
        name,
        next_cookie,
    }
}
