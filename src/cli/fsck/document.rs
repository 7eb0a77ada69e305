//! The result of a check as a JSON document.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::cli::exit::Failure;
use crate::cli::output;
use crate::volume::{ByteRange, CheckReport, Code, Finding, Looked, Severity};

#[derive(Serialize)]
struct Document<'a> {
    volume: String,
    clean: bool,
    severity: Option<Severity>,
    generation: Option<u64>,
    read_data: bool,
    looked: Looked,
    counts: &'a BTreeMap<Code, u64>,
    findings: Vec<Line<'a>>,
    elapsed_ms: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    code: Code,
    title: &'static str,
    severity: Severity,
    subject: &'a str,
    detail: &'a str,
    paths: &'a [String],
    range: Option<ByteRange>,
}

impl<'a> From<&'a Finding> for Line<'a> {
    fn from(f: &'a Finding) -> Self {
        Self {
            code: f.code,
            title: f.code.title(),
            severity: f.code.severity(),
            subject: &f.subject,
            detail: &f.detail,
            paths: &f.paths,
            range: f.range,
        }
    }
}

fn document<'a>(volume: &Path, report: &'a CheckReport) -> Document<'a> {
    Document {
        volume: volume.display().to_string(),
        clean: report.is_clean(),
        severity: report.severity(),
        generation: report.generation,
        read_data: report.read_data,
        looked: report.looked,
        counts: &report.counts,
        findings: report.findings.iter().map(Line::from).collect(),
        elapsed_ms: u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Prints the document.
///
/// # Errors
/// When standard output cannot be written.
pub(super) fn print(volume: &Path, report: &CheckReport) -> Result<(), Failure> {
    output::document("coffer.fsck.v1", &document(volume, report))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::fsck::text::tests::damaged;

    #[test]
    fn a_document_tells_what_was_found_where() {
        let report = damaged();
        let json = serde_json::to_value(document(Path::new("/v"), &report)).expect("JSON");
        assert_eq!(json["clean"], false);
        assert_eq!(json["severity"], "lost");
        assert_eq!(json["counts"]["F-406"], 3);
        let first = &json["findings"][0];
        assert_eq!(first["code"], "F-406");
        assert_eq!(first["paths"][0], "/a/b");
        assert_eq!(first["range"]["offset"], 4096);
        assert_eq!(json["elapsed_ms"], 1500);
    }
}
