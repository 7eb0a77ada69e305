//! The check of a volume: offline with a secret, or of one that is open.

use crate::base::OsRng;
use crate::base::sync::Arc;
use crate::format::key::Key;
use crate::format::root::Root;
use crate::keys;
use crate::maint::{self, CheckError, CheckOptions, Code, Progress, Report, Target};
use crate::sealed::Records;

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
        secret: &crate::crypto::SecretBytes,
        options: CheckOptions,
        watch: &(dyn Fn(Progress) -> bool + Sync),
    ) -> Result<Report, VolumeError> {
        self.check_in(&Runtime::of_user()?, secret, options, watch)
    }

    pub(super) fn check_in(
        &self,
        runtime: &Runtime,
        secret: &crate::crypto::SecretBytes,
        options: CheckOptions,
        watch: &(dyn Fn(Progress) -> bool + Sync),
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
        if let Some(damage) = self.state.peek.twin.damage() {
            report.add(Code::HeaderTwin, damage);
        }
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

impl Volume<Open> {
    /// Looks whether the volume is whole as its last commit has left it; changes nothing. `watch` is
    /// told how far it has come, and returns false to stop it.
    ///
    /// # Errors
    /// When its store cannot be read at all. What is damaged is no error but stands in the report.
    pub fn check(
        &self,
        options: CheckOptions,
        watch: &(dyn Fn(Progress) -> bool + Sync),
    ) -> Result<Report, VolumeError> {
        let txn = self.txn();
        // What dies from now on is neither punched nor removed before the end.
        let _pin = txn.pin();
        let target = Target {
            records: txn.records(),
            packs: self.packs(),
            chunk_bytes: self.info().header.chunk_bytes,
        };
        Ok(maint::check(target, options, watch)?)
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
