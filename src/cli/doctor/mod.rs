//! `coffer doctor`: why something does not work on this host, with the command that mends it.
//!
//! Looking ([`facts`]) and judging ([`findings`]) are apart: what is wrong with a host is a pure
//! function of what was seen on it.

mod facts;
mod findings;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;

use super::exit::{Exit, Failure};
use super::output;

use facts::Facts;
use findings::{Finding, Level, assess};

/// Explain why something does not work on this host, with the command that mends it.
///
/// Ends with 0 when nothing prevents mounting, with 1 otherwise.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Also look at the disk of this volume
    volume: Option<PathBuf>,

    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    can_mount: bool,
    findings: &'a [Finding],
}

/// Looks at the host and prints what was found.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let findings = assess(&Facts::probe(args.volume.as_deref()));
    let can_mount = findings.iter().all(|f| f.level != Level::Problem);
    if args.json {
        let findings = &findings;
        output::document(
            "coffer.doctor.v1",
            &Document {
                can_mount,
                findings,
            },
        )?;
    } else {
        output::lines(&text(&findings, can_mount))?;
    }
    Ok(if can_mount {
        ExitCode::SUCCESS
    } else {
        Exit::Failure.into()
    })
}

fn text(findings: &[Finding], can_mount: bool) -> String {
    let mut lines = Vec::new();
    for f in findings {
        let level = match f.level {
            Level::Ok => "ok",
            Level::Warning => "warning",
            Level::Problem => "PROBLEM",
        };
        lines.push(format!("{level:<8} {}", output::printable(&f.text)));
        if let Some(mend) = &f.mend {
            lines.push(format!("{:<8}   mend: {}", "", output::printable(mend)));
        }
    }
    lines.push(String::new());
    lines.push(if can_mount {
        "Nothing prevents mounting.".to_owned()
    } else {
        "Mounting will fail until the problems are mended.".to_owned()
    });
    lines.join("\n")
}
