//! One directory of very many entries: made, listed while it changes, removed.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::{AtFlags, FileType, Mode, mknodat, renameat, unlinkat};

use super::pss_bytes;
use crate::harness::{TestVolume, length, report};

const MIB: u64 = 1 << 20;

/// Parts of a phase whose rates are reported.
const PARTS: u32 = 10;

/// One half of a phase may take so many times as long as the other, and this much longer: a machine
/// that others use has such moments. With a cost that grew with the directory it would be more, the
/// larger the directory the surer.
const HALVES: u32 = 3;
const MOMENT: Duration = Duration::from_secs(5);

/// Does `count` steps in ten parts and reports the rate, memory and store size of each.
fn in_parts(v: &TestVolume, what: &str, count: u32, mut step: impl FnMut(u32)) {
    let worker = v.worker();
    let part = count.div_ceil(PARTS);
    let mut took = Vec::new();
    let mut pss = 0;
    let mut curve = String::new();
    for n in 0..PARTS {
        let start = Instant::now();
        (n * part..((n + 1) * part).min(count)).for_each(&mut step);
        took.push(start.elapsed());
        let ms = took.last().map_or(1, |t| t.as_millis().max(1));
        curve += &format!(" {}", u128::from(part) * 1000 / ms);
        pss = pss.max(pss_bytes(worker));
    }
    let (first, second) = took.split_at(took.len() / 2);
    let halves: [Duration; 2] = [first.iter().sum(), second.iter().sum()];
    report(&format!(
        "{what} {count} entries in {:.1} s; per second by tenths:{curve}; worker at most {} MiB, store {} MiB",
        (halves[0] + halves[1]).as_secs_f64(),
        pss / MIB,
        v.allocated_bytes() / MIB
    ));
    let [quick, slow] = [halves[0].min(halves[1]), halves[0].max(halves[1])];
    assert!(
        slow < quick * HALVES + MOMENT,
        "{what}: its halves took {halves:?}"
    );
}

fn name(n: u32) -> String {
    format!("stays-{n}")
}

/// Lists a directory and asserts that each of `count` entries that stay comes once.
fn every_entry_once(dir: &Path, count: u32) -> u64 {
    let mut seen = vec![false; usize::try_from(count).expect("a test's count")];
    let mut others = 0;
    for entry in fs::read_dir(dir).expect("it can be listed") {
        let entry = entry.expect("the listing goes on").file_name();
        let Some(n) = entry.as_bytes().strip_prefix(b"stays-") else {
            others += 1;
            continue;
        };
        let n = std::str::from_utf8(n).ok().and_then(|n| n.parse().ok());
        let n: usize = n.expect("names are as they were made");
        assert!(!std::mem::replace(&mut seen[n], true), "{n} came twice");
    }
    let missing = seen.iter().position(|s| !s);
    assert_eq!(missing, None, "an entry that was there all the time");
    others
}

/// Makes, renames and removes an entry, again and again, until it is told to stop.
fn churn(dir: &File, who: u32, changes: &AtomicU32, stop: &AtomicBool) {
    let (new, moved) = (format!("c{who}"), format!("moved{who}"));
    while !stop.load(Ordering::Acquire) {
        mknodat(dir, &new, FileType::RegularFile, Mode::RUSR, 0).expect("a new entry");
        renameat(dir, &new, dir, &moved).expect("a rename");
        unlinkat(dir, &moved, AtFlags::empty()).expect("an entry");
        changes.fetch_add(1, Ordering::AcqRel);
    }
}

/// Lists a directory, twice at a time, while entries come, move and go; returns the lists and changes.
fn list_while_it_changes(dir: &Path, at: &File, count: u32) -> (u32, u32) {
    let (changes, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    let enough = length(200, 20_000);
    let lists = std::thread::scope(|scope| {
        let (changes, stop) = (&changes, &stop);
        for who in [1, 2] {
            scope.spawn(move || churn(at, who, changes, stop));
        }
        let listers = [1, 2].map(|_| {
            scope.spawn(|| {
                let mut lists = 0;
                while lists < 2 || changes.load(Ordering::Acquire) < enough {
                    every_entry_once(dir, count);
                    lists += 1;
                }
                lists
            })
        });
        // A lister that fails must not leave the churners alone.
        let lists = listers.map(std::thread::ScopedJoinHandle::join);
        stop.store(true, Ordering::Release);
        lists.map(|l| l.expect("every entry once")).iter().sum()
    });
    (lists, changes.into_inner())
}

#[test]
fn a_directory_of_very_many_entries() {
    let count = length(100_000, 10_000_000);
    let v = TestVolume::new();
    let dir = v.mount().join("many");
    fs::create_dir(&dir).expect("mounted");
    let at = File::open(&dir).expect("made");
    in_parts(&v, "made", count, |n| {
        mknodat(&at, name(n), FileType::RegularFile, Mode::RUSR, 0).expect("a new entry");
    });
    let start = Instant::now();
    assert_eq!(every_entry_once(&dir, count), 0);
    let still = start.elapsed();
    let (lists, changes) = list_while_it_changes(&dir, &at, count);
    report(&format!(
        "listed in {still:?}; {lists} more lists while {changes} entries came, moved and went: each once"
    ));
    drop(at);
    let dir = v.remount().join("many");
    assert_eq!(every_entry_once(&dir, count), 0);
    let at = File::open(&dir).expect("kept");
    let listed = || fs::read_dir(&dir).expect("it can be listed");
    let mut entries = listed();
    in_parts(&v, "removed", count, |_| {
        let entry = entries.next().expect("as many as there were");
        let name = entry.expect("the listing goes on").file_name();
        unlinkat(&at, name, AtFlags::empty()).expect("an entry");
    });
    assert_eq!(listed().count(), 0);
    drop((at, entries));
    fs::remove_dir(&dir).expect("it is empty");
    let root = v.remount();
    assert_eq!(fs::read_dir(root).expect("mounted").count(), 0);
}

/// A queue: the first entries are listed and removed, again and again, as a mail spool does. What was
/// removed must not make the next look slower.
#[test]
fn a_queue_is_emptied_from_its_front() {
    let count = length(20_000, 1_000_000);
    let v = TestVolume::new();
    let dir = v.mount().join("queue");
    fs::create_dir(&dir).expect("mounted");
    let at = File::open(&dir).expect("made");
    for n in 0..count {
        mknodat(&at, name(n), FileType::RegularFile, Mode::RUSR, 0).expect("a new entry");
    }
    let mut front = Vec::new();
    in_parts(&v, "served", count, |_| {
        if front.is_empty() {
            let entries = fs::read_dir(&dir).expect("it can be listed");
            front.extend(entries.take(50).map(|e| e.expect("it goes on").file_name()));
        }
        let name = front.pop().expect("as many as there were");
        unlinkat(&at, name, AtFlags::empty()).expect("an entry");
    });
    assert_eq!(fs::read_dir(&dir).expect("it can be listed").count(), 0);
}
