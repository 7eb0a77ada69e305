//! All records of one moment, for passes over the whole store.
//!
//! A pass takes the key space in [`Slice`]s, so that several threads share it and a part of the store
//! that cannot be read costs only its own slice. Every key of the store lies in exactly one slice of
//! [`Slice::all`]; nothing is opened here, so that a pass also sees what is not authentic.

use crate::base::sync::Arc;
use crate::format::key::{Key, Letter};
use crate::kv::{Family, KvRead};

use super::{Records, SealedError};

/// Slices of a letter whose keys begin with a hash: one for each bucket of the set digests.
const PARTS: u8 = 64;

/// A part of the key space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    family: Family,
    from: Vec<u8>,
    /// The first key after it.
    to: Vec<u8>,
}

/// Keys above every key of ours: a foreign key may still be longer, so the end lies above those too.
const END: [u8; 64] = [0xff; 64];

fn family_of(letter: Letter) -> Family {
    match letter {
        Letter::Page => Family::Page,
        _ => Family::Meta,
    }
}

impl Slice {
    /// Returns the slices of a letter, ascending.
    #[must_use]
    pub fn of(letter: Letter) -> Vec<Self> {
        let family = family_of(letter);
        let first = letter as u8;
        let slice = |from: Vec<u8>, to: Vec<u8>| Self { family, from, to };
        if matches!(
            letter,
            Letter::Account | Letter::PackList | Letter::Punch | Letter::Root
        ) {
            return vec![slice(vec![first], vec![first + 1])];
        }
        let width = u8::MAX / PARTS + 1;
        let border = |part: u8| match part {
            0 => vec![first],
            PARTS => vec![first + 1],
            _ => vec![first, part * width],
        };
        (0..PARTS)
            .map(|part| slice(border(part), border(part + 1)))
            .collect()
    }

    /// Returns what lies between the letters: no key of ours does.
    #[must_use]
    pub fn foreign() -> Vec<Self> {
        let mut out = Vec::new();
        for family in [Family::Meta, Family::Page] {
            let mut letters: Vec<u8> = Letter::ALL
                .into_iter()
                .filter(|l| family_of(*l) == family)
                .map(|l| l as u8)
                .collect();
            letters.sort_unstable();
            let mut from = Vec::new();
            for letter in letters {
                let to = vec![letter];
                out.push(Self { family, from, to });
                from = vec![letter + 1];
            }
            let to = END.to_vec();
            out.push(Self { family, from, to });
        }
        out
    }

    /// Returns the slices of the whole store.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut out = Self::foreign();
        out.extend(Letter::ALL.into_iter().flat_map(Self::of));
        out
    }

    /// Returns the keys that begin with this one.
    #[must_use]
    pub fn beginning_with(letter: Letter, prefix: &[u8]) -> Self {
        let key = Key::new(letter, &[prefix]);
        Self {
            family: family_of(letter),
            from: key.as_bytes().to_vec(),
            to: key.prefix_end().as_bytes().to_vec(),
        }
    }

    /// Returns the first bytes of the slice, for messages.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.from
    }
}

/// The records of one moment.
pub struct View {
    kv: Arc<dyn KvRead>,
}

impl View {
    /// Calls `each` with the key and the sealed value of every record in a slice, ascending, until it
    /// returns false.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn for_each(
        &self,
        slice: &Slice,
        each: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), SealedError> {
        let (from, to) = (&slice.from, &slice.to);
        Ok(self.kv.for_each(slice.family, from, to, each)?)
    }
}

impl Records {
    /// Returns the records of this moment.
    ///
    /// # Errors
    /// When the store cannot take a snapshot.
    pub fn view(&self) -> Result<View, SealedError> {
        Ok(View {
            kv: self.snapshot()?,
        })
    }
}
