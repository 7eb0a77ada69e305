//! Python's own tests of its file functions, with a mount as working and temporary directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::ext4::Ext4;
use crate::harness::{TestVolume, length, report, run};

/// Modules that the gate has time for.
const QUICK: &[&str] = &["test_os", "test_posix", "test_shutil", "test_mmap"];

/// The others.
const LONG: &[&str] = &["test_mailbox", "test_zipfile", "test_tarfile"];

/// Runs a module in a directory and returns what became of each case.
fn run_module(dir: &Path, module: &str) -> BTreeMap<String, String> {
    let own = dir.join(module);
    fs::create_dir(&own).expect("mounted");
    let mut python = Command::new("/usr/bin/python3");
    python
        .args(["-m", "unittest", "-v", &format!("test.{module}")])
        .env("TMPDIR", &own)
        .current_dir(&own);
    let outcome = run(&python, 600);
    let mut cases = BTreeMap::new();
    let lines = outcome.stderr.lines();
    for (case, result) in lines.filter_map(|l| l.split_once(" ... ")) {
        cases.insert(case.to_owned(), result.to_owned());
    }
    assert!(
        matches!(outcome.code, Some(0 | 1)) && cases.len() > 10,
        "{module}: {}",
        outcome.stderr
    );
    for line in outcome.stderr.lines() {
        for failed in ["FAIL: ", "ERROR: "] {
            if let Some(case) = line.strip_prefix(failed) {
                cases.insert(case.to_owned(), line.to_owned());
            }
        }
    }
    cases
}

fn is_bad(result: &str) -> bool {
    ["FAIL", "ERROR"].iter().any(|bad| result.starts_with(bad))
}

#[test]
fn python_finds_what_it_expects() {
    let v = TestVolume::new();
    let root = v.mount();
    let ext4 = length(None, Some(Ext4::new(8192)));
    let mut worse = Vec::new();
    for module in QUICK.iter().chain(length(&[][..], LONG)) {
        let here = run_module(&root, module);
        let there = match &ext4 {
            Some(e) => run_module(&e.root(), module),
            None => BTreeMap::new(),
        };
        report(&format!("python {module}: {} cases", here.len()));
        for (case, result) in &here {
            let elsewhere = there.get(case);
            let skipped_here_only =
                result.starts_with("skipped") && elsewhere.is_some_and(|e| e != result);
            let fails_here_only = is_bad(result) && !elsewhere.is_some_and(|e| is_bad(e));
            if skipped_here_only || fails_here_only {
                worse.push(format!("{module} {case}: {result}; ext4: {elsewhere:?}"));
            }
        }
    }
    assert!(worse.is_empty(), "{worse:#?}");
}
