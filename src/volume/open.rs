//! Opening and closing a volume in the right order.
//!
//! Lock, keys, claim of this host, store, root, freshness, transactions, blocks, files; each is
//! checked before the next one trusts it, and nothing is written before all that is cheap to check
//! was checked. Closing goes the other way round: the lock is given back last, when the store is
//! closed and the keys are gone.

use std::path::Path;

use crate::base::sync::Arc;
use crate::base::{OsRng, SystemClock};
use crate::block::{BlockSettings, Blocks};
use crate::crypto::{EpochState, SecretBytes};
use crate::format::key::Key;
use crate::format::root::Root;
use crate::format::settings::Settings;
use crate::fs::{Fs, FsSettings};
use crate::keys::{self, Peek, Unlocked};
use crate::kv;
use crate::kv::files::PackFiles;
use crate::kv::rocks::Rocks;
use crate::sealed::{Records, SealedPacks};
use crate::txn::{Txn, TxnError};

use super::layout::Layout;
use super::lock::Lock;
use super::options::{compression_name, compression_of};
use super::runtime::{Runtime, RuntimeLock, VolumeRuntime};
use super::seen::Seen;
use super::{
    Access, ContentInfo, EpochLine, HeaderInfo, Info, SlotInfo, Volume, VolumeError, init,
};

/// Opened chunks that are kept, in bytes.
const CHUNK_CACHE_BYTES: usize = 32 << 20;

/// State of a volume whose keys are not known.
pub struct Locked {
    pub(super) peek: Peek,
}

/// State of a volume with its keys, its lock and its store.
pub struct Open {
    // The order of the fields is the order in which they end.
    fs: Arc<Fs>,
    blocks: Arc<Blocks>,
    txn: Arc<Txn>,
    packs: SealedPacks,
    _claim: RuntimeLock,
    lock: Option<Lock>,
    settings: Settings,
    header: HeaderInfo,
    label: String,
    epochs: Vec<EpochLine>,
    writable: bool,
}

impl Volume<Locked> {
    /// Finds the volume in `dir`.
    ///
    /// # Errors
    /// When there is none, or one of an unknown format, or its header is damaged.
    pub fn open(dir: &Path) -> Result<Self, VolumeError> {
        Layout::new(dir).expect_volume()?;
        Ok(Self {
            dir: dir.to_path_buf(),
            state: Locked {
                peek: keys::peek(dir)?,
            },
        })
    }

    /// Returns what the header tells.
    #[must_use]
    pub fn info(&self) -> HeaderInfo {
        header_info(&self.state.peek)
    }

    /// Takes the lock, tries the secret and opens the store.
    ///
    /// # Errors
    /// When the volume is in use, the secret is wrong, or header or store are damaged or older than
    /// this host has seen them.
    pub fn unlock(self, secret: &SecretBytes, access: Access) -> Result<Volume<Open>, VolumeError> {
        self.unlock_in(&Runtime::of_user()?, secret, access)
    }

    pub(super) fn unlock_in(
        self,
        runtime: &Runtime,
        secret: &SecretBytes,
        access: Access,
    ) -> Result<Volume<Open>, VolumeError> {
        let layout = Layout::new(&self.dir);
        let lock = Lock::take(&layout.lock(), access)?;
        let id = self.state.peek.volume.to_string();
        let runtime = runtime.volume(&id)?;
        let claim = runtime
            .claim()?
            .ok_or(VolumeError::CopyInUse { volume: id })?;
        let header_access = match access {
            Access::ReadOnly => keys::Access::ReadOnly,
            Access::ReadWrite => keys::Access::ReadWrite,
        };
        let unlocked = keys::unlock(&self.dir, secret, Arc::new(OsRng), header_access)?;
        let (txn, settings, packs) = open_store(&layout, &runtime, &unlocked, access)?;
        let opened = open_files(&txn, packs.clone(), settings, unlocked.chunk_bytes, access);
        let (fs, blocks) = opened.inspect_err(|_| drop(txn.close()))?;
        Ok(Volume {
            dir: self.dir,
            state: Open {
                fs,
                blocks,
                txn,
                packs,
                _claim: claim,
                lock,
                settings,
                header: header_info(&self.state.peek),
                label: unlocked.label,
                epochs: unlocked.epochs.iter().map(epoch_line).collect(),
                writable: access == Access::ReadWrite,
            },
        })
    }
}

