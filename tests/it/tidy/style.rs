//! What every file has and has not: head comment, size, names, characters, sources of time.

use super::holds;
use super::source::Source;

/// Production lines of a file at most.
const FILE_MAX_LINES: usize = 600;

/// Lines of a function at most.
const FUNCTION_MAX_LINES: usize = 70;

/// Words that name no concept.
const EMPTY_WORDS: &[&str] = &[
    "util", "utils", "helper", "helpers", "common", "misc", "manager",
];

fn has_head_comment(s: &Source) -> Vec<String> {
    if s.is_rust() && !s.text.starts_with("//!") {
        return vec!["begins without //!".to_owned()];
    }
    Vec::new()
}

fn is_ascii(s: &Source) -> Vec<String> {
    let checked = s.is_rust() || s.path.ends_with(".toml") || s.path.starts_with(".ci/");
    s.text
        .lines()
        .enumerate()
        .filter(|(_, line)| checked && !line.is_ascii())
        .map(|(i, _)| format!("line {} is not ASCII", i + 1))
        .collect()
}

fn is_short(s: &Source) -> Vec<String> {
    match s.text.lines().count() {
        n if s.is_rust() && !s.is_test() && n > FILE_MAX_LINES => vec![format!("{n} lines")],
        _ => Vec::new(),
    }
}

/// Returns name, first line and number of lines of each function.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut out = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let starts_a_word = code[..at]
            .chars()
            .next_back()
            .is_none_or(char::is_whitespace);
        let name: String = code[at + 3..]
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        if !starts_a_word || name.is_empty() {
            continue;
        }
        let mut depth = 0_usize;
        let end = code[at..].char_indices().find(|(_, c)| match c {
            '{' | '(' | '[' => {
                depth += 1;
                false
            }
            '}' | ')' | ']' => {
                depth = depth.saturating_sub(1);
                depth == 0 && *c == '}'
            }
            ';' => depth == 0,
            _ => false,
        });
        let end = at + end.map_or(0, |(i, _)| i);
        let first = code[..at].lines().count();
        out.push((name, first, code[at..end].lines().count()));
    }
    out
}

fn functions_are_short(s: &Source) -> Vec<String> {
    if !s.is_rust() {
        return Vec::new();
    }
    functions(&s.code)
        .into_iter()
        .filter(|(_, _, lines)| *lines > FUNCTION_MAX_LINES)
        .map(|(name, first, lines)| format!("line {first}: {name} has {lines} lines"))
        .collect()
}

/// Returns the words of a snake_case or CamelCase name, in small letters.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in name.chars() {
        if c == '_' || c == '-' || c == '/' || c == '.' || c.is_uppercase() {
            words.push(String::new());
        }
        if let Some(w) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            w.extend(c.to_lowercase());
        }
    }
    words
}

fn names_say_something(s: &Source) -> Vec<String> {
    let mut names = vec![s.path.clone()];
    if s.is_rust() {
        for keyword in ["struct ", "enum ", "trait ", "type ", "mod "] {
            names.extend(s.code.match_indices(keyword).map(|(at, _)| {
                s.code[at + keyword.len()..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect()
            }));
        }
    }
    names
        .iter()
        .flat_map(|n| words(n))
        .filter(|w| EMPTY_WORDS.contains(&w.as_str()))
        .map(|w| format!("a name holds the word {w}"))
        .collect()
}

/// Files that wait: for a condition variable, which knows the real time only, or for the engine.
const WAITS: &[(&str, &str)] = &[
    ("src/txn/group.rs", "Instant::now"),
    ("src/fs/data/jobs.rs", "Instant::now"),
    ("src/fs/data/mod.rs", "Instant::now"),
    ("src/kv/rocks.rs", "thread::sleep"),
];

fn time_and_locks_come_from_base(s: &Source) -> Vec<String> {
    let exempt = s.layer().is_none_or(|l| l == "base") || s.is_test();
    [
        "SystemTime::now",
        "Instant::now",
        "thread::sleep",
        "std::sync::",
        "thread_rng",
    ]
    .into_iter()
    .filter(|w| s.is_rust() && !exempt && s.code.contains(w))
    .filter(|w| !WAITS.contains(&(s.path.as_str(), w)))
    .map(|w| format!("{w}: time, randomness and locks come from base"))
    .collect()
}

fn tests_are_honest(s: &Source) -> Vec<String> {
    ["#[ignore", "#[should_panic", "thread::sleep"]
        .into_iter()
        .filter(|w| s.is_rust() && s.is_test() && s.code.contains(w))
        .map(|w| format!("{w} has no place in a test"))
        .collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    holds(has_head_comment, ("src/fs/x.rs", "use std::fmt;"));
}

#[test]
fn code_is_ascii() {
    holds(is_ascii, ("src/fs/x.rs", "//! caf\u{e9}"));
}

#[test]
fn files_and_functions_are_short() {
    holds(is_short, ("src/fs/x.rs", &"//!\n".repeat(601)));
    let long = format!("fn a() {{\n{}}}\nfn b() {{}}", "    ();\n".repeat(70));
    holds(functions_are_short, ("src/fs/x.rs", &long));
}

#[test]
fn names_name_a_concept() {
    holds(names_say_something, ("src/fs/x.rs", "struct LockManager;"));
    holds(names_say_something, ("src/fs/path_utils.rs", ""));
}

#[test]
fn time_randomness_and_locks_come_from_base() {
    holds(
        time_and_locks_come_from_base,
        ("src/fs/x.rs", "let t = std::time::SystemTime::now();"),
    );
}

#[test]
fn tests_neither_sleep_nor_hide() {
    holds(tests_are_honest, ("tests/it/x.rs", "#[ignore]\nfn f() {}"));
}
