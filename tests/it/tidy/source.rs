//! A file of the tree, as text and as code without comments and literals.

use std::fs;
use std::path::{Path, PathBuf};

/// A file of the repository.
pub struct Source {
    /// Its path from the top of the repository.
    pub path: String,
    /// What it holds.
    pub text: String,
    /// The same with comments and the insides of literals blanked, line for line.
    pub code: String,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code: blank(text),
        }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Returns true for unit tests beside the code and for integration tests.
    pub fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
            || self.path.starts_with("tests/")
    }

    /// Returns the layer of a file in `src/`; none for `lib.rs` and `main.rs`.
    pub fn layer(&self) -> Option<&str> {
        self.path
            .strip_prefix("src/")?
            .split_once('/')
            .map(|(layer, _)| layer)
    }
}

/// Returns the top of the repository.
pub fn top() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Returns every file that people write: code, tests, set-up, documents.
pub fn tree() -> Vec<Source> {
    let mut files = Vec::new();
    for dir in ["src", "tests", "docs", ".ci"] {
        walk(&top().join(dir), &mut files);
    }
    for file in ["Cargo.toml", "clippy.toml", "rustfmt.toml", "README.md"] {
        files.push(top().join(file));
    }
    files.sort();
    files.iter().map(|f| read(f)).collect()
}

fn walk(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("the tree is readable") {
        let path = entry.expect("the tree is readable").path();
        if path.is_dir() {
            walk(&path, out);
        } else {
            out.push(path);
        }
    }
}

fn read(file: &Path) -> Source {
    let text = fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let path = file.strip_prefix(top()).expect("files lie in the tree");
    Source::new(path.to_str().expect("paths are text"), &text)
}

/// Blanks comments and the insides of strings and characters.
fn blank(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => rest.find("*/").map_or(rest.len(), |i| i + 2),
            'r' if raw_string(rest, &out).is_some() => raw_string(rest, &out).unwrap_or(1),
            '"' => quoted(rest, '"'),
            '\'' if is_char(rest) => quoted(rest, '\''),
            _ => {
                out.push(c);
                rest = &rest[c.len_utf8()..];
                continue;
            }
        };
        let (gone, kept) = rest.split_at(taken);
        out.extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = kept;
    }
    out
}

/// Returns the length of the raw string that `rest` begins with.
fn raw_string(rest: &str, before: &str) -> Option<usize> {
    let inside_word = before
        .chars()
        .next_back()
        .is_some_and(|c| c.is_alphanumeric() && c != 'b' || c == '_');
    let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
    if inside_word || !rest[1 + hashes..].starts_with('"') {
        return None;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    rest[body..].find(&end).map(|i| body + i + end.len())
}

/// Returns the length of the literal that `rest` begins with.
fn quoted(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return i + 1,
            _ => {}
        }
    }
    rest.len()
}

/// Tells a character from a lifetime.
fn is_char(rest: &str) -> bool {
    let mut chars = rest.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => true,
        (Some(_), Some(c)) => c == '\'',
        _ => false,
    }
}

#[test]
fn blanking_keeps_lines_and_code() {
    let text =
        "let a = \"x // y\"; // z\nlet c = '\"'; let l: &'a str = r#\"fs::\"#;\n/* kv:: */ end";
    let code = blank(text);
    assert_eq!(code.lines().count(), 3);
    assert!(code.contains("&'a str ="));
    assert!(code.ends_with("end"));
    for gone in ["y", "z", "fs::", "kv::"] {
        assert!(!code.contains(gone), "{gone} is left in {code}");
    }
}
