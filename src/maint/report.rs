//! The result of a check, as data.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::finding::{Code, Finding, Severity};

/// What a check has looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Looked {
    /// Records opened.
    pub records: u64,
    /// Inodes that exist.
    pub inodes: u64,
    /// Directories among them.
    pub directories: u64,
    /// Names.
    pub names: u64,
    /// Pages.
    pub pages: u64,
    /// Blocks.
    pub blocks: u64,
    /// Packs.
    pub packs: u64,
    /// Sealed bytes of blocks that were read and opened; zero without `read_data`.
    pub data_bytes: u64,
}

/// The result of a check that has come to its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The commit that was looked at; none if its root could not be read.
    pub generation: Option<u64>,
    /// The contents of all blocks were read.
    pub read_data: bool,
    /// What was looked at.
    pub looked: Looked,
    /// What was found, by number and place; at most some thousand of each kind.
    pub findings: Vec<Finding>,
    /// How many there are of each kind, those that are not in `findings` included.
    pub counts: BTreeMap<Code, u64>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Report {
    /// Returns true if nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.counts.is_empty()
    }

    /// Adds what was found about the volume as a whole, apart from its store.
    pub fn add(&mut self, code: Code, detail: String) {
        *self.counts.entry(code).or_insert(0) += 1;
        let finding = Finding {
            code,
            subject: "the volume".into(),
            detail,
            paths: Vec::new(),
            range: None,
        };
        let at = self.findings.partition_point(|f| f.code <= code);
        self.findings.insert(at, finding);
    }

    /// Returns the worst that was found.
    #[must_use]
    pub fn severity(&self) -> Option<Severity> {
        self.counts.keys().map(|c| c.severity()).max()
    }
}
