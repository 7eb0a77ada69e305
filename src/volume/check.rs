//! The check of a volume: offline with a secret, or of one that is open.

use std::path::PathBuf;

use crate::base::OsRng;
use crate::base::sync::Arc;
use crate::crypto::SecretBytes;
use crate::format::key::Key;
use crate::format::root::Root;
use crate::keys::{self, Peek};
use crate::maint::{self, CheckError, CheckOptions, Code, Report, Target, Watch};
use crate::sealed::{Records, SealedPacks};
use crate::txn::Txn;

use super::layout::Layout;
use super::lock::Lock;
use super::open::open_stores;
use super::runtime::{Runtime, VolumeRuntime};
use super::seen::Seen;
use super::{Access, Locked, Open, Volume, VolumeError};

impl Volume<Locked> {
    /// Looks whether a volume that nobody has open is whole; changes nothing. `watch` is told how far
    /// it has come, and returns false to stop it.
    ///
    /// # Errors
    /// When the volume is in use, the secret is wrong, its header cannot be used, or its store cannot
    /// be read at all. What is damaged is no error but stands in the report.
    pub fn check(
        &self,
        secret: &SecretBytes,
        options: CheckOptions,
        watch: &Watch<'_>,
    ) -> Result<Report, VolumeError> {
        self.check_in(&Runtime::of_user()?, secret, options, watch)
    }

    pub(super) fn check_in(
        &self,
        runtime: &Runtime,
        secret: &SecretBytes,
        options: CheckOptions,
        watch: &Watch<'_>,
    ) -> Result<Report, VolumeError> {
        let layout = Layout::new(&self.dir);
        let _lock = Lock::take(&layout.lock(), Access::ReadOnly)?;
        let id = self.state.peek.volume.to_string();
        let runtime = runtime.volume(&id)?;
        let claim = runtime.claim()?;
        let _claim = claim.ok_or(VolumeError::CopyInUse { volume: id })?;
        let rng = Arc::new(OsRng);
        let unlocked = keys::unlock(&self.dir, secret, rng, keys::Access::ReadOnly)?;
        let (records, packs) = open_stores(&layout, &unlocked, Access::ReadOnly)?;
        let target = Target {
            records: &records,
            packs: &packs,
            chunk_bytes: chunk_bytes(unlocked.chunk_bytes),
        };
        let mut report = maint::check(target, options, watch)?;
        twin(&mut report, &self.state.peek);
        if let Some(root) = readable_root(&records) {
            if root.incarnation != unlocked.incarnation {
                return Err(VolumeError::Substituted);
            }
            if unlocked.sign_all && root.signature.is_none() {
                let detail = "it is not signed, as every root of this volume is";
                report.add(Code::Root, detail.into());
            }
            let header_seq = unlocked.header_seq;
            freshness(&mut report, &runtime, &root, header_seq)?;
        }
        Ok(report)
    }
}

/// Compares the root with the header and with what this host has seen.
fn freshness(
    report: &mut Report,
    runtime: &VolumeRuntime,
    root: &Root,
    header_seq: u64,
) -> Result<(), VolumeError> {
    if root.header_seq > header_seq {
        let detail = format!(
            "header {header_seq}, the volume has seen {}",
            root.header_seq
        );
        report.add(Code::Rollback, detail);
    }
    match Seen::check(&runtime.generation(), root) {
        Err(VolumeError::Rollback { found, seen }) => {
            report.add(
                Code::Rollback,
                format!("generation {found}, this host has seen {seen}"),
            );
            Ok(())
        }
        other => other.map(drop),
    }
}

/// Returns the root if it can be had: the check has told if not.
fn readable_root(records: &Records) -> Option<Root> {
    let record = records.get(&Key::root()).ok().flatten()?;
    Root::decode(&record.payload).ok()
}

fn chunk_bytes(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("chunks have at most 1 MiB")
}

/// What a check of an open volume needs. Keeps its store open: it ends before the volume does.
pub(super) struct Checker {
    dir: PathBuf,
    txn: Arc<Txn>,
    packs: SealedPacks,
    chunk_bytes: u32,
}

impl Checker {
    /// Looks at the last commit.
    pub(super) fn check(
        &self,
        options: CheckOptions,
        watch: &Watch<'_>,
    ) -> Result<Report, VolumeError> {
        // What dies from now on is neither punched nor removed before the end.
        let _pin = self.txn.pin();
        let target = Target {
            records: self.txn.records(),
            packs: &self.packs,
            chunk_bytes: self.chunk_bytes,
        };
        let mut report = maint::check(target, options, watch)?;
        // The keys are in use, so that what is unreadable there now can still be mended.
        match keys::peek(&self.dir) {
            Ok(peek) => twin(&mut report, &peek),
            Err(e) => report.add(Code::HeaderTwin, e.to_string()),
        }
        Ok(report)
    }
}

fn twin(report: &mut Report, peek: &Peek) {
    if let Some(damage) = peek.twin.damage() {
        report.add(Code::HeaderTwin, damage);
    }
}

impl Volume<Open> {
    pub(super) fn checker(&self) -> Checker {
        Checker {
            dir: self.dir.clone(),
            txn: Arc::clone(self.txn()),
            packs: self.packs().clone(),
            chunk_bytes: self.info().header.chunk_bytes,
        }
    }

    /// Looks whether the volume is whole as its last commit has left it; changes nothing. `watch` is
    /// told how far it has come, and returns false to stop it.
    ///
    /// # Errors
    /// When its store cannot be read at all. What is damaged is no error but stands in the report.
    pub fn check(&self, options: CheckOptions, watch: &Watch<'_>) -> Result<Report, VolumeError> {
        self.checker().check(options, watch)
    }
}

impl From<CheckError> for VolumeError {
    fn from(e: CheckError) -> Self {
        match e {
            CheckError::Store(e) => e.into(),
            e => Self::Check(e),
        }
    }
}
