//! Packs: accounts, lists and dead ranges agree with the blocks, and the files are long enough.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::PackNo;
use crate::base::sync::Ordering;
use crate::format::account::PackAccount;
use crate::format::key::Letter;
use crate::format::punch::{Range, decode_ids, decode_ranges};

use super::CheckError;
use super::blocks::{Block, Blocks};
use super::fault::Subject;
use super::finding::Code;
use super::pass::{Pass, pack_of};

/// What the records say of one pack.
#[derive(Default)]
struct Pack {
    account: Option<PackAccount>,
    /// Its account is damaged.
    is_damaged: bool,
    lists: BTreeSet<u32>,
    punches: BTreeSet<u32>,
    dead: Vec<Range>,
    /// Some of its records are damaged.
    is_opaque: bool,
}

/// Compares all packs with their blocks; returns how many there are.
pub(super) fn check(pass: &Pass<'_>, blocks: &Blocks, next_pack: u32) -> Result<u64, CheckError> {
    let mut packs = load(pass, blocks)?;
    let files: BTreeMap<PackNo, u64> = pass.target.packs.list()?.into_iter().collect();
    let order = in_order(blocks);
    for piece in order.chunk_by(|a, b| a.pack == b.pack) {
        if let Some(first) = piece.first() {
            packs.entry(first.pack).or_default();
        }
    }
    not_listed(pass, blocks);
    let mut rest = order.as_slice();
    for (no, pack) in &mut packs {
        let count = rest.partition_point(|b| b.pack <= *no);
        let (own, behind) = rest.split_at(count);
        rest = behind;
        let file = files.get(no).copied();
        Look { pass, no: *no }.pack(pack, own, file);
        if no.0 >= next_pack {
            let detail = format!("pack {no} exists, the next one would be {next_pack}");
            pass.note(Code::NextNumber, Subject::Pack(*no), detail);
        }
    }
    Ok(packs.len() as u64)
}

/// Returns the blocks in the order in which they lie in the packs.
pub(super) fn in_order(blocks: &Blocks) -> Vec<&Block> {
    let mut order: Vec<&Block> = blocks.rows.iter().filter(|b| !b.is_damaged()).collect();
    order.sort_unstable_by_key(|b| (b.pack, b.offset));
    order
}

fn load(pass: &Pass<'_>, blocks: &Blocks) -> Result<BTreeMap<PackNo, Pack>, CheckError> {
    let mut packs: BTreeMap<PackNo, Pack> = BTreeMap::new();
    let accounts = pass.over(
        Letter::Account,
        |found: &mut Vec<_>, key, record| {
            found.push((pack_of(key).0, Some(PackAccount::decode(&record.payload)?)));
            Ok(())
        },
        |found, key| found.push((pack_of(key).0, None)),
    )?;
    for (no, account) in accounts.into_iter().flatten() {
        let pack = packs.entry(no).or_default();
        pack.is_damaged = account.is_none();
        pack.account = account;
    }
    let lists = pass.over(
        Letter::PackList,
        |found: &mut Vec<_>, key, record| {
            let (no, n) = pack_of(key);
            for id in decode_ids(&record.payload)? {
                if let Some(block) = blocks.get(&id).filter(|b| b.pack == no) {
                    block.is_listed.store(true, Ordering::Relaxed);
                }
            }
            found.push((no, n, false));
            Ok(())
        },
        |found, key| found.push((pack_of(key).0, pack_of(key).1, true)),
    )?;
    for (no, n, is_damaged) in lists.into_iter().flatten() {
        let pack = packs.entry(no).or_default();
        pack.lists.insert(n);
        pack.is_opaque |= is_damaged;
    }
    let punches = pass.over(
        Letter::Punch,
        |found: &mut Vec<_>, key, record| {
            let (no, seq) = pack_of(key);
            found.push((no, seq, Some(decode_ranges(&record.payload)?)));
            Ok(())
        },
        |found, key| found.push((pack_of(key).0, pack_of(key).1, None)),
    )?;
    for (no, seq, ranges) in punches.into_iter().flatten() {
        let pack = packs.entry(no).or_default();
        pack.punches.insert(seq);
        pack.is_opaque |= ranges.is_none();
        pack.dead.extend(ranges.into_iter().flatten());
    }
    Ok(packs)
}

/// Notes the blocks that no list of their pack names.
fn not_listed(pass: &Pass<'_>, blocks: &Blocks) {
    for b in &blocks.rows {
        if !b.is_listed.load(Ordering::Relaxed) {
            let detail = format!("pack {}", b.pack);
            pass.note(Code::NotListed, Subject::Block(b.id), detail);
        }
    }
}