/// Opens both stores; nothing in them is looked at.
pub(super) fn open_stores(
    layout: &Layout,
    unlocked: &Unlocked,
    access: Access,
) -> Result<(Records, SealedPacks), VolumeError> {
    let read_only = access == Access::ReadOnly;
    let kv_access = if read_only {
        kv::Access::ReadOnly
    } else {
        kv::Access::ReadWrite
    };
    let keyset = &unlocked.keyset;
    let store = Rocks::open(&layout.kv(), kv_access)?;
    let packs = PackFiles::open(&layout.packs(), read_only)?;
    let packs = SealedPacks::new(Arc::new(packs), Arc::clone(keyset));
    Ok((Records::new(Arc::new(store), Arc::clone(keyset)), packs))
}

/// Opens the store, checks its root and starts the transactions.
fn open_store(
    layout: &Layout,
    runtime: &VolumeRuntime,
    unlocked: &Unlocked,
    access: Access,
) -> Result<(Arc<Txn>, Settings, SealedPacks), VolumeError> {
    let (records, packs) = open_stores(layout, unlocked, access)?;
    let root = records.get(&Key::root())?.ok_or(TxnError::NoRoot)?;
    let root = Root::decode(&root.payload)?;
    if root.incarnation != unlocked.incarnation {
        return Err(VolumeError::Substituted);
    }
    if root.header_seq > unlocked.header_seq {
        return Err(VolumeError::HeaderRollback {
            found: unlocked.header_seq,
            seen: root.header_seq,
        });
    }
    // Before anything is begun: the end of a transaction layer signs what it has found.
    if unlocked.sign_all && root.signature.is_none() {
        return Err(TxnError::RootUnsigned.into());
    }
    let settings = records
        .get(&Key::settings())?
        .ok_or(VolumeError::NoSettings)?;
    let settings = Settings::decode(&settings.payload)?;
    let seen = Seen::check(&runtime.generation(), &root)?;
    let on_durable = Box::new(move |generation| seen.record(generation));
    let txn = Txn::open(records, Arc::new(SystemClock), on_durable)?;
    if unlocked.sign_all {
        txn.sign_every_root();
    }
    if access == Access::ReadWrite && unlocked.header_seq > root.header_seq {
        // A change of the header that a crash kept from the root.
        let raise = |txn: &Txn| -> Result<(), VolumeError> {
            txn.begin()?.root().header_seq = unlocked.header_seq;
            txn.commit_wait()?;
            Ok(())
        };
        raise(&txn).inspect_err(|_| drop(txn.close()))?;
    }
    Ok((txn, settings, packs))
}

fn open_files(
    txn: &Arc<Txn>,
    packs: SealedPacks,
    settings: Settings,
    chunk_bytes: usize,
    access: Access,
) -> Result<(Arc<Fs>, Arc<Blocks>), VolumeError> {
    let block_settings = BlockSettings {
        chunk_bytes: u32::try_from(chunk_bytes).expect("chunks have at most 1 MiB"),
        compression: compression_of(settings.compression),
        cache_bytes: CHUNK_CACHE_BYTES,
    };
    let blocks = Blocks::open(Arc::clone(txn), packs, block_settings)?;
    let fs_settings = FsSettings {
        read_only: access == Access::ReadOnly,
        quota_bytes: settings.quota_bytes,
    };
    let fs = Fs::open(
        Arc::clone(txn),
        Arc::clone(&blocks),
        Arc::new(SystemClock),
        fs_settings,
    )
    .inspect_err(|_| drop(blocks.close()))?;
    Ok((fs, blocks))
}

impl Volume<Open> {
    /// Returns what is known of the volume.
    #[must_use]
    pub fn info(&self) -> Info {
        let s = &self.state;
        let root = s.txn.root();
        let stats = s.blocks.stats();
        Info {
            header: s.header.clone(),
            content: Some(ContentInfo {
                label: s.label.clone(),
                epochs: s.epochs.clone(),
                size_bytes: s.settings.quota_bytes,
                used_bytes: used_bytes(&root),
                inodes: root.inodes,
                stored_bytes: stats.stored_bytes,
                blocks: stats.blocks,
                referenced_bytes: root.referenced_bytes,
                unique_bytes: root.unique_bytes,
                generation: root.generation.0,
                compression: compression_name(compression_of(s.settings.compression)).into(),
            }),
            mount: None,
        }
    }

