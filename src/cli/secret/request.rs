//! What a program that prints a secret is told on its standard input: one JSON object.
//!
//! A key service needs it to find the right key, and should bind the volume id to it.

use std::path::Path;

use serde::Serialize;

use super::Purpose;

#[derive(Serialize)]
struct Request {
    schema: &'static str,
    /// `unlock` or `create`.
    purpose: &'static str,
    /// None of a volume that is being made.
    volume_id: Option<String>,
    /// Those of the volume's slots that take what a program prints, or that of the new slot.
    hints: Vec<String>,
}

/// Returns the request for the secret of the volume in `volume_dir`.
pub fn about(volume_dir: &Path, purpose: Purpose<'_>) -> String {
    let header = crate::volume::info(volume_dir).ok().map(|i| i.header);
    let stored = || {
        let slots = header.iter().flat_map(|h| &h.slots);
        let told = slots.filter(|s| s.kind == "command" && !s.hint.is_empty());
        told.map(|s| s.hint.clone()).collect()
    };
    let (purpose, hints) = match purpose {
        Purpose::Unlock => ("unlock", stored()),
        Purpose::Create { hint: "" } => ("create", Vec::new()),
        Purpose::Create { hint } => ("create", vec![hint.to_owned()]),
    };
    let request = Request {
        schema: "coffer.secret-request.v1",
        purpose,
        volume_id: header.as_ref().map(|h| h.volume_id.clone()),
        hints,
    };
    serde_json::to_string(&request).expect("a struct with string keys")
}
