//! Health: whether a volume is whole, told as data.
//!
//! [`check`] looks at every record of one moment, in passes over the key space (`pass`): the table of
//! inodes (`inodes`), names (`tree`), blocks (`blocks`), contents (`contents`), packs (`packs`), the
//! root (`accounts`) and, if asked, the bytes of all blocks (`data`). What is wrong is noted by number
//! (`fault`) and gets its names at the end (`owners`, `places`, `naming`). Nothing is changed here.
//!
//! Memory grows with the number of inodes and blocks, by some hundred bytes and by 44 bytes each.
//! Nothing that a damaged volume holds makes a check fail: it fails only when the store cannot be
//! asked at all, or when whoever watches wants no more.

mod accounts;
mod blocks;
mod contents;
mod data;
mod fault;
mod finding;
mod inodes;
mod naming;
mod owners;
mod packs;
mod pass;
mod places;
mod report;
mod tree;

#[cfg(test)]
mod tests;

use std::num::NonZero;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::base::{Clock, SystemClock};
use crate::format::root::Root;
use crate::sealed::{Records, SealedError, SealedPacks};

pub use finding::{ByteRange, Code, Finding, Severity};
pub use report::{Looked, Report};

use pass::Pass;

/// Threads of a check at most: beyond, the disk is what it waits for.
const THREADS_MAX: usize = 8;

/// Why a check did not come to its end.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum CheckError {
    /// The store cannot be asked at all.
    #[error("the store cannot be read")]
    Store(#[from] SealedError),
    /// Whoever watches wanted no more.
    #[error("the check was stopped before its end; run it again")]
    Stopped,
}

/// What is checked.
#[derive(Clone, Copy)]
pub struct Target<'a> {
    /// The records.
    pub records: &'a Records,
    /// The packs.
    pub packs: &'a SealedPacks,
    /// Plaintext bytes of a chunk.
    pub chunk_bytes: u32,
}

/// How much is checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckOptions {
    /// Read, open and compare the contents of every block.
    pub read_data: bool,
}

/// What a check is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Looking at records; the steps are records.
    Records,
    /// Reading blocks; the steps are bytes.
    Data,
    /// Finding the names of what was found.
    Names,
}

/// How far a check has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Steps done in this phase.
    pub done: u64,
    /// Steps there are, as far as known.
    pub total: u64,
}

/// Is told, from any thread, how far a check has come; returns false to stop it.
pub type Watch<'a> = dyn Fn(Progress) -> bool + Sync + 'a;

/// Checks the records of this moment, and the packs.
///
/// # Errors
/// When the store cannot be read at all, or `watch` has returned false. Damage is no error.
pub fn check(
    target: Target<'_>,
    options: CheckOptions,
    watch: &Watch<'_>,
) -> Result<Report, CheckError> {
    let started = SystemClock.monotonic();
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut pass = Pass::new(target, threads.min(THREADS_MAX), watch)?;
    let root = accounts::root(&mut pass)?;
    let pass = pass;
    // Every record is looked at once; the root tells about how many there are.
    let expected = root.as_ref().map_or(0, |r| r.counts.iter().sum());
    pass.begin(Phase::Records, expected);
    let mut looked = Looked::default();
    pass.foreign()?;
    accounts::settings(&pass)?;
    let next_ino = root.as_ref().map_or(u64::MAX, |r| r.next_ino);
    let inodes = inodes::Inodes::load(&pass, next_ino)?;
    looked.inodes = inodes.rows.len() as u64;
    looked.directories = inodes.dirs.len() as u64;
    looked.names = tree::check(&pass, &inodes)?;
    let blocks = blocks::Blocks::load(&pass)?;
    looked.blocks = blocks.rows.len() as u64;
    looked.pages = contents::check(&pass, &inodes, &blocks)?;
    blocks.references(&pass)?;
    let next_pack = root.as_ref().map_or(u32::MAX, |r| r.next_pack);
    looked.packs = packs::check(&pass, &blocks, next_pack)?;
    accounts::compare(&pass, root.as_ref(), &inodes);
    if options.read_data {
        looked.data_bytes = data::check(&pass, &blocks)?;
    }
    looked.records = pass.sums().records;
    let (faults, counts) = pass.faults.take();
    pass.begin(Phase::Names, 0);
    let findings = match faults.is_empty() {
        true => Vec::new(),
        false => naming::name(&pass, &inodes, faults)?,
    };
    Ok(Report {
        generation: root.map(|r: Root| r.generation.0),
        read_data: options.read_data,
        looked,
        findings,
        counts,
        elapsed: SystemClock.monotonic() - started,
    })
}
