//! Each call of a script to the store fails once, or the power goes during it, or the disk is full
//! from it on. Only the error that fits is told, nothing acknowledged is lost, and the volume either
//! goes on or is read-only until it is opened again.

use std::collections::BTreeMap;

use super::crash::is_page;
use super::state::{Body, State};
use super::{Model, integrity};
use crate::base::{Ino, PAGE_BYTES};
use crate::fs::tests::{ROOT, Setup, Volume, wait};
use crate::fs::{FsError, SetAttr};
use crate::kv::faulty::{Call, Faults};

/// Steps of a script.
const STEPS: usize = 160;

/// Bytes of a pack: so small that some are filled, emptied, copied and removed.
const PACK_BYTES: u32 = 256 << 10;

/// How much more room each disk has that gets full.
const ROOM_STEP_BYTES: u64 = 64 << 10;

/// What changes a store.
const CHANGES: [&str; 6] = ["write", "flush", "create", "sync", "punch", "reserve"];

/// What goes wrong.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// The call of this number fails.
    Fails(Call, u64),
    /// The power goes during the change of this number.
    PowerCut(u64),
    /// The disk takes so many bytes more.
    Room(u64),
    /// Others fill the disk before the step of this number.
    FullAt(u64),
}

/// Tells which script has failed.
struct Told(Fault);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the fault was {:?}", self.0);
        }
    }
}

/// Does the script with this seed. Returns the call that the fault has hit first; none if it has hit
/// none.
fn script(seed: u64, fault: Fault) -> Option<&'static str> {
    let _told = Told(fault);
    let setup = Setup {
        pack_bytes: PACK_BYTES,
        ..Default::default()
    };
    let mut m = Model::new(Volume::faulty_with(seed, setup), seed);
    m.await_scan();
    let faults = m.v.faults().unwrap();
    match fault {
        Fault::Fails(call, n) => faults.fail_call(call, n),
        Fault::PowerCut(n) => faults.cut_power_at(n),
        Fault::Room(bytes) => faults.set_room(Some(bytes)),
        Fault::FullAt(_) => {}
    }
    m.has_leaks = matches!(fault, Fault::Fails(Call::Read, _));
    for n in 0..STEPS {
        if matches!(fault, Fault::FullAt(at) if at == n as u64) {
            m.v.faults().unwrap().set_room(Some(0));
        }
        let before = m.state.clone();
        let mut is_same_mount = true;
        match n % 40 {
            9 | 19 | 29 => m.rest(),
            39 => is_same_mount = m.open_anew(),
            _ => m.act(),
        }
        m.past.push(m.state.clone());
        if m.v.has_failed() || m.was_refused.get() {
            if is_same_mount && !m.v.faults().is_some_and(Faults::is_dead) {
                m.go_on(&before);
            }
            return Some(m.mend());
        }
    }
    m.v.faults().unwrap().cancel();
    None
}

impl Model {
    /// Waits until the volume is verified: nothing is cleaned before.
    fn await_scan(&self) {
        while !self.v.core.txn.is_verified() && !self.v.has_failed() {
            std::thread::yield_now();
        }
    }

    /// Time passes: pages are folded, dead blocks are cleaned.
    fn rest(&mut self) {
        self.v.clock.advance(60);
        self.v.data.fold_step();
        for _ in 0..3 {
            let committed = self.v.core.txn.commit_wait();
            if self.answer(committed.map_err(FsError::from)).is_some() {
                self.names_are_durable();
            }
            let cleaned = self.v.blocks.clean();
            self.answer(cleaned.map_err(FsError::from));
        }
    }

    /// Ends the volume and opens it again. If that fails, what was not durable before may be lost, as in
    /// a crash; returns false then.
    fn open_anew(&mut self) -> bool {
        let opened = self.v.try_reopen();
        let is_open = self.answer(opened).is_some();
        if is_open {
            self.begin_again();
            self.names_are_durable();
            self.await_scan();
        }
        is_open
    }

