//! What goes to standard output: tables for people, one JSON document for programs.
//!
//! A document has a `schema` field, sizes as whole bytes and times as RFC 3339 in UTC. Control
//! characters in names never reach a terminal.

use std::io::{self, Write};

use serde::Serialize;

use crate::base::Timestamp;

use super::exit::{Exit, Failure};

/// Writes one JSON document with its schema, such as `coffer.list.v1`.
///
/// # Errors
/// When standard output cannot be written.
pub fn document<T: Serialize>(schema: &'static str, content: &T) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Document<'a, T> {
        schema: &'static str,
        #[serde(flatten)]
        content: &'a T,
    }
    let text = serde_json::to_string_pretty(&Document { schema, content })
        .expect("documents are structs with string keys");
    lines(&text)
}

/// Writes rows under their headings, each column as wide as its longest cell.
///
/// # Errors
/// When standard output cannot be written.
pub fn table<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> Result<(), Failure> {
    lines(&columns(headings, rows))
}

/// Writes text and a newline.
///
/// # Errors
/// When standard output cannot be written; a reader that has gone is no error.
pub fn lines(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(e) => Err(Failure::new(
            Exit::Failure,
            format!("standard output cannot be written: {e}"),
            "",
        )),
    }
}

/// Writes a warning to standard error.
pub fn warn(text: &str) {
    notice(&format!("warning: {text}"));
}

/// Writes a line to standard error; if that fails there is nobody to tell.
pub fn notice(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Returns a time as RFC 3339 in UTC, to the second.
#[must_use]
pub fn time(at: Timestamp) -> String {
    jiff::Timestamp::from_second(at.secs).map_or_else(|_| at.secs.to_string(), |t| t.to_string())
}

/// Returns seconds since 1970 as RFC 3339 in UTC.
#[must_use]
pub fn seconds(since_1970: u64) -> String {
    time(Timestamp {
        secs: i64::try_from(since_1970).unwrap_or(i64::MAX),
        nanos: 0,
    })
}

/// Returns text without characters that would steer a terminal.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

fn columns<const N: usize>(headings: [&str; N], rows: &[[String; N]]) -> String {
    let mut cells = vec![headings.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| row.each_ref().map(|c| printable(c))));
    let chars = |c: &String| c.chars().count();
    let mut widths = [0; N];
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = chars(cell).max(*width);
        }
    }
    let line = |row: &[String; N]| {
        let padded = row.iter().zip(widths).map(|(c, w)| format!("{c:<w$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    cells.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_hide_control_characters() {
        let rows = [
            ["a".to_owned(), "/mnt".to_owned()],
            ["long\u{1b}[2J".to_owned(), "/m".to_owned()],
        ];
        assert_eq!(
            columns(["ID", "DIR"], &rows),
            "ID        DIR\na         /mnt\nlong?[2J  /m"
        );
    }

    #[test]
    fn times_are_rfc_3339_in_utc() {
        let at = Timestamp {
            secs: 1_700_000_000,
            nanos: 5,
        };
        assert_eq!(time(at), "2023-11-14T22:13:20Z");
    }
}
