//! Random operations against a reference in memory, with reopens and crashes.
//!
//! A crash may lose only what was not synced: names are those after some operation since the last
//! commit that somebody waited for, and each page of a file is that of one of its versions since it
//! was synced, or since it was renamed if the name has survived.

mod crash;
mod each_call;
mod state;
mod steps;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

use state::{Body, State};

use super::volume::CHUNK;
use super::{Volume, integrity, wait};
use crate::base::{Ino, PAGE_BYTES};
use crate::fs::FsError;
use crate::kv::faulty::{Call, Faults};

/// Longest file.
const SIZE_MAX: usize = 12 * CHUNK;

/// A generator whose seed is printed when the test fails (xorshift).
struct Dice {
    seed: u64,
    state: u64,
}

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        usize::try_from(self.state % sides as u64).unwrap()
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        match from.len() {
            0 => None,
            n => Some(from[self.roll(n)]),
        }
    }
}

impl Drop for Dice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}", self.seed);
        }
    }
}

/// The contents a file has had since they were synced.
#[derive(Default)]
struct Versions {
    first: usize,
    all: Vec<Rc<Vec<u8>>>,
}

struct Model {
    v: Volume,
    dice: Dice,
    state: State,
    /// The states since the last commit that somebody waited for.
    past: Vec<State>,
    versions: BTreeMap<Ino, Versions>,
    /// Lookups the kernel would hold.
    held: BTreeMap<Ino, u64>,
    /// A failed read may have left a reference to a block.
    has_leaks: bool,
    /// An operation was refused because the disk is full.
    was_refused: Cell<bool>,
}

impl Model {
    fn new(v: Volume, seed: u64) -> Self {
        let state = State::new();
        Self {
            v,
            dice: Dice {
                seed,
                state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            },
            past: vec![state.clone()],
            state,
            versions: BTreeMap::new(),
            held: BTreeMap::new(),
            has_leaks: false,
            was_refused: Cell::new(false),
        }
    }

    fn dir(&mut self) -> Ino {
        let dirs = self.state.named(|b| matches!(b, Body::Dir(_)));
        self.dice.pick(&dirs).unwrap()
    }

    fn file(&mut self) -> Option<Ino> {
        let files = self.state.named(|b| matches!(b, Body::File(_)));
        self.dice.pick(&files)
    }

    fn name(&mut self) -> [u8; 1] {
        [b'a' + u8::try_from(self.dice.roll(8)).unwrap()]
    }

    /// An offset, often on a border.
    fn offset(&mut self) -> usize {
        match self.dice.roll(4) {
            0 => self.dice.roll(12) * CHUNK,
            1 => self.dice.roll(12 * CHUNK / PAGE_BYTES) * PAGE_BYTES,
            _ => self.dice.roll(SIZE_MAX),
        }
    }

    fn len(&mut self) -> usize {
        match self.dice.roll(4) {
            0 => self.dice.roll(3) * CHUNK + 1,
            1 => CHUNK * (1 + self.dice.roll(2)),
            _ => 1 + self.dice.roll(6000),
        }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        match self.dice.roll(8) {
            0 => vec![0; len],
            1 => vec![5; len],
            _ => {
                let start = self.dice.roll(1 << 20);
                (0..len)
                    .map(|n| low_byte(((start + n) * 7919) >> 3))
                    .collect()
            }
        }
    }

    /// Notes that an operation has changed the contents of a file.
    fn changed(&mut self, ino: Ino) {
        let data = self.state.data(ino);
        self.versions.entry(ino).or_default().all.push(data);
    }

    /// Returns what an operation has answered; none if something has failed meanwhile: it may
    /// have happened or not.
    #[track_caller]
    fn answer<T>(&self, real: Result<T, FsError>) -> Option<T> {
        match real {
            Err(e) if self.is_excused(&e) => None,
            real => Some(real.unwrap()),
        }
    }

    fn same<T, U>(&self, real: &Result<T, FsError>, model: &Result<U, FsError>, what: &str) {
        if real.as_ref().is_err_and(|e| self.is_excused(e)) {
            return;
        }
        let errno = |e: Option<&FsError>| e.map_or(0, FsError::errno);
        let (real, model) = (errno(real.as_ref().err()), errno(model.as_ref().err()));
        assert_eq!(real, model, "{what}");
    }

