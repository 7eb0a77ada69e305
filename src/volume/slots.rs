//! Who can open a volume: its key slots, changed with the volume open here or mounted.
//!
//! The secrets of a mounted volume go to its worker through pipes that only it reads. The root learns
//! the number of the new header in a commit of its own, so that an old header cannot be put back.

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::pipe::PipeFlags;
use serde::{Deserialize, Serialize};

use crate::base::{Clock, OsRng, SystemClock};
use crate::crypto::{SecretBytes, on_key_thread};
use crate::format::header::{Argon2Cost, Role, SlotKind};
use crate::keys::{self, Change, KeysError, NewSlot};

use super::channel::system;
use super::control::{Answer, Client, Request};
use super::{Access, Locked, Open, SlotInfo, Volume, VolumeError};

/// A secret for a slot: what kind it is, how to get it, and the work per guess at a passphrase.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretForm {
    /// Where it comes from.
    pub kind: SlotKind,
    /// How to get it, readable by anyone and never the secret.
    pub hint: String,
    /// Work per guess, if it is a passphrase.
    pub cost: Argon2Cost,
}

/// What is to be done to the slots of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotChange {
    /// One more slot.
    Add {
        /// What its secret allows.
        role: Role,
        /// Its name, readable by anyone.
        label: String,
        /// What it is opened with.
        form: SecretForm,
    },
    /// Another secret for a slot.
    Replace {
        /// The slot; none is the one that the administrator's secret opens.
        slot: Option<u16>,
        /// What it is opened with from now on.
        form: SecretForm,
    },
    /// One slot less.
    Remove {
        /// The slot.
        slot: u16,
    },
}

/// Returns a new recovery code as text, for a slot of that kind.
///
/// # Errors
/// When there is no randomness or no locked memory.
pub fn recovery_code() -> Result<SecretBytes, VolumeError> {
    let make = || keys::RecoveryCode::random(&OsRng)?.text();
    let code = on_key_thread(make).and_then(|code| code);
    Ok(code.map_err(KeysError::from)?)
}

/// Changes the slots of the volume that `target` names, mounted or not, with the secret of an admin
/// slot, and returns the slot that was made, changed or removed. `new_secret` is that of a slot that
/// is made or changed.
///
/// # Errors
/// When the secret is not an administrator's, a rule forbids the change, the volume is open for
/// reading only, or it cannot be written.
///
/// # Panics
/// When a slot is to be made or changed without a new secret.
pub fn change_slots(
    target: &Path,
    change: &SlotChange,
    secret: &SecretBytes,
    new_secret: Option<&SecretBytes>,
) -> Result<SlotInfo, VolumeError> {
    if let Some(client) = Client::find(target)? {
        return ask_worker(&client, change, secret, new_secret);
    }
    let volume = Volume::<Locked>::open(target)?.unlock(secret, Access::ReadWrite);
    let mut volume = volume.map_err(|e| match e {
        VolumeError::Keys(KeysError::ReadOnlySlot { slot }) => {
            let role = Role::Ro;
            KeysError::NotAdmin { slot, role }.into()
        }
        e => e,
    })?;
    let changed = volume.change_slots(change, secret, new_secret);
    let closed = volume.close();
    let slot = changed?;
    closed?;
    Ok(slot)
}

fn ask_worker(
    client: &Client,
    change: &SlotChange,
    secret: &SecretBytes,
    new_secret: Option<&SecretBytes>,
) -> Result<SlotInfo, VolumeError> {
    let request = Request::ChangeSlots(SlotOrder::from(change));
    let pipes = [Some(secret), new_secret].into_iter().flatten();
    let pipes = pipes.map(filled_pipe).collect::<Result<Vec<_>, _>>()?;
    let pipes: Vec<_> = pipes.iter().map(AsFd::as_fd).collect();
    match client.ask_with(&request, &pipes)? {
        Answer::Slot(slot) => Ok(slot),
        _ => Err(VolumeError::Protocol(
            <serde_json::Error as serde::de::Error>::custom("another answer was expected"),
        )),
    }
}

/// Returns a pipe that holds a secret and then ends: it takes the longest one, so nobody need read yet.
pub(super) fn filled_pipe(secret: &SecretBytes) -> Result<OwnedFd, VolumeError> {
    let (reader, writer) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|e| system("make a pipe", e.into()))?;
    secret
        .write_to(&mut File::from(writer))
        .map_err(|e| system("hand over the secret", e))?;
    Ok(reader)
}

