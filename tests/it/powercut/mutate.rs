//! Recordings of a store that forgets one kind of sync: the proof must see each of them.

use std::collections::HashMap;

use super::disk::{Ino, Op, ROOT, Trace};
use super::recording::Recording;

/// A disk has no file of this number.
const NOBODY: Ino = 0;

/// A kind of sync, by the path of the file or directory in the volume.
pub struct Forgets {
    pub what: &'static str,
    pub path: fn(&str) -> bool,
}

/// What a store may forget to sync.
pub const FORGETS: &[Forgets] = &[
    Forgets {
        what: "the packs",
        path: |p| p.starts_with("packs/"),
    },
    Forgets {
        what: "the directory of the packs",
        path: |p| p == "packs",
    },
    Forgets {
        what: "the log",
        path: |p| p.ends_with(".log"),
    },
    Forgets {
        what: "the directory of the database",
        path: |p| p == "kv",
    },
    Forgets {
        what: "the sorted files",
        path: |p| p.ends_with(".sst"),
    },
    Forgets {
        what: "the manifest",
        path: |p| p.contains("MANIFEST"),
    },
    Forgets {
        what: "the file that becomes CURRENT",
        path: |p| p.ends_with(".dbtmp"),
    },
];

/// Returns the path in the volume of everything that was ever there: the first name it had.
fn paths(recording: &Recording) -> HashMap<Ino, String> {
    let mut paths = HashMap::from([(ROOT, String::new())]);
    let mut add = |dir: Ino, name: &str, ino: Ino| {
        let at = paths.get(&dir).map_or("", String::as_str);
        let path = match at {
            "" | "volume" => name.to_owned(),
            _ => format!("{at}/{name}"),
        };
        paths.entry(ino).or_insert(path);
    };
    for op in &recording.trace.ops {
        if let Op::Create { slot, ino, .. } = op {
            add(slot.dir, &slot.name, *ino);
        }
    }
    paths
}

impl Recording {
    /// Returns what a store would have left that forgets some syncs, and how many those are.
    pub fn forgetting(&self, path: fn(&str) -> bool) -> (Self, usize) {
        let paths = paths(self);
        let mut trace = Trace {
            ops: self.trace.ops.clone(),
            bytes: self.trace.bytes.clone(),
        };
        let mut forgotten = 0;
        for op in &mut trace.ops {
            if let Op::Sync { ino } = op
                && paths.get(ino).is_some_and(|p| path(p))
            {
                *ino = NOBODY;
                forgotten += 1;
            }
        }
        let mutated = Self {
            seed: self.seed,
            trace,
            made: self.made,
            notes: self.notes.clone(),
            volume_id: self.volume_id.clone(),
        };
        (mutated, forgotten)
    }
}
