//! What a check notes while it looks: faults by number, which get their names at the end.

use std::collections::BTreeMap;

use crate::base::sync::Mutex;
use crate::base::{Ino, PackNo};
use crate::format::key::Key;

use super::finding::{ByteRange, Code};

/// Faults of one kind that are kept: enough for a person, and bounded for the machine.
const KEPT_PER_CODE: u64 = 2000;

/// What a fault is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    Volume,
    Record(Key),
    Foreign(Vec<u8>),
    Inode(Ino),
    /// A name, in a directory whose number is not known if there is none.
    Name(Option<Ino>, Vec<u8>),
    /// Bytes of a file.
    Data(Ino, u64, u64),
    /// A block, by the first half of its id.
    Block([u8; 16]),
    Pack(PackNo),
}

/// Something that is not as it should be.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) subject: Subject,
    pub(super) detail: String,
}

impl Fault {
    /// Returns the part of a file that it touches.
    pub(super) fn range(&self) -> Option<ByteRange> {
        match self.subject {
            Subject::Data(_, offset, len) => Some(ByteRange { offset, len }),
            _ => None,
        }
    }
}

/// The faults noted so far.
#[derive(Default)]
pub(super) struct Faults {
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    kept: Vec<Fault>,
    counts: BTreeMap<Code, u64>,
}

impl Faults {
    /// Notes a fault.
    pub(super) fn note(&self, code: Code, subject: Subject, detail: impl Into<String>) {
        let mut inner = self.inner.lock();
        let count = inner.counts.entry(code).or_insert(0);
        *count += 1;
        if *count <= KEPT_PER_CODE {
            let detail = detail.into();
            inner.kept.push(Fault {
                code,
                subject,
                detail,
            });
        }
    }

    /// Returns all that was noted, in the order of its kinds and places.
    pub(super) fn take(&self) -> (Vec<Fault>, BTreeMap<Code, u64>) {
        let inner = std::mem::take(&mut *self.inner.lock());
        let mut kept = inner.kept;
        kept.sort_by(|a, b| (a.code, &a.subject).cmp(&(b.code, &b.subject)));
        (kept, inner.counts)
    }
}