    /// Sets the quota; none is no quota.
    ///
    /// # Errors
    /// When it is impossibly small, more is there already, or the commit fails.
    pub fn resize(&mut self, size_bytes: Option<u64>) -> Result<(), VolumeError> {
        let s = &mut self.state;
        let used_bytes = used_bytes(&s.txn.root());
        if let Some(size_bytes) = size_bytes {
            init::check_size(size_bytes)?;
            if size_bytes < used_bytes {
                return Err(VolumeError::SizeTooSmall {
                    size_bytes,
                    used_bytes,
                });
            }
        }
        let settings = Settings {
            quota_bytes: size_bytes,
            ..s.settings
        };
        s.txn.begin()?.put(Key::settings(), settings.encode());
        s.txn.commit_wait()?;
        s.settings = settings;
        s.fs.set_quota(size_bytes);
        Ok(())
    }

    /// Has every root signed from the next commit on, which is done when this returns.
    pub(super) fn sign_every_root(&self) -> Result<(), VolumeError> {
        let txn = &self.state.txn;
        txn.sign_every_root();
        txn.begin()?.root();
        txn.commit_wait()?;
        assert!(txn.root().signature.is_some());
        Ok(())
    }

    /// Takes over what the header says now; if it has a new number, the root learns it.
    pub(super) fn learn_header(&mut self) -> Result<(), VolumeError> {
        let peek = keys::peek(&self.dir)?;
        let s = &mut self.state;
        s.header = header_info(&peek);
        if peek.header_seq > s.txn.root().header_seq {
            s.txn.begin()?.root().header_seq = peek.header_seq;
            s.txn.commit_wait()?;
        }
        Ok(())
    }

    /// Returns true when the volume was opened for writing.
    pub(super) fn is_writable(&self) -> bool {
        self.state.writable
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes everything durable and ends the volume; its keys are gone afterwards.
    ///
    /// # Errors
    /// When the last commit fails; what was durable before stays so.
    pub fn close(self) -> Result<(), VolumeError> {
        Ok(self.state.fs.shutdown()?)
    }

    #[cfg(test)]
    pub(super) fn set_header_seq(&self, seq: u64) -> Result<(), VolumeError> {
        self.state.txn.begin()?.root().header_seq = seq;
        self.state.txn.commit_wait()?;
        Ok(())
    }

    pub(super) fn txn(&self) -> &Arc<Txn> {
        &self.state.txn
    }

    pub(super) fn packs(&self) -> &SealedPacks {
        &self.state.packs
    }

    /// Returns the file system of the volume.
    #[must_use]
    pub fn fs(&self) -> &Arc<Fs> {
        &self.state.fs
    }

    pub(super) fn label(&self) -> &str {
        &self.state.label
    }

    /// Writes the mount point into the lock, for whoever finds the volume in use.
    pub(super) fn mounted_on(&self, dir: &Path) {
        if let Some(lock) = &self.state.lock {
            lock.describe(Some(dir));
        }
    }
}

fn used_bytes(root: &Root) -> u64 {
    const PAGE: u64 = 4096;
    root.used_pages.saturating_mul(PAGE)
}

fn header_info(peek: &Peek) -> HeaderInfo {
    HeaderInfo {
        volume_id: peek.volume.to_string(),
        format: peek.format,
        created: peek.created,
        chunk_bytes: u32::try_from(peek.chunk_bytes).expect("chunks have at most 1 MiB"),
        slots: peek.slots.iter().cloned().map(SlotInfo::from).collect(),
        damage: peek.twin.damage(),
    }
}

impl From<keys::SlotInfo> for SlotInfo {
    fn from(slot: keys::SlotInfo) -> Self {
        Self {
            id: slot.id,
            kind: slot.kind.name().into(),
            role: slot.role.name().into(),
            label: slot.label,
            hint: slot.hint,
            created: slot.created,
            kdf: slot.cost.map(|c| c.to_string()),
        }
    }
}

fn epoch_line(epoch: &keys::EpochInfo) -> EpochLine {
    let state = match epoch.state {
        EpochState::Active => "active",
        EpochState::Draining => "draining",
        EpochState::Retired => "retired",
    };
    EpochLine {
        id: epoch.id.0,
        state: state.into(),
        created: epoch.created,
    }
}
