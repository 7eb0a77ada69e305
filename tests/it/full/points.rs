//! A disk that others fill, at one point after the other: whatever is left on it, a call succeeds or
//! finds no space, nothing that was acknowledged changes, removing goes on, and so does everything
//! once there is room. In every second round the worker is killed meanwhile.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, statvfs};

use crate::dice::Dice;
use crate::ext4::Ext4;
use crate::harness::{TestVolume, coffer, length, report, run, shell, until};
use crate::kills;

const DISK_MIB: u32 = 160;

/// A small disk below a volume.
enum Disk {
    Ext4(Ext4),
    Tmpfs(tempfile::TempDir),
}

impl Disk {
    fn tmpfs() -> Self {
        let dir = tempfile::tempdir().expect("a directory for the test");
        let script = format!("mount -t tmpfs -o size={DISK_MIB}M coffer-test .");
        shell(dir.path(), &script, 10);
        Self::Tmpfs(dir)
    }

    fn root(&self) -> PathBuf {
        match self {
            Self::Ext4(e) => e.root(),
            Self::Tmpfs(dir) => dir.path().to_path_buf(),
        }
    }

    fn ballast(&self) -> PathBuf {
        self.root().join("ballast")
    }

    /// Takes all space of the disk but for `left` bytes.
    fn fill(&self, left: u64) {
        let file = File::create(self.ballast()).expect("a file on the disk");
        // The volume may take some in between.
        until("the disk is filled", Duration::from_secs(20), || {
            let disk = statvfs(self.root()).expect("the disk is mounted");
            let bytes = (disk.f_bavail * disk.f_frsize).saturating_sub(left);
            fallocate(&file, FallocateFlags::empty(), 0, bytes.max(1)).ok()
        });
    }

    fn relieve(&self) {
        fs::remove_file(self.ballast()).expect("it was filled");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if let Self::Tmpfs(dir) = self {
            shell(
                Path::new("/"),
                &format!("umount -l {}", dir.path().display()),
                10,
            );
        }
    }
}

/// What a name leads to, none if to nothing.
type Contents = Option<Vec<u8>>;

/// What a name may lead to after a crash: the last entry is what it leads to now.
type Versions = Vec<Contents>;

/// A program that replaces files and syncs some, and what it must find afterwards.
struct Program {
    root: PathBuf,
    /// Where it copies from.
    source: PathBuf,
    dice: Dice,
    files: BTreeMap<String, Versions>,
    found_no_space: u32,
}

