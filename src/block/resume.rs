//! Opening: the packs as the last commit left them.
//!
//! Nothing is destroyed here: that waits for the scan of the digests (SECURITY G8). What a crash left
//! behind the last commit is counted as dead; the pack appended to last goes on behind it.

use std::collections::{BTreeMap, HashMap};

use crate::base::{ContentId, DIRECT_IO_ALIGN, PackNo};
use crate::format::account::PackAccount;
use crate::format::blockref::BlockRef;
use crate::format::bytes::DecodeError;
use crate::format::key::{Key, Letter};
use crate::format::punch::{Range, decode_ids, decode_ranges};
use crate::sealed::{PackWriter, SealedPacks};
use crate::txn::{Txn, TxnError};

use super::pack::{Dead, Pack};
use super::ranges::RangeSet;
use super::{BlockError, failed};

/// A pack with less than this share of its size left is not appended to again.
const ROOM_MIN_SHARE: u32 = 16;

/// Records looked at in one scan.
const SCAN_STEP: usize = 1024;

/// What was found.
pub(super) struct Found {
    pub(super) packs: BTreeMap<PackNo, Pack>,
    /// Files without an account: nobody can name what is in them.
    pub(super) strays: Vec<PackNo>,
    /// The smallest number that no file has and none above it.
    pub(super) first_free: u32,
    /// Lengths of the files, in bytes.
    files: HashMap<PackNo, u64>,
}

/// Calls `each` for all records with this letter.
fn for_all(
    txn: &Txn,
    letter: Letter,
    mut each: impl FnMut(PackNo, u32, &[u8]) -> Result<(), BlockError>,
) -> Result<(), BlockError> {
    let mut from = Key::new(letter, &[]);
    let to = from.prefix_end();
    loop {
        let found = txn.scan(&from, &to, SCAN_STEP)?;
        for (key, payload) in &found {
            let (pack, n) = numbers(key).ok_or(malformed("pack key"))?;
            each(pack, n, payload)?;
        }
        match found.last() {
            Some((key, _)) if found.len() == SCAN_STEP => from = key.successor(),
            _ => return Ok(()),
        }
    }
}

/// Returns the pack of a key, and the number after it if there is one.
fn numbers(key: &Key) -> Option<(PackNo, u32)> {
    let (pack, rest) = key.as_bytes().get(1..)?.split_first_chunk::<4>()?;
    let n = rest
        .first_chunk::<4>()
        .map_or(0, |n| u32::from_be_bytes(*n));
    Some((PackNo(u32::from_be_bytes(*pack)), n))
}

fn malformed(what: &'static str) -> BlockError {
    BlockError::Txn(TxnError::from(DecodeError { what }))
}

fn decoded<T>(found: Result<T, DecodeError>) -> Result<T, BlockError> {
    found.map_err(|e| BlockError::Txn(TxnError::from(e)))
}

/// Reads the accounts and dead ranges of all packs, and looks at their files.
pub(super) fn find(txn: &Txn, packs: &SealedPacks) -> Result<Found, BlockError> {
    let mut found = Found {
        packs: BTreeMap::new(),
        strays: Vec::new(),
        first_free: 1,
        files: HashMap::new(),
    };
    for_all(txn, Letter::Account, |no, _, payload| {
        let account = decoded(PackAccount::decode(payload))?;
        found.packs.insert(no, Pack::with_account(no, account));
        Ok(())
    })?;
    for_all(txn, Letter::Punch, |no, seq, payload| {
        let ranges = decoded(decode_ranges(payload))?.into_iter().collect();
        if let Some(pack) = found.packs.get_mut(&no) {
            pack.dead.push(Dead {
                seq,
                group: 0,
                ranges,
            });
        }
        Ok(())
    })?;
    for (no, len) in packs.list().map_err(failed)? {
        found.first_free = found.first_free.max(no.0.saturating_add(1));
        if !found.packs.contains_key(&no) {
            found.strays.push(no);
        }
        found.files.insert(no, len);
    }
    for pack in found.packs.values_mut() {
        let len = found.files.get(&pack.no).copied().unwrap_or(0);
        if len < u64::from(pack.account.written) && pack.account.live > 0 {
            eprintln!(
                "coffer: ERROR C-MISSING: pack {} has {len} bytes, the last commit names {}; files \
                 with blocks there cannot be read; run a check of the volume",
                pack.no, pack.account.written
            );
            pack.is_stuck = true;
        }
    }
    Ok(found)
}

