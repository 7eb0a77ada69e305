//! What the programs of a workload did, and where the trace stood.

use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::expect::Act;
use super::record::Disk;

/// A moment: how many operations the trace had, and the order among those at one position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment {
    pub at: usize,
    pub tick: u64,
}

/// An act, when it began and when it had returned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Note {
    pub begin: Moment,
    pub end: Moment,
    pub act: Act,
}

/// The notes of all threads.
pub struct Journal {
    pub disk: Disk,
    notes: Mutex<Vec<Note>>,
}

impl Journal {
    pub fn new(disk: &Disk) -> Self {
        Self {
            disk: disk.clone(),
            notes: Mutex::default(),
        }
    }

    /// Returns the present, to be taken before an act begins.
    pub fn now(&self) -> Moment {
        self.disk.moment()
    }

    /// Notes an act that has returned.
    pub fn note(&self, begin: Moment, act: Act) {
        let end = self.now();
        let note = Note { begin, end, act };
        self.notes.lock().expect("nobody fails here").push(note);
    }

    /// Returns all notes in the order in which the acts began.
    pub fn take(&self) -> Vec<Note> {
        let mut notes = std::mem::take(&mut *self.notes.lock().expect("nobody fails here"));
        notes.sort_by_key(|n| n.begin);
        notes
    }
}
