//! The root against what is there: authenticity, set digests, counts, numbers to come.

use crate::base::Generation;
use crate::format::key::{Key, Letter};
use crate::format::root::{BUCKETS, Root};
use crate::format::settings::Settings;

use super::CheckError;
use super::fault::Subject;
use super::finding::Code;
use super::inodes::Inodes;
use super::pass::{Pass, chain};

/// Reads the root; none if it is missing or damaged.
pub(super) fn root(pass: &mut Pass<'_>) -> Result<Option<Root>, CheckError> {
    let note = |detail: String| pass.note(Code::Root, Subject::Volume, detail);
    let opened = match pass.get(&Key::root())? {
        None => {
            note("it is missing".into());
            return Ok(None);
        }
        Some(opened) => opened,
    };
    let root = match opened.map(|r| Root::decode(&r.payload)) {
        Ok(Ok(root)) => root,
        Ok(Err(e)) => {
            note(chain(&e));
            return Ok(None);
        }
        Err(e) => {
            note(chain(&e));
            return Ok(None);
        }
    };
    if let Some(signature) = &root.signature {
        let keyset = pass.target.records.keyset();
        if let Err(e) = keyset.verify_root(&root.signed_bytes(), signature) {
            note(format!("its signature: {}", chain(&e)));
        }
    }
    pass.generation = Generation(root.generation.0);
    Ok(Some(root))
}

/// Looks at the settings.
pub(super) fn settings(pass: &Pass<'_>) -> Result<(), CheckError> {
    let pieces = pass.over(
        Letter::Root,
        |found: &mut u32, _, record| {
            *found += 1;
            Settings::decode(&record.payload).map(drop)
        },
        |_, _| {},
    )?;
    if pieces.iter().all(|found| *found == 0) && !pass.is_incomplete(Letter::Root) {
        pass.note(Code::Settings, Subject::Volume, "they are missing");
    }
    Ok(())
}

/// Compares what the root says with what all passes have met.
pub(super) fn compare(pass: &Pass<'_>, root: Option<&Root>, inodes: &Inodes) {
    let Some(root) = root else {
        return;
    };
    let sums = pass.sums();
    let bad = sums.digests.differing(&root.digests);
    if !bad.is_empty() {
        let detail = format!("buckets {bad:?} of {BUCKETS}");
        pass.note(Code::SetDigest, Subject::Volume, detail);
    }
    for (kind, (found, counted)) in sums.counts.iter().zip(root.counts).enumerate() {
        if *found != counted {
            let detail = format!("kind {kind}: {counted} counted, {found} found");
            pass.note(Code::RecordCount, Subject::Volume, detail);
        }
    }
    let there = inodes.rows.len() as u64;
    if root.inodes != there {
        let detail = format!("{} counted, {there} found", root.inodes);
        pass.note(Code::InodeCount, Subject::Volume, detail);
    }
    // What a damaged inode counts is not known.
    let is_known = inodes.rows.iter().all(|r| !r.is_damaged);
    let used: u64 = inodes.rows.iter().map(|r| r.used_pages).sum();
    if is_known && root.used_pages != used {
        let detail = format!("{} pages counted, {used} found", root.used_pages);
        pass.note(Code::UsedPages, Subject::Volume, detail);
    }
}