    /// Crashes after a fault and goes on. Returns the call it has hit.
    fn mend(&mut self) -> &'static str {
        let hit = self.v.faults().and_then(Faults::hit);
        if let Some(faults) = self.v.faults() {
            faults.set_room(None);
        }
        self.v.crash();
        self.accept_crash();
        // The end of a mount waits for removals in progress.
        self.v.reopen();
        self.begin_again();
        integrity::check(&self.v, self.has_leaks);
        for _ in 0..10 {
            self.act();
            self.past.push(self.state.clone());
        }
        self.v.reopen();
        self.begin_again();
        integrity::check(&self.v, self.has_leaks);
        assert_eq!(self.observe(), self.state);
        hit.unwrap_or("admission")
    }

    /// Whatever has happened can be made durable, or nothing more at all.
    fn go_on(&mut self, before: &State) {
        // A failed landing is told to those who wait for it; who asks then tries again.
        for attempt in 1.. {
            match wait(|done| self.v.sync_all(done)) {
                Ok(()) => break,
                Err(_) if self.v.core.txn.is_poisoned() => return self.expect_read_only(before),
                Err(e) => assert!(self.is_excused(&e) && attempt < 4, "sync {attempt}: {e}"),
            }
        }
        let found = self.observe();
        is_between(&found, before, &self.state);
        self.state = found;
        self.begin_again();
        self.names_are_durable();
    }

    /// Every change fails and says why, every read goes on.
    fn expect_read_only(&self, before: &State) {
        let why = self.v.core.txn.poison().unwrap();
        assert!(why.contains("injected"), "{why}");
        let found = self.observe();
        is_between(&found, before, &self.state);
        let read_only = |what: &str, r: Result<(), FsError>| {
            assert!(matches!(r, Err(FsError::Io(_))), "{what}: {r:?}");
        };
        let (v, dir) = (&self.v, Ino::ROOT);
        read_only("mknod", v.try_file(dir, b"new").map(drop));
        read_only("mkdir", v.mkdir(ROOT, dir, b"new", 0o755, 0).map(drop));
        read_only("symlink", v.symlink(ROOT, dir, b"new", b"to").map(drop));
        read_only("setxattr", v.setxattr(ROOT, dir, b"user.new", b"", 0));
        read_only("fsync", v.sync(dir));
        read_only("sync", wait(|done| v.sync_all(done)));
        let Body::Dir(names) = &found.nodes[&dir].body else {
            return;
        };
        for (name, ino) in names {
            match found.nodes[ino].body {
                Body::Dir(_) if found.nodes[ino].nlink == 2 => {}
                Body::Dir(_) => continue,
                _ => read_only("link", v.link(*ino, dir, b"new").map(drop)),
            }
            let mode = SetAttr {
                mode: Some(0o700),
                ..Default::default()
            };
            read_only("setattr", v.set(ROOT, *ino, mode).map(drop));
            read_only("rename", v.mv((dir, name), (dir, b"new"), 0));
        }
        for ino in self.state.named(|b| matches!(b, Body::File(_))) {
            let size = SetAttr {
                size_bytes: Some(1 << 20),
                ..Default::default()
            };
            read_only("truncate", v.set(ROOT, ino, size).map(drop));
            read_only("write", v.write_at(ino, 0, b"x"));
            let allocated = wait(|done| v.fallocate(ROOT, ino, 0, 9, 0, done));
            read_only("fallocate", allocated);
            read_only("fsync", v.sync(ino));
        }
    }
}

/// Asserts that a state is that before an operation, that after it, or for contents between.
fn is_between(found: &State, before: &State, after: &State) {
    let shape = found.shape();
    assert!(
        shape == before.shape() || shape == after.shape(),
        "is {shape:?}\nwas {:?}\nshould be {:?}",
        before.shape(),
        after.shape()
    );
    for (ino, node) in &found.nodes {
        let Body::File(data) = &node.body else {
            continue;
        };
        let versions = [before, after].map(|s| s.nodes.contains_key(ino).then(|| s.data(*ino)));
        let versions: Vec<_> = versions.into_iter().flatten().collect();
        assert!(
            versions.iter().any(|v| data.len() <= v.len()),
            "{ino} is long"
        );
        for (n, page) in data.chunks(PAGE_BYTES).enumerate() {
            let known = versions.iter().any(|v| is_page(v, n, page));
            assert!(known, "page {n} of {ino}");
        }
    }
}

/// Does scripts again and again, each until its fault comes too late. Returns what was hit how often.
fn every(fault: impl Fn(u64) -> Fault) -> BTreeMap<&'static str, u32> {
    let mut hits = BTreeMap::new();
    let is_long = std::env::var_os("COFFER_TEST_LONG").is_some();
    for seed in 1..=if is_long { 60 } else { 2 } {
        for fault in (0..).map(&fault) {
            let Some(call) = script(seed, fault) else {
                break;
            };
            *hits.entry(call).or_default() += 1;
        }
    }
    hits
}

#[test]
fn every_read_may_fail() {
    let hits = every(|n| Fault::Fails(Call::Read, n));
    let calls = [
        "get",
        "multi_get",
        "scan",
        "snapshot",
        "read",
        "list",
        "free",
    ];
    assert!(calls.iter().all(|c| hits.contains_key(c)), "{hits:?}");
}

#[test]
fn every_change_may_fail() {
    let hits = every(|n| Fault::Fails(Call::Change, n));
    assert!(CHANGES.iter().all(|c| hits.contains_key(c)), "{hits:?}");
}

#[test]
fn the_power_may_go_during_every_change() {
    let hits = every(Fault::PowerCut);
    assert!(CHANGES.iter().all(|c| hits.contains_key(c)), "{hits:?}");
}

#[test]
fn the_disk_may_be_full_at_any_point() {
    let hits = every(|n| Fault::Room(n * ROOM_STEP_BYTES));
    assert!(hits.contains_key("admission"), "{hits:?}");
}

/// What was admitted before is brought into the space kept back for it.
#[test]
fn others_may_fill_the_disk_at_any_point() {
    let hits = every(Fault::FullAt);
    let calls = ["write", "admission"];
    assert!(calls.iter().all(|c| hits.contains_key(c)), "{hits:?}");
}
