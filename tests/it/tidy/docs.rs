//! Documents keep up with the code: format, layers, tests, links.

use std::fs;
use std::path::Path;

use super::holds;
use super::source::{Source, top, tree};

/// Returns a fingerprint of code: FNV-1a of all that is no blank.
fn fingerprint(code: &str) -> String {
    let hash = code
        .bytes()
        .filter(|b| !b.is_ascii_whitespace())
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| {
            (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)
        });
    format!("{hash:016x}")
}

/// The format files stand in docs/FORMAT.md with the fingerprint of the code described there.
fn format_is_described(s: &Source) -> Vec<String> {
    if s.layer() != Some("format") || s.path.ends_with("/mod.rs") || s.is_test() {
        return Vec::new();
    }
    let text = fs::read_to_string(top().join("docs/FORMAT.md")).expect("docs/FORMAT.md exists");
    let row = format!("| `{}` | `{}` |", s.path, fingerprint(&s.code));
    if text.contains(&row) {
        return Vec::new();
    }
    vec![format!(
        "changed: bring the tables of docs/FORMAT.md up to date, then its last table to\n{row}"
    )]
}

/// Relative links lead to files.
fn links_lead_somewhere(s: &Source) -> Vec<String> {
    if !s.path.ends_with(".md") {
        return Vec::new();
    }
    let here = top().join(&s.path);
    let here = here.parent().unwrap_or(Path::new("."));
    s.text
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')'))
        .map(|(link, _)| link.split('#').next().unwrap_or_default())
        .filter(|link| !link.is_empty() && !link.contains("://"))
        .filter(|link| !here.join(link).exists())
        .map(|link| format!("links to {link}, which is not there"))
        .collect()
}

#[test]
fn the_format_is_described_as_it_is() {
    holds(format_is_described, ("src/format/new.rs", "fn f() {}"));
}

#[test]
fn links_of_documents_lead_somewhere() {
    holds(links_lead_somewhere, ("docs/X.md", "see [it](nowhere.md)"));
}

#[test]
fn no_test_file_is_forgotten() {
    let main = fs::read_to_string(top().join("tests/it/main.rs")).expect("main.rs exists");
    let forgotten: Vec<String> = tree()
        .iter()
        .filter_map(|s| s.path.strip_prefix("tests/it/"))
        .filter_map(|p| p.strip_suffix("/mod.rs").or(p.strip_suffix(".rs")))
        .filter(|m| *m != "main" && !m.contains('/'))
        .filter(|m| !main.contains(&format!("mod {m};")))
        .map(str::to_owned)
        .collect();
    assert!(forgotten.is_empty(), "not in main.rs: {forgotten:?}");
}
