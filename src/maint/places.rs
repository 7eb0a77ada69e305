//! The parts of files that lie in damaged blocks: one more pass over the extents.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Ino;
use crate::base::sync::Mutex;
use crate::format::key::Letter;
use crate::meta::{Extents, GROUP_CHUNKS};

use super::CheckError;
use super::blocks::half;
use super::fault::{Fault, Subject};
use super::finding::Severity;
use super::inodes::{Inodes, Row};
use super::naming::describe;
use super::pass::{Pass, hash_of, number_of};

/// Places of one block that are told.
const PLACES_MAX: usize = 64;

/// A part of a file: its inode, offset and length.
type Place = (u64, u64, u64);

/// Lets faults of lost blocks be about the parts of files that lie in them.
pub(super) fn find(
    pass: &Pass<'_>,
    inodes: &Inodes,
    faults: Vec<Fault>,
) -> Result<Vec<Fault>, CheckError> {
    let wanted: BTreeSet<[u8; 16]> = faults.iter().filter_map(lost_block).collect();
    if wanted.is_empty() {
        return Ok(faults);
    }
    let places = look_up(pass, inodes, &wanted)?;
    let mut out = Vec::with_capacity(faults.len());
    for fault in faults {
        let Some(places) = lost_block(&fault).and_then(|id| places.get(&id)) else {
            out.push(fault);
            continue;
        };
        let block = describe(&fault.subject);
        out.extend(places.iter().map(|(ino, offset, len)| Fault {
            code: fault.code,
            subject: Subject::Data(Ino(*ino), *offset, *len),
            detail: format!("{block}, {}", fault.detail),
        }));
    }
    Ok(out)
}

/// Returns the block of a fault that loses one.
fn lost_block(fault: &Fault) -> Option<[u8; 16]> {
    match fault.subject {
        Subject::Block(id) if fault.code.severity() == Severity::Lost => Some(id),
        _ => None,
    }
}

fn look_up(
    pass: &Pass<'_>,
    inodes: &Inodes,
    wanted: &BTreeSet<[u8; 16]>,
) -> Result<BTreeMap<[u8; 16], Vec<Place>>, CheckError> {
    let table = inodes.hashed(Row::may_have_extents, |ino| {
        hash_of(&pass.names.extents(ino, 0))
    });
    let chunk_bytes = u64::from(pass.target.chunk_bytes);
    let found: Mutex<BTreeMap<[u8; 16], Vec<Place>>> = Mutex::default();
    pass.over(
        Letter::Extents,
        |(): &mut (), key, record| {
            let extents = Extents::decode(&record.payload)?;
            let Some((row, _)) = inodes.find(&table, &hash_of(key)) else {
                return Ok(());
            };
            let first = number_of(key).saturating_mul(GROUP_CHUNKS as u64);
            for slot in 0..GROUP_CHUNKS {
                let id = extents.block(slot).map(|id| half(&id));
                let Some(id) = id.filter(|id| wanted.contains(id)) else {
                    continue;
                };
                let chunk = first.saturating_add(slot as u64);
                let offset = chunk.saturating_mul(chunk_bytes);
                let mut found = found.lock();
                let places = found.entry(id).or_default();
                if places.len() < PLACES_MAX {
                    places.push((row.ino, offset, row.len_at(offset, chunk_bytes)));
                }
            }
            Ok(())
        },
        |(), _| {},
    )?;
    Ok(found.into_inner())
}
