//! `coffer key list`: the slots of a volume.

use std::path::PathBuf;

use serde::Serialize;

use crate::volume::SlotInfo;

use super::super::exit::Failure;
use super::super::output;

/// Show the keys that open a volume.
///
/// This stands readable in the header and needs no secret.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Directory of the volume, or where it is mounted
    volume: PathBuf,

    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document {
    volume_id: String,
    slots: Vec<Slot>,
}

/// A slot, as documents show it.
#[derive(Serialize)]
pub struct Slot {
    /// Its number.
    pub id: u16,
    /// Where its secret comes from.
    pub kind: String,
    /// What its secret allows.
    pub role: String,
    /// Its name.
    pub label: String,
    /// How to get its secret.
    pub hint: String,
    /// When it was made.
    pub created: String,
    /// Work per guess, for passphrases.
    pub kdf: Option<String>,
}

impl From<SlotInfo> for Slot {
    fn from(s: SlotInfo) -> Self {
        Self {
            id: s.id,
            kind: s.kind,
            role: s.role,
            label: s.label,
            hint: s.hint,
            created: output::seconds(s.created),
            kdf: s.kdf,
        }
    }
}

/// Prints the slots.
///
/// # Errors
/// When there is no volume.
pub fn run(args: &Args) -> Result<(), Failure> {
    let header = crate::volume::info(&args.volume)?.header;
    let slots: Vec<Slot> = header.slots.into_iter().map(Slot::from).collect();
    if args.json {
        let volume_id = header.volume_id;
        return output::document("coffer.key-list.v1", &Document { volume_id, slots });
    }
    let rows: Vec<[String; 7]> = slots
        .into_iter()
        .map(|s| {
            let kdf = s.kdf.unwrap_or_default();
            [
                s.id.to_string(),
                s.role,
                s.kind,
                s.label,
                s.created,
                kdf,
                s.hint,
            ]
        })
        .collect();
    let headings = [
        "SLOT", "ROLE", "KIND", "LABEL", "CREATED", "ARGON2ID", "HINT",
    ];
    output::table(headings, &rows)
}