    /// Returns true if what has failed below explains this error.
    fn is_excused(&self, e: &FsError) -> bool {
        let is_full = self.v.faults().is_some_and(Faults::is_full);
        match e {
            FsError::Io(_) => self.v.has_failed() && !is_full,
            FsError::NoSpace if is_full => {
                self.was_refused.set(true);
                true
            }
            _ => false,
        }
    }

    fn names_are_durable(&mut self) {
        self.past = vec![self.state.clone()];
    }

    fn sync(&mut self) {
        match self.dice.roll(3) {
            0 => {
                let committed = self.v.core.txn.commit_wait();
                if self.answer(committed.map_err(FsError::from)).is_none() {
                    return;
                }
            }
            1 => {
                if self.answer(wait(|done| self.v.sync_all(done))).is_none() {
                    return;
                }
                let files: Vec<Ino> = self.versions.keys().copied().collect();
                files.into_iter().for_each(|f| self.contents_are_durable(f));
            }
            _ => {
                let Some(ino) = self.file() else {
                    return;
                };
                if self.answer(self.v.sync(ino)).is_none() {
                    return;
                }
                self.contents_are_durable(ino);
            }
        }
        self.names_are_durable();
    }

    fn contents_are_durable(&mut self, ino: Ino) {
        if let Some(v) = self.versions.get_mut(&ino) {
            v.first += v.all.len() - 1;
            v.all.drain(..v.all.len() - 1);
        }
    }

    /// One random operation; reopens and crashes are none.
    fn act(&mut self) {
        match self.dice.roll(98) {
            0..15 => self.make(),
            15..40 => self.change_names(),
            40..70 => self.change_contents(),
            70..76 => self.change_attributes(),
            76..90 => self.look(),
            90..93 => self.forget(),
            _ => self.sync(),
        }
    }

    fn step(&mut self) {
        match self.dice.roll(100) {
            0..98 => self.act(),
            98 if self.v.faults().is_some_and(Faults::is_armed) => {}
            98 => {
                self.v.reopen();
                integrity::check(&self.v, self.has_leaks);
                self.begin_again();
                assert_eq!(self.observe(), self.state);
            }
            _ => self.crash(),
        }
        if self.v.has_failed() {
            // Whatever was begun is durable now, whole or not at all; unless the power is cut.
            self.past.push(self.state.clone());
            drop(self.v.core.txn.commit_wait());
            self.crash();
        }
        self.past.push(self.state.clone());
    }

    /// Lets something fail soon, now and then.
    fn arm(&mut self) {
        let (sort, n) = (self.dice.roll(40), self.dice.roll(20) as u64);
        let Some(faults) = self.v.faults().filter(|f| !f.is_armed()) else {
            return;
        };
        match sort {
            0 => faults.cut_power_at(n),
            1 => {
                faults.fail_call(Call::Read, n);
                self.has_leaks = true;
            }
            2 => faults.fail_call(Call::Change, n),
            _ => {}
        }
    }

    fn crash(&mut self) {
        match self.dice.roll(4) {
            0 => self.v.crash_twice(self.dice.roll(8) as u64),
            _ => self.v.crash(),
        }
        self.accept_crash();
        self.begin_again();
    }

    /// After a reopen the kernel holds nothing, and everything is durable.
    fn begin_again(&mut self) {
        self.held.clear();
        self.state.drop_orphans();
        self.versions.clear();
        for node in self.state.nodes.values_mut() {
            node.since = 0;
        }
        for ino in self.state.named(|b| matches!(b, Body::File(_))) {
            self.changed(ino);
        }
        self.past.clear();
    }
}

fn low_byte(n: usize) -> u8 {
    let [low, ..] = n.to_le_bytes();
    low
}

fn run(v: Volume, seed: u64, steps: usize) {
    let mut m = Model::new(v, seed);
    for _ in 0..steps {
        m.arm();
        m.step();
    }
    if m.v.has_failed() {
        m.crash();
    }
    if let Some(faults) = m.v.faults() {
        faults.cancel();
    }
    m.state.drop_orphans();
    m.v.reopen();
    integrity::check(&m.v, m.has_leaks);
    m.begin_again();
    assert_eq!(m.observe(), m.state);
}

#[test]
fn random_operations_agree_with_the_reference() {
    for seed in 1..=4 {
        run(Volume::new(), seed, 600);
    }
}

/// The power is cut, and reads and writes fail, in every layer, while files are written, removed,
/// moved and synced, and while the volume is opened again.
#[test]
fn random_operations_survive_power_cuts() {
    for seed in 1..=30 {
        run(Volume::faulty(seed), seed, 400);
    }
}