/// Reads the secret that a pipe holds.
pub(super) fn drained_pipe(pipe: OwnedFd) -> Result<SecretBytes, VolumeError> {
    Ok(SecretBytes::read_from(&mut File::from(pipe)).map_err(KeysError::from)?)
}

impl Volume<Open> {
    /// Changes the slots of the volume; see [`change_slots`].
    ///
    /// # Errors
    /// As [`change_slots`].
    ///
    /// # Panics
    /// As [`change_slots`].
    pub fn change_slots(
        &mut self,
        change: &SlotChange,
        secret: &SecretBytes,
        new_secret: Option<&SecretBytes>,
    ) -> Result<SlotInfo, VolumeError> {
        if !self.is_writable() {
            return Err(VolumeError::ReadOnly);
        }
        let created = u64::try_from(SystemClock.now().secs).unwrap_or(0);
        let expected = "a slot that is made or changed comes with its secret";
        let change = match change {
            SlotChange::Add { role, label, form } => {
                if *role == Role::Ro {
                    // Before the header asks for it, a crash between must leave a volume that opens.
                    self.sign_every_root()?;
                }
                let new = NewSlot {
                    kind: form.kind,
                    role: *role,
                    label,
                    hint: &form.hint,
                    cost: form.cost,
                    created,
                };
                Change::Add(new, new_secret.expect(expected))
            }
            SlotChange::Replace { slot, form } => Change::Replace {
                slot: *slot,
                kind: form.kind,
                hint: &form.hint,
                cost: form.cost,
                created,
                secret: new_secret.expect(expected),
            },
            SlotChange::Remove { slot } => Change::Remove { slot: *slot },
        };
        let changed = keys::change(self.dir(), secret, &change, &OsRng);
        // Also after a failure: the first of the two copies may be written.
        let learned = self.learn_header();
        let slot = changed?;
        learned?;
        Ok(slot.into())
    }
}

/// A [`SlotChange`] as it crosses a process border: by names, as people write them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum SlotOrder {
    Add {
        role: String,
        label: String,
        form: FormOrder,
    },
    Replace {
        slot: Option<u16>,
        form: FormOrder,
    },
    Remove {
        slot: u16,
    },
}

/// A [`SecretForm`] as it crosses a process border.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct FormOrder {
    kind: String,
    hint: String,
    cost: [u32; 3],
}

impl From<&SecretForm> for FormOrder {
    fn from(form: &SecretForm) -> Self {
        Self {
            kind: form.kind.name().into(),
            hint: form.hint.clone(),
            cost: [form.cost.m_kib, form.cost.t, form.cost.p],
        }
    }
}

impl FormOrder {
    fn form(self) -> Option<SecretForm> {
        let [m_kib, t, p] = self.cost;
        let cost = Argon2Cost::new(m_kib, t, p);
        Some(SecretForm {
            kind: SlotKind::from_name(&self.kind)?,
            hint: self.hint,
            cost: Some(cost).filter(|c| c.is_defined())?,
        })
    }
}

impl From<&SlotChange> for SlotOrder {
    fn from(change: &SlotChange) -> Self {
        match change {
            SlotChange::Add { role, label, form } => Self::Add {
                role: role.name().into(),
                label: label.clone(),
                form: form.into(),
            },
            SlotChange::Replace { slot, form } => Self::Replace {
                slot: *slot,
                form: form.into(),
            },
            SlotChange::Remove { slot } => Self::Remove { slot: *slot },
        }
    }
}

impl SlotOrder {
    /// Returns what is asked for; none if it is nonsense.
    pub(super) fn change(self) -> Option<SlotChange> {
        Some(match self {
            Self::Add { role, label, form } => SlotChange::Add {
                role: Role::from_name(&role)?,
                label,
                form: form.form()?,
            },
            Self::Replace { slot, form } => SlotChange::Replace {
                slot,
                form: form.form()?,
            },
            Self::Remove { slot } => SlotChange::Remove { slot },
        })
    }

    /// Returns true when a second secret comes with it.
    pub(super) fn needs_secret(&self) -> bool {
        !matches!(self, Self::Remove { .. })
    }
}