/// Returns the content ids in the first `lists` lists of a pack.
pub(super) fn listed_ids(txn: &Txn, no: PackNo, lists: u32) -> Result<Vec<ContentId>, BlockError> {
    let keys: Vec<Key> = (0..lists).map(|n| Key::pack_list(no, n)).collect();
    let mut ids = Vec::new();
    for payload in txn.multi_get(&keys)?.iter().flatten() {
        ids.extend(decoded(decode_ids(payload))?);
    }
    Ok(ids)
}

/// Returns the blocks that lie in a pack in the latest state, by their offset.
pub(super) fn live_blocks(
    txn: &Txn,
    no: PackNo,
    ids: &[ContentId],
) -> Result<BTreeMap<u32, (ContentId, BlockRef)>, BlockError> {
    let mut out = BTreeMap::new();
    for ids in ids.chunks(SCAN_STEP) {
        let keys: Vec<Key> = ids.iter().map(Key::block).collect();
        for (id, payload) in ids.iter().zip(txn.multi_get(&keys)?) {
            let Some(payload) = payload else { continue };
            let block = decoded(BlockRef::decode(&payload))?;
            if block.place.pack == no {
                out.insert(block.place.offset, (*id, block));
            }
        }
    }
    Ok(out)
}

/// Brings the packs that were not sealed in order, and returns the writer of the one to go on with.
pub(super) fn settle(
    txn: &Txn,
    packs: &SealedPacks,
    found: &mut Found,
    pack_bytes: u32,
) -> Result<Option<PackWriter>, BlockError> {
    let border = u32::try_from(DIRECT_IO_ALIGN).expect("4096");
    let mut writer = None;
    for pack in found.packs.values_mut().rev() {
        if pack.account.sealed || pack.is_stuck {
            continue;
        }
        let len = found.files.get(&pack.no).copied().unwrap_or(0);
        let len = u32::try_from(len).unwrap_or(u32::MAX).min(pack_bytes);
        let end = len.max(pack.account.written).next_multiple_of(border);
        recount(txn, pack, end)?;
        let fits = end <= pack_bytes - pack_bytes / ROOM_MIN_SHARE;
        if writer.is_none() && fits && pack.account.epoch == packs.epoch() {
            pack.is_open = true;
            writer = Some(packs.resume(pack.no, end));
        }
    }
    Ok(writer)
}

/// Finds out what is alive in a pack that ends at `end`; all else is dead.
fn recount(txn: &Txn, pack: &mut Pack, end: u32) -> Result<(), BlockError> {
    let ids = listed_ids(txn, pack.no, pack.account.lists)?;
    let live = live_blocks(txn, pack.no, &ids)?;
    let live: RangeSet = live
        .values()
        .map(|(_, b)| Range {
            offset: b.place.offset,
            len: b.shape.sealed_len(),
        })
        .collect();
    pack.account.written = end;
    pack.account.live = live.bytes();
    // What was punched already is punched once more: that is cheaper than to tell it apart.
    pack.account.punched = 0;
    if pack.account.lists > 0 {
        let last = Key::pack_list(pack.no, pack.account.lists - 1);
        if let Some(payload) = txn.get(&last)? {
            pack.last_ids = decoded(decode_ids(&payload))?;
        }
    }
    let mut op = txn.begin()?;
    for dead in pack.dead.drain(..) {
        op.delete(Key::punch(pack.no, dead.seq));
    }
    pack.unrecorded = live.complement(end).iter().collect();
    pack.record_unrecorded(&mut op);
    pack.put_account(&mut op);
    Ok(())
}
