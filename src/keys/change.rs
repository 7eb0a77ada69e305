//! Changing the slots of a volume: a new header, signed by an administrator, in both copies.
//!
//! The header is rewritten as a whole, with the next number. What a change removes is in neither copy
//! when it returns; if only the first copy could be written, the error says so, and the next opening
//! for writing mends the second.

use std::path::Path;

use crate::base::Rng;
use crate::crypto::{SecretBytes, SlotKeys, on_key_thread};
use crate::format::header::{
    Argon2Cost, HINT_MAX_BYTES, Header, LABEL_MAX_BYTES, Role, SIGN_ALL, SLOTS_MAX, Slot, SlotKind,
    is_header_text,
};

use super::copies::{Copies, file_bytes};
use super::create::{NewSlot, check_new_secret, seal};
use super::error::KeysError;
use super::unlock::{Admitted, admit};
use super::{SlotInfo, memory};

/// What an administrator does to the slots.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// One more slot, for this secret.
    Add(NewSlot<'a>, &'a SecretBytes),
    /// Another secret for a slot, which keeps its number, role and label.
    Replace {
        /// The slot; none is the one that the administrator's secret opens.
        slot: Option<u16>,
        /// Where the new secret comes from.
        kind: SlotKind,
        /// How to get it, never the secret.
        hint: &'a str,
        /// Work per guess, if it is a passphrase.
        cost: Argon2Cost,
        /// Now: seconds since 1970.
        created: u64,
        /// The new secret.
        secret: &'a SecretBytes,
    },
    /// One slot less.
    Remove {
        /// The slot.
        slot: u16,
    },
}

/// Changes the slots of the volume in `dir`, which the caller has locked, and returns the slot that was
/// made, changed or removed. The root must then learn the number of the new header.
///
/// # Errors
/// When the secret opens no slot of an administrator, a rule forbids the change, or a copy of the
/// header cannot be written.
pub fn change(
    dir: &Path,
    secret: &SecretBytes,
    change: &Change<'_>,
    rng: &dyn Rng,
) -> Result<SlotInfo, KeysError> {
    let memory_bytes = memory::available_bytes();
    let copies = Copies::read(dir)?;
    let work = || {
        check(change)?;
        rewrite(&copies.header, secret, change, memory_bytes, rng)
    };
    let (header, slot) = on_key_thread(work)??;
    copies.replace(dir, &file_bytes(&header))?;
    Ok(slot)
}

/// Checks what can be checked before a secret is tried.
fn check(change: &Change<'_>) -> Result<(), KeysError> {
    let (label, hint, kind, secret) = match change {
        Change::Add(new, secret) => (new.label, new.hint, new.kind, *secret),
        Change::Replace {
            hint, kind, secret, ..
        } => ("", *hint, *kind, *secret),
        Change::Remove { .. } => return Ok(()),
    };
    for (what, text, max_bytes) in [
        ("label", label, LABEL_MAX_BYTES),
        ("hint", hint, HINT_MAX_BYTES),
    ] {
        if !is_header_text(text, max_bytes) {
            return Err(KeysError::Text { what, max_bytes });
        }
    }
    check_new_secret(secret, kind)
}

/// Makes the new header, and tells which slot it is about.
fn rewrite(
    old: &Header,
    secret: &SecretBytes,
    change: &Change<'_>,
    memory_bytes: u64,
    rng: &dyn Rng,
) -> Result<(Header, SlotInfo), KeysError> {
    let admitted = admit(old, secret, memory_bytes)?;
    let Admitted {
        slot: own,
        tier: admin,
        keyring,
    } = &admitted;
    if own.role != Role::Admin {
        return Err(KeysError::NotAdmin {
            slot: own.id,
            role: own.role,
        });
    }
    let mut header = old.clone();
    header.header_seq += 1;
    let make = |id, new: &NewSlot<'_>, new_secret: &SecretBytes| {
        if new.kind == SlotKind::Passphrase {
            memory::check(memory_bytes, id, new.cost)?;
        }
        refuse_known(old, own, id, new_secret, secret)?;
        let tier = admin.lowered(new.role)?;
        new.wrap(id, new_secret, &tier, &old.admin_public, rng)
    };
    let about = match change {
        Change::Add(new, secret) => {
            let slot = make(free_id(old)?, new, secret)?;
            header.slots.push(slot.clone());
            slot
        }
        Change::Replace {
            slot,
            kind,
            hint,
            cost,
            created,
            secret,
        } => {
            let at = position(old, slot.unwrap_or(own.id))?;
            let target = header.slots.get_mut(at).expect("just found");
            let new = NewSlot {
                kind: *kind,
                role: target.role,
                label: &target.label,
                hint,
                cost: *cost,
                created: *created,
            };
            *target = make(target.id, &new, secret)?;
            target.clone()
        }
        Change::Remove { slot } => {
            let removed = header.slots.remove(position(old, *slot)?);
            if !header.slots.iter().any(|s| s.role == Role::Admin) {
                return Err(KeysError::LastAdmin { slot: *slot });
            }
            removed
        }
    };
    // For ever: who once had such a slot may have kept its keys.
    if header.slots.iter().any(|s| s.role == Role::Ro) {
        header.features |= SIGN_ALL;
    }
    seal(&mut header, keyring, admin, rng)?;
    Ok((header, SlotInfo::from(&about)))
}

fn position(header: &Header, slot: u16) -> Result<usize, KeysError> {
    let at = header.slots.iter().position(|s| s.id == slot);
    at.ok_or(KeysError::NoSuchSlot { slot })
}

/// Returns the number for one more slot: above all others, so that a number that was removed does not
/// come to mean somebody else soon.
fn free_id(header: &Header) -> Result<u16, KeysError> {
    let ids = || header.slots.iter().map(|s| s.id);
    if header.slots.len() >= SLOTS_MAX {
        return Err(KeysError::SlotsFull);
    }
    let above = ids().max().unwrap_or(0).checked_add(1);
    let id = above.or_else(|| (1..=u16::MAX).find(|id| ids().all(|i| i != *id)));
    Ok(id.expect("at most 32 numbers are taken"))
}

/// Refuses a secret that another slot takes already, as far as that costs no work for a guess: which
/// of the two it opened would be chance.
fn refuse_known(
    header: &Header,
    own: &Slot,
    id: u16,
    secret: &SecretBytes,
    own_secret: &SecretBytes,
) -> Result<(), KeysError> {
    for slot in header.slots.iter().filter(|s| s.id != id) {
        let known = match slot.cost {
            Some(_) => slot.id == own.id && secret == own_secret,
            None => {
                let keys = SlotKeys::derive(secret, slot, header.volume)?;
                keys.is_some_and(|keys| keys.fit(slot))
            }
        };
        if known {
            return Err(KeysError::KnownSecret { slot: slot.id });
        }
    }
    Ok(())
}
