//! Rename, with the flags of renameat2(2).
//!
//! What is dirty in the renamed file comes into a group before its new name does: a program that
//! writes a new version and renames it over the old one finds one of the two after a crash, never a
//! piece.

use crate::base::Ino;
use crate::meta::{Dirent, Inode};
use crate::txn::Op;

use super::create::LINKS_MAX;
use super::entries::{Entries, check_name, entry, gain, lose};
use super::{Caller, Done, Fs, FsError};

const KNOWN_FLAGS: u32 = libc::RENAME_NOREPLACE | libc::RENAME_EXCHANGE | libc::RENAME_WHITEOUT;

/// A name: its directory and its bytes.
type Place<'a> = (Ino, &'a [u8]);

enum Step {
    Done,
    /// These files must come into a group first.
    Flush(Vec<Ino>),
}

/// Records of both names and both directories; what is the same for both is held once.
struct Sides {
    from: Entries,
    to: Option<Entries>,
    from_dir: Inode,
    to_dir: Option<Inode>,
}

impl Sides {
    fn target(&mut self) -> &mut Entries {
        self.to.as_mut().unwrap_or(&mut self.from)
    }

    fn target_dir(&mut self) -> &mut Inode {
        self.to_dir.as_mut().unwrap_or(&mut self.from_dir)
    }
}

/// One end of a rename: the entry and its inode.
struct End {
    ino: Ino,
    inode: Inode,
}

impl Fs {
    /// Renames; `flags`: `RENAME_NOREPLACE`, `RENAME_EXCHANGE`, `RENAME_WHITEOUT` of renameat2(2).
    ///
    /// # Errors
    /// As rename(2): when a name is missing, exists, or is of a kind that cannot take the place of the
    /// other, a directory would come below itself, the data cannot be flushed, or the store fails.
    pub fn rename(
        &self,
        caller: Caller,
        from: (Ino, &[u8]),
        to: (Ino, &[u8]),
        flags: u32,
        done: Done<()>,
    ) {
        let dirty = match self.rename_step(caller, from, to, flags, true) {
            Ok(Step::Done) => return done(Ok(())),
            Err(e) => return done(Err(e)),
            Ok(Step::Flush(dirty)) => dirty,
        };
        let me = self.me.clone();
        let (from, to) = ((from.0, from.1.to_vec()), (to.0, to.1.to_vec()));
        let flushed = move |r: Result<(), FsError>| {
            let Some(fs) = me.upgrade() else {
                return done(Err(FsError::Io("C-STORE")));
            };
            let (from, to) = ((from.0, from.1.as_slice()), (to.0, to.1.as_slice()));
            let renamed = r.and_then(|()| fs.rename_step(caller, from, to, flags, false));
            done(renamed.map(|_| ()));
        };
        self.data.flush_files(dirty, Box::new(flushed));
    }

    fn rename_step(
        &self,
        caller: Caller,
        from: Place<'_>,
        to: Place<'_>,
        flags: u32,
        flush_first: bool,
    ) -> Result<Step, FsError> {
        check_name(from.1)?;
        check_name(to.1)?;
        let exchange = flags & libc::RENAME_EXCHANGE != 0;
        let others = libc::RENAME_NOREPLACE | libc::RENAME_WHITEOUT;
        if flags & !KNOWN_FLAGS != 0 || exchange && flags & others != 0 {
            return Err(FsError::Invalid);
        }
        let mut op = self.core.begin()?;
        let mut sides = self.sides(&op, from, to)?;
        let source = sides.from.get(from.1).ok_or(FsError::NoEntry)?.clone();
        let target = sides.target().get(to.1).cloned();
        match &target {
            None if exchange => return Err(FsError::NoEntry),
            Some(_) if flags & libc::RENAME_NOREPLACE != 0 => return Err(FsError::Exists),
            Some(t) if t.ino == source.ino => return Ok(Step::Done),
            _ => {}
        }
        let renamed = target.iter().filter(|_| exchange).chain([&source]);
        let dirty: Vec<Ino> = renamed
            .map(|e| e.ino)
            .filter(|ino| flush_first && self.data.is_dirty(*ino))
            .collect();
        if !dirty.is_empty() {
            return Ok(Step::Flush(dirty));
        }
        let moved = self.end(&op, &source)?;
        let target = target.map(|t| self.end(&op, &t)).transpose()?;
        self.check_kinds(
            &op,
            (from.0, to.0),
            &mut sides,
            (&moved, target.as_ref()),
            exchange,
        )?;
        // From here on nothing fails.
        let orphan = match target {
            Some(other) if exchange => {
                self.exchange(&mut op, (from, to), sides, moved, other);
                None
            }
            target => {
                let whiteout = (flags & libc::RENAME_WHITEOUT != 0).then_some(caller);
                self.replace(&mut op, (from, to), sides, (moved, target), whiteout)
            }
        };
        drop(op);
        self.settle_orphan(orphan);
        Ok(Step::Done)
    }

