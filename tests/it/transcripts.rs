//! What the commands print: sessions in `fixtures/transcripts/`, run and compared line by line.
//!
//! `$ ` begins a command line for bash, in a fresh directory; what it prints follows, `[..]` stands
//! for any part of a line, a line `...` for any lines, `[exit N]` ends what fails with N.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::harness::{TestVolume, run};

/// Tells whether `line` looks like `pattern`.
fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("[..]");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = &rest[at + part.len()..];
        last = Some(part);
    }
    match last {
        None => rest.is_empty(),
        Some(end) => line.ends_with(end),
    }
}

/// Tells whether lines look like patterns.
fn all_match(patterns: &[&str], lines: &[&str]) -> bool {
    match (patterns, lines) {
        ([], []) => true,
        (["...", more @ ..], _) => (0..=lines.len()).any(|n| all_match(more, &lines[n..])),
        ([p, more @ ..], [l, rest @ ..]) => matches(p, l) && all_match(more, rest),
        _ => false,
    }
}

fn play(name: &str) {
    let v = TestVolume::new();
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/transcripts")
        .join(name);
    let binary = Path::new(env!("CARGO_BIN_EXE_coffer"));
    let dir = binary.parent().expect("it lies in a directory").display();
    let path = format!("{dir}:{}", std::env::var("PATH").unwrap_or_default());
    let text = fs::read_to_string(&file).expect("transcripts can be read");
    for session in text.split("\n$ ").skip(1) {
        let mut lines = session.trim_end().lines();
        let command = lines.next().unwrap_or_default();
        let expected: Vec<&str> = lines.filter(|l| !l.starts_with('#')).collect();
        let mut bash = Command::new("bash");
        bash.args(["-c", &format!("{{ {command} ; }} 2>&1")]);
        bash.current_dir(v.scratch()).env("PATH", &path);
        let outcome = run(&bash, 60);
        let mut printed = outcome.stdout.trim_end().to_owned();
        if let Some(code) = outcome.code.filter(|c| *c != 0) {
            printed = format!("{printed}\n[exit {code}]").trim_start().to_owned();
        }
        let lines: Vec<&str> = printed.lines().collect();
        assert!(
            all_match(&expected, &lines),
            "{name}: $ {command}\n{printed}\n\nshould be\n{}",
            expected.join("\n")
        );
    }
}

#[test]
fn patterns_match_what_they_should() {
    for (pattern, line, fits) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("a[..]c", "abbc", true),
        ("a[..]c", "abcd", false),
        ("[..]", "", true),
    ] {
        assert_eq!(matches(pattern, line), fits, "{pattern} {line}");
    }
    assert!(all_match(&["a", "...", "d"], &["a", "b", "c", "d"]));
    assert!(!all_match(&["a", "...", "d"], &["a", "b"]));
}

#[test]
fn first_steps() {
    play("first-steps.txt");
}

#[test]
fn keys() {
    play("keys.txt");
}

#[test]
fn refusals() {
    play("refusals.txt");
}