/// Returns true for what a full disk may answer.
fn is_full(e: &io::Error) -> bool {
    matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

impl Program {
    /// Works in a directory of its own: below a dead mount there is none, so that every call fails.
    fn new(v: &TestVolume, seed: u64) -> Self {
        let root = v.root().join("program");
        fs::create_dir(&root).expect("a new directory");
        Self {
            root,
            source: v.scratch().join("source"),
            dice: Dice::new(seed),
            files: BTreeMap::new(),
            found_no_space: 0,
        }
    }

    fn name(&mut self) -> String {
        format!("f{}", self.dice.below(12))
    }

    /// Writes a new file and puts it in the place of `name`.
    fn replace(&mut self, name: &str) -> io::Result<()> {
        let longest = [100, 5000, 40_000, 700_000][self.dice.size(4)];
        let len = self.dice.size(longest);
        let bytes = self.dice.bytes(len);
        let new = self.root.join("new");
        let written = if self.dice.below(2) == 0 {
            File::create(&new).and_then(|mut f| {
                f.write_all(&bytes)?;
                f.sync_all()
            })
        } else {
            // cp(1) looks at what close(2) returns.
            fs::write(&self.source, &bytes).expect("own directory");
            let mut cp = Command::new("cp");
            cp.arg(&self.source).arg(&new).env("LC_ALL", "C");
            let done = run(&cp, 60);
            match done.code {
                Some(0) => Ok(()),
                _ if done.stderr.contains("No space left") => Err(ErrorKind::StorageFull.into()),
                _ => Err(io::Error::other(done.stderr)),
            }
        };
        let path = self.root.join(name);
        let moved = written.and_then(|()| fs::rename(&new, path));
        let versions = self.files.entry(name.to_owned()).or_insert(vec![None]);
        match &moved {
            Ok(()) => versions.push(Some(bytes)),
            Err(e) if is_full(e) => {
                let refused = fs::remove_file(&new).is_err_and(|e| is_full(&e));
                assert!(!refused, "a full disk refused to remove");
            }
            // The rename may have happened.
            Err(_) => versions.insert(versions.len() - 1, Some(bytes)),
        }
        moved
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        let Some(versions) = self.files.get_mut(name).filter(|v| v.last() != Some(&None)) else {
            return Ok(());
        };
        let removed = fs::remove_file(self.root.join(name));
        match &removed {
            Ok(()) => versions.push(None),
            Err(e) => assert!(!is_full(e), "a full disk refused to remove"),
        }
        if removed.is_err() {
            versions.insert(versions.len() - 1, None);
        }
        removed
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        if self.files.get(name).is_none_or(|v| v.last() == Some(&None)) {
            return Ok(());
        }
        File::open(self.root.join(name))?.sync_all()?;
        // What was renamed is durable with its name.
        for versions in self.files.values_mut() {
            versions.drain(..versions.len() - 1);
        }
        Ok(())
    }

    /// Works until it has found no space some times, or until a call fails otherwise.
    fn work(&mut self) -> io::Result<()> {
        let enough = self.found_no_space + 4;
        for _ in 0..400 {
            let name = self.name();
            let done = match self.dice.below(10) {
                0..7 => self.replace(&name),
                7 => self.remove(&name),
                _ => self.sync(&name),
            };
            match done {
                Err(e) if is_full(&e) => self.found_no_space += 1,
                other => other?,
            }
            if self.found_no_space == enough {
                break;
            }
        }
        Ok(())
    }

    /// Compares all files with the newest of their versions, after a kill with any.
    fn check(&mut self, was_killed: bool) {
        for (name, versions) in &mut self.files {
            let found = match fs::read(self.root.join(name)) {
                Err(e) if e.kind() == ErrorKind::NotFound => None,
                read => Some(read.expect("a full volume can be read")),
            };
            let possible = match was_killed {
                true => versions.contains(&found),
                false => versions.last() == Some(&found),
            };
            let len = found.as_ref().map(Vec::len);
            assert!(possible, "{name} has {len:?} bytes, or others");
            *versions = vec![found];
        }
    }
}

/// Works while the worker is killed at some moment, and mounts again.
fn work_and_kill(v: &TestVolume, program: Program, dice: &mut Dice) -> Program {
    let is_ending = AtomicBool::new(false);
    std::thread::scope(|s| {
        let worker = s.spawn(|| {
            let mut program = program;
            loop {
                if let Err(e) = program.work() {
                    assert!(is_ending.load(Ordering::SeqCst), "a call failed: {e}");
                    return program;
                }
            }
        });
        kills::wait(dice, 1500);
        is_ending.store(true, Ordering::SeqCst);
        v.kill_worker();
        worker.join().expect("as above")
    })
}

/// Mounts after a kill; a disk that is quite full may have to be relieved before.
fn mount_again(v: &TestVolume, disk: &Disk) -> bool {
    let seen = kills::seen_generation(v);
    let mounted = v.try_mount(&[]);
    let is_full = mounted.code != Some(0);
    if is_full {
        mounted.fails(8, &["space"]);
        disk.relieve();
        v.mount();
    }
    let found = v.info()["generation"].as_u64();
    assert!(found >= Some(seen), "{found:?} is behind {seen}");
    is_full
}

fn fill_and_go_on(disk: &Disk, rounds: u64) {
    let v = TestVolume::in_place(&disk.root().join("volume"), &["--chunk-size", "32K"]);
    v.mount();
    let mut dice = kills::dice();
    let mut program = Program::new(&v, dice.next());
    let mut unmountable = 0;
    for round in 0..rounds {
        let is_killed = round % 2 == 1;
        let most = [4096, 65_536, 1 << 20, 8 << 20, 24 << 20][dice.size(5)];
        disk.fill(dice.below(most));
        let mut is_relieved = false;
        if is_killed {
            program = work_and_kill(&v, program, &mut dice);
            is_relieved = mount_again(&v, disk);
            unmountable += u32::from(is_relieved);
        } else {
            program.work().expect("or there is no space");
        }
        program.check(is_killed);
        for n in 0..6 {
            program.remove(&format!("f{n}")).expect("removing goes on");
        }
        if !is_relieved {
            disk.relieve();
        }
        until("there is room again", Duration::from_secs(60), || {
            program.replace("f0").and_then(|()| program.sync("f0")).ok()
        });
        program.check(false);
        let mut sync = coffer(["sync"]);
        run(sync.arg(v.root()), 60).ok();
    }
    report(&format!(
        "full: {rounds} rounds, no space found {} times, {unmountable} mounts had to wait for some",
        program.found_no_space
    ));
    assert!(program.found_no_space > 0);
    v.remount();
    program.check(false);
    v.umount();
}

#[test]
fn an_ext4_that_others_fill_at_any_point_loses_nothing() {
    fill_and_go_on(&Disk::Ext4(Ext4::new(DISK_MIB)), length(6, 60));
}

#[test]
fn a_tmpfs_that_others_fill_at_any_point_loses_nothing() {
    fill_and_go_on(&Disk::tmpfs(), length(6, 60));
}
