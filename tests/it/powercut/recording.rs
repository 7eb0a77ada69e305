//! A recording: what a store did to its disk while a workload ran, and the cuts of it.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::cut::{Choice, Platter};
use super::disk::{Image, Op, Trace, long};
use super::expect::History;
use super::notes::{Journal, Note};
use super::record::{self, Disk};
use super::verify::{self, Later};
use super::workload::Workload;
use crate::dice::Dice;
use crate::harness::TestVolume;

/// Every so many disks are mounted by the real binary, the others are opened by the library.
const MOUNT_EVERY: usize = 50;

/// After every so many, the power goes a second time, while the volume recovers or is used again.
const TWICE_EVERY: usize = 4;

/// A disk that was recorded, and what was done on the volume meanwhile.
#[derive(Clone, Serialize, Deserialize)]
pub struct Recording {
    pub seed: u64,
    pub trace: Trace,
    /// Operations that made the volume.
    pub made: usize,
    pub notes: Vec<Note>,
    pub volume_id: String,
}

/// A position in the trace, and what becomes there of all that is not durable.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    pub at: usize,
    pub choice: Choice,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at;
        match self.choice {
            Choice::Nothing => write!(f, "{at}:nothing"),
            Choice::Everything => write!(f, "{at}:everything"),
            Choice::Random(seed) => write!(f, "{at}:{seed}"),
        }
    }
}

impl Cut {
    /// Reads what is printed for a failure.
    pub fn parse(at: &str, choice: &str) -> Self {
        let choice = match choice {
            "nothing" => Choice::Nothing,
            "everything" => Choice::Everything,
            seed => Choice::Random(seed.parse().expect("nothing, everything or a number")),
        };
        Self {
            at: at.parse().expect("a position in the trace"),
            choice,
        }
    }
}

impl Recording {
    /// Makes a volume, runs a workload on it and records its disk.
    pub fn of(seed: u64, script: impl FnOnce(&mut Workload)) -> Self {
        let dir = tempfile::tempdir().expect("a directory for the disk");
        let disk = Disk::new(Image::new());
        let mounted = disk.mount(dir.path());
        let volume = TestVolume::in_place(&dir.path().join("volume"), &["--chunk-size", "16K"]);
        let volume_id = volume.id();
        let journal = Arc::new(Journal::new(&disk));
        let made = journal.now().at;
        let mut workload = Workload::new(Arc::clone(&journal), volume, seed);
        script(&mut workload);
        workload.end();
        drop(workload);
        drop(mounted);
        Self {
            seed,
            trace: disk.take_trace(),
            made,
            notes: journal.take(),
            volume_id,
        }
    }

    /// Returns `count` cuts in the order of the trace: after every sync with all lost that was not
    /// synced, and random ones.
    pub fn cuts(&self, count: usize) -> Vec<Cut> {
        let ops = self.trace.ops.iter().enumerate().skip(self.made);
        let syncs = ops.filter(|(_, op)| matches!(op, Op::Sync { .. }));
        let mut cuts: Vec<Cut> = syncs
            .map(|(n, _)| Cut {
                at: n + 1,
                choice: Choice::Nothing,
            })
            .collect();
        let mut dice = Dice::new(self.seed);
        let span = long(self.trace.ops.len() - self.made + 1);
        while cuts.len() < count {
            cuts.push(Cut {
                at: self.made + dice.size(span),
                choice: random(&mut dice),
            });
        }
        cuts.sort_unstable();
        cuts
    }

    /// Opens the volume after each cut; returns the first failure.
    pub fn check(&self, cuts: &[Cut]) -> Option<(Cut, String)> {
        let mut platter = Platter::new(Image::new());
        let mut history = History::new(&self.notes);
        cuts.iter().enumerate().find_map(|(n, cut)| {
            platter.advance(&self.trace, cut.at);
            history.advance(cut.at);
            let image = platter.cut(&self.trace, cut.choice);
            let described = record::describe(&image);
            let why = self.look(image, &history, n).err()?;
            Some((*cut, format!("{why}\n{described}")))
        })
    }

    /// Opens the volume on a disk and compares it with what it owes.
    fn look(&self, image: Image, history: &History, n: usize) -> Result<(), String> {
        let dir = tempfile::tempdir().expect("a directory for the disk");
        let volume = dir.path().join("volume");
        let disk = Disk::new(image.clone());
        let mut later = Vec::new();
        {
            let _mounted = disk.mount(dir.path());
            verify::forget_boot(&self.volume_id);
            let contents = match n {
                n if n.is_multiple_of(MOUNT_EVERY) => verify::mount_and_read(&volume)?,
                n if n.is_multiple_of(TWICE_EVERY) => {
                    verify::open_and_use(&volume, &disk, &mut later)?
                }
                _ => verify::open_and_read(&volume)?,
            };
            history.refute(contents)?;
        }
        if !n.is_multiple_of(TWICE_EVERY) {
            return Ok(());
        }
        let mut dice = Dice::new(self.seed ^ long(n));
        let trace = disk.take_trace();
        let again = Cut {
            at: dice.size(long(trace.ops.len() + 1)),
            choice: random(&mut dice),
        };
        let mut platter = Platter::new(image);
        platter.advance(&trace, again.at);
        self.look_again(platter.cut(&trace, again.choice), history, &later, again.at)
            .map_err(|why| {
                let (at, all) = (again.at, trace.ops.len());
                format!(
                    "power gone again at {at} of {all}, {:?}: {why}",
                    again.choice
                )
            })
    }

    /// The same after the power went while the volume was open again.
    fn look_again(
        &self,
        image: Image,
        history: &History,
        later: &[Later],
        at: usize,
    ) -> Result<(), String> {
        let dir = tempfile::tempdir().expect("a directory for the disk");
        let _mounted = Disk::new(image).mount(dir.path());
        verify::forget_boot(&self.volume_id);
        let mut contents = verify::open_and_read(&dir.path().join("volume"))?;
        for file in later {
            file.take_from(&mut contents, at)?;
        }
        history.refute(contents)
    }

    /// Keeps the recording in a directory, so that one cut can be looked at again.
    pub fn save(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        fs::write(dir.join("recording.json"), serde_json::to_vec(self)?)?;
        fs::write(dir.join("bytes"), &*self.trace.bytes)
    }

    /// Returns a recording that was kept.
    pub fn load(dir: &Path) -> io::Result<Self> {
        let mut recording: Self = serde_json::from_slice(&fs::read(dir.join("recording.json"))?)?;
        recording.trace.bytes = Arc::new(fs::read(dir.join("bytes"))?);
        Ok(recording)
    }

    /// Writes the disk after a cut into a directory, for whoever wants to look at it.
    pub fn export(&self, cut: Cut, dir: &Path) -> io::Result<()> {
        let mut platter = Platter::new(Image::new());
        platter.advance(&self.trace, cut.at);
        for (path, file) in platter.cut(&self.trace, cut.choice).paths() {
            let path = dir.join(path);
            fs::create_dir_all(path.parent().expect("it lies in a directory"))?;
            let mut bytes = Vec::new();
            file.read(0, super::disk::size(file.len), &mut bytes);
            fs::write(path, bytes)?;
        }
        Ok(())
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        verify::forget_boot(&self.volume_id);
    }
}

fn random(dice: &mut Dice) -> Choice {
    match dice.below(8) {
        0 => Choice::Everything,
        1 => Choice::Nothing,
        _ => Choice::Random(dice.next()),
    }
}
