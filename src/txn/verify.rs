//! The scan that verifies all set digests of a snapshot against the root in that snapshot.

use crate::base::sync::{Arc, Ordering};
use crate::format::key::Key;
use crate::format::root::{BUCKETS, Root};
use crate::kv::Family;

use super::digest::SetDigests;
use super::{Txn, TxnError};

/// How much the scan yields to the threads that serve requests: in steps of nice(2).
const SCAN_NICE: i32 = 10;

/// What a scan has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Records looked at, the root not counted.
    pub records: u64,
    /// Buckets whose sum differs from the root's.
    pub bad_buckets: Vec<usize>,
    /// The scan was asked to stop before its end.
    pub stopped: bool,
}

impl Txn {
    pub(super) fn run_verify(&self) {
        // Requests come first. Where the system refuses, the scan is only less polite.
        let me = Some(rustix::thread::gettid());
        let _ = rustix::process::setpriority_process(me, SCAN_NICE);
        match self.verify() {
            Ok(v) if v.stopped => {}
            Ok(v) if v.bad_buckets.is_empty() => self.verified.store(true, Ordering::Release),
            Ok(v) => self.refuse_changes(&v.bad_buckets),
            Err(e) => eprintln!("coffer: ERROR the set digests could not be verified: {e}"),
        }
    }

    /// Makes the volume read-only, with everything acknowledged so far (SECURITY 7.2).
    fn refuse_changes(&self, bad_buckets: &[usize]) {
        let cause = format!(
            "C-SETDIGEST: the records of buckets {bad_buckets:?} of {BUCKETS} are not those of the \
             last commit"
        );
        // If it fails, the volume is read-only for that reason.
        drop(self.commit_wait());
        self.set_poison(&mut self.state.lock(), &Arc::from(cause));
    }

    /// Sums all records of a snapshot and compares with its root (SECURITY 7.2).
    ///
    /// # Errors
    /// When the store cannot be read, or the snapshot's root is not authentic.
    pub fn verify(&self) -> Result<Verdict, TxnError> {
        let pin = self.pin();
        let snapshot = self.records.snapshot()?;
        let sealed_root = snapshot
            .get(Family::Meta, Key::root().as_bytes())
            .map_err(crate::sealed::SealedError::from)?
            .ok_or(TxnError::NoRoot)?;
        let root = Root::decode(&self.records.open(&Key::root(), &sealed_root)?.payload)?;
        let mut sums = SetDigests::default();
        let (mut records, mut stopped, mut foreign) = (0, false, 0_u64);
        for family in [Family::Meta, Family::Page] {
            let mut each = |k: &[u8], v: &[u8]| {
                match Key::from_bytes(k) {
                    Some(key) if key == Key::root() => {}
                    Some(key) => {
                        let term = self.records.term(&key, v);
                        sums.add(self.records.bucket(&key), &term);
                        records += 1;
                    }
                    None => foreign += 1,
                }
                stopped = self.stop_scan.load(Ordering::Relaxed);
                !stopped
            };
            snapshot
                .for_each(family, &[0], &[0xff], &mut each)
                .map_err(crate::sealed::SealedError::from)?;
        }
        drop(pin);
        if foreign > 0 {
            return Err(crate::sealed::SealedError::ForeignKey.into());
        }
        let bad_buckets = match stopped {
            true => Vec::new(),
            false => sums.differing(&root.digests),
        };
        Ok(Verdict {
            records,
            bad_buckets,
            stopped,
        })
    }
}