    fn sides(&self, op: &Op<'_>, from: Place<'_>, to: Place<'_>) -> Result<Sides, FsError> {
        let from_dir = self.core.directory_in(op, from.0)?;
        let to_dir = match to.0 == from.0 {
            true => None,
            false => Some(self.core.directory_in(op, to.0)?),
        };
        let first = self.core.entries(op, from.0, from.1)?;
        let second = self.core.entries(op, to.0, to.1)?;
        Ok(Sides {
            to: (second.key != first.key).then_some(second),
            from: first,
            from_dir,
            to_dir,
        })
    }

    fn end(&self, op: &Op<'_>, entry: &Dirent) -> Result<End, FsError> {
        let inode = Inode::clone(&*self.core.inode_in(op, entry.ino)?);
        Ok(End {
            ino: entry.ino,
            inode,
        })
    }

    fn check_kinds(
        &self,
        op: &Op<'_>,
        dirs: (Ino, Ino),
        sides: &mut Sides,
        ends: (&End, Option<&End>),
        exchange: bool,
    ) -> Result<(), FsError> {
        let (moved, target) = ends;
        let is_directory = moved.inode.is_directory();
        let gains_directory = match target {
            Some(t) if !exchange => {
                match (is_directory, t.inode.is_directory()) {
                    (true, false) => return Err(FsError::NotDirectory),
                    (false, true) => return Err(FsError::IsDirectory),
                    (true, true) if t.inode.size_bytes > 0 => return Err(FsError::NotEmpty),
                    _ => {}
                }
                false
            }
            _ => is_directory,
        };
        if dirs.0 == dirs.1 {
            return Ok(());
        }
        if gains_directory && sides.target_dir().nlink >= LINKS_MAX {
            return Err(FsError::TooManyLinks);
        }
        if is_directory && self.is_within(op, dirs.1, moved.ino)? {
            return Err(FsError::Invalid);
        }
        match target {
            Some(t) if exchange && t.inode.is_directory() => {
                match self.is_within(op, dirs.0, t.ino)? {
                    true => Err(FsError::Invalid),
                    false => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// Returns true if `dir` is `above` or lies below it.
    fn is_within(&self, op: &Op<'_>, dir: Ino, above: Ino) -> Result<bool, FsError> {
        let mut at = dir;
        while at != Ino::ROOT && at != above {
            at = self.core.inode_in(op, at)?.parent;
        }
        Ok(at == above)
    }

    fn exchange(
        &self,
        op: &mut Op<'_>,
        places: (Place<'_>, Place<'_>),
        mut sides: Sides,
        mut moved: End,
        mut other: End,
    ) {
        let (from, to) = places;
        let now = self.core.now();
        lose(&mut sides.from_dir, &moved.inode, now);
        gain(&mut sides.from_dir, &other.inode, now);
        lose(sides.target_dir(), &other.inode, now);
        gain(sides.target_dir(), &moved.inode, now);
        sides.from.set(entry(from.1, other.ino, &other.inode));
        sides.target().set(entry(to.1, moved.ino, &moved.inode));
        self.store_sides(op, (from.0, to.0), sides);
        for (end, dir) in [(&mut moved, to.0), (&mut other, from.0)] {
            end.inode.ctime = now;
            if end.inode.is_directory() {
                end.inode.parent = dir;
            }
        }
        self.core.put_inode(op, moved.ino, moved.inode);
        self.core.put_inode(op, other.ino, other.inode);
    }

    /// Moves an entry, maybe over another; returns the orphan that makes, if the kernel holds it.
    fn replace(
        &self,
        op: &mut Op<'_>,
        places: (Place<'_>, Place<'_>),
        mut sides: Sides,
        ends: (End, Option<End>),
        whiteout: Option<Caller>,
    ) -> Option<Ino> {
        let ((from, to), (mut moved, target)) = (places, ends);
        let now = self.core.now();
        lose(&mut sides.from_dir, &moved.inode, now);
        match whiteout {
            None => sides.from.remove(from.1),
            Some(caller) => {
                let (ino, inode) = self.new_whiteout(op, caller, &sides.from_dir);
                gain(&mut sides.from_dir, &inode, now);
                sides.from.set(entry(from.1, ino, &inode));
                self.core.put_new_inode(op, ino, inode);
            }
        }
        if let Some(t) = &target {
            lose(sides.target_dir(), &t.inode, now);
        }
        gain(sides.target_dir(), &moved.inode, now);
        sides.target().set(entry(to.1, moved.ino, &moved.inode));
        self.store_sides(op, (from.0, to.0), sides);
        moved.inode.ctime = now;
        if moved.inode.is_directory() {
            moved.inode.parent = to.0;
        }
        self.core.put_inode(op, moved.ino, moved.inode);
        let target = target?;
        let orphan = self.drop_link(op, target.ino, target.inode, now);
        orphan.then_some(target.ino)
    }

    fn store_sides(&self, op: &mut Op<'_>, dirs: (Ino, Ino), sides: Sides) {
        sides.from.store(op);
        if let Some(to) = sides.to {
            to.store(op);
        }
        self.core.put_inode(op, dirs.0, sides.from_dir);
        if let Some(dir) = sides.to_dir {
            self.core.put_inode(op, dirs.1, dir);
        }
    }
}