/// A look at one pack.
struct Look<'p, 'a> {
    pass: &'p Pass<'a>,
    no: PackNo,
}

impl Look<'_, '_> {
    fn note(&self, code: Code, detail: String) {
        self.pass.note(code, Subject::Pack(self.no), detail);
    }

    /// Compares the records of a pack with its blocks, which are in their order, and its file.
    fn pack(&self, pack: &mut Pack, blocks: &[&Block], file: Option<u64>) {
        let end = blocks.iter().map(|b| b.end()).max().unwrap_or(0);
        let Some(account) = &pack.account else {
            if !pack.is_damaged && (!blocks.is_empty() || !pack.lists.is_empty()) {
                self.note(
                    Code::NoAccount,
                    format!("{} blocks lie in it", blocks.len()),
                );
            }
            return self.file(blocks, file, end);
        };
        let live: u64 = blocks.iter().map(|b| u64::from(b.len)).sum();
        if u64::from(account.live) != live {
            let detail = format!("{} live bytes counted, {live} found", account.live);
            self.note(Code::LiveBytes, detail);
        }
        let epochs = blocks.iter().filter(|b| b.epoch != account.epoch.0).count();
        if epochs > 0 {
            let detail = format!("{epochs} blocks are not of epoch {}", account.epoch);
            self.note(Code::PackEpoch, detail);
        }
        self.records(pack, account);
        let written = u64::from(account.written);
        let dead_end = pack.dead.iter().map(|r| u64::from(r.end())).max();
        if end.max(dead_end.unwrap_or(0)) > written {
            let last = end.max(dead_end.unwrap_or(0));
            let detail = format!("something ends at {last}, and {written} bytes are written");
            self.note(Code::BeyondThePack, detail);
        }
        self.overlaps(blocks, &mut pack.dead);
        let dead: u64 = pack.dead.iter().map(|r| u64::from(r.len)).sum();
        let sum = live + dead + u64::from(account.punched);
        let is_sum = if account.sealed {
            sum == written
        } else {
            sum <= written
        };
        if !is_sum && !pack.is_opaque {
            let detail = format!(
                "{live} bytes live, {dead} dead, {} given back, {written} written",
                account.punched
            );
            self.note(Code::PackSum, detail);
        }
        self.file(blocks, file, written);
    }

    fn records(&self, pack: &Pack, account: &PackAccount) {
        let missing = (0..account.lists)
            .filter(|n| !pack.lists.contains(n))
            .count();
        let unknown = pack.lists.range(account.lists..).count();
        if missing > 0 || unknown > 0 {
            let detail = format!("{missing} lists are missing, {unknown} are not counted");
            self.note(Code::PackRecords, detail);
        }
        let unknown = pack.punches.range(account.next_punch..).count();
        if unknown > 0 {
            let detail = format!("{unknown} records of dead ranges have numbers to come");
            self.note(Code::PackRecords, detail);
        }
    }

    fn overlaps(&self, blocks: &[&Block], dead: &mut [Range]) {
        dead.sort_unstable();
        let mut dead = dead
            .iter()
            .map(|r| (u64::from(r.offset), u64::from(r.end())))
            .peekable();
        let mut live = blocks
            .iter()
            .map(|b| (u64::from(b.offset), b.end()))
            .peekable();
        let (mut last, mut shared) = (0, None);
        loop {
            let next = match (live.peek(), dead.peek()) {
                (Some(l), Some(d)) if l <= d => live.next(),
                (Some(_), None) => live.next(),
                (_, Some(_)) => dead.next(),
                (None, None) => break,
            };
            let Some((start, end)) = next else { break };
            if start < last {
                shared.get_or_insert(start);
            }
            last = last.max(end);
        }
        if let Some(at) = shared {
            self.note(Code::Overlap, format!("byte {at} belongs to two"));
        }
    }

    /// Compares the file of the pack with the bytes that are needed of it.
    fn file(&self, blocks: &[&Block], file: Option<u64>, needed: u64) {
        for b in blocks.iter().filter(|b| b.end() > file.unwrap_or(0)) {
            let detail = format!("pack {}, offset {}", self.no, b.offset);
            let subject = Subject::Block(b.id);
            self.pass.note(Code::BlockAbsent, subject, detail);
        }
        match file {
            None if needed > 0 => self.note(Code::PackFile, "it is missing".into()),
            Some(len) if len < needed => {
                let detail = format!("it has {len} bytes, and {needed} are written");
                self.note(Code::PackFile, detail);
            }
            _ => {}
        }
    }
}
