//! The result of a check as text.

use std::path::Path;

use crate::cli::{output, size};
use crate::volume::{CheckReport, Code, Finding, Severity};

/// Returns what people read of a check.
pub(super) fn report(volume: &Path, report: &CheckReport) -> String {
    let volume = output::printable(&volume.display().to_string());
    let mut lines = Vec::new();
    let mut last = None;
    for finding in &report.findings {
        if last.replace(finding.code) != Some(finding.code) {
            lines.push(heading(finding.code));
        }
        lines.push(line(finding));
    }
    for (code, count) in &report.counts {
        let told = report.findings.iter().filter(|f| f.code == *code).count() as u64;
        if told < *count {
            lines.push(format!("and {} more of {code}", count - told));
        }
    }
    lines.push(format!("{volume}: {}", summary(report)));
    if let Some(next) = next_step(report) {
        lines.push(format!(" next: {next}"));
    }
    lines.join("\n")
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Waste => "waste",
        Severity::Wrong => "wrong",
        Severity::Danger => "danger",
        Severity::Lost => "lost",
    }
}

fn heading(code: Code) -> String {
    format!("{code} {}: {}", word(code.severity()), code.title())
}

fn line(f: &Finding) -> String {
    let mut parts = Vec::new();
    match f.paths.as_slice() {
        [] => parts.push(f.subject.clone()),
        paths => parts.push(paths.join(", ")),
    }
    if let Some(range) = f.range {
        let last = range.offset.saturating_add(range.len.saturating_sub(1));
        parts.push(format!("bytes {} to {last}", range.offset));
    }
    if !f.detail.is_empty() {
        parts.push(f.detail.clone());
    }
    format!("  {}", output::printable(&parts.join("; ")))
}

fn summary(report: &CheckReport) -> String {
    let looked = &report.looked;
    let seen = format!(
        "{} inodes, {} names, {} blocks, {} packs",
        looked.inodes, looked.names, looked.blocks, looked.packs
    );
    let data = match report.read_data {
        true => format!("{} of contents read", size::show(looked.data_bytes)),
        false => "contents not read".to_owned(),
    };
    let seconds = report.elapsed.as_secs_f64();
    let generation = report
        .generation
        .map_or_else(String::new, |g| format!("generation {g}, "));
    let verdict = match report.severity() {
        None => "clean".to_owned(),
        Some(worst) => {
            let count: u64 = report.counts.values().sum();
            let s = if count == 1 { "" } else { "s" };
            format!("{count} finding{s}, the worst: {}", word(worst))
        }
    };
    format!("{verdict}; {generation}{seen}; {data}; {seconds:.1} s")
}

fn next_step(report: &CheckReport) -> Option<&'static str> {
    Some(match report.severity()? {
        Severity::Lost => "keep the volume as it is, and restore what is named from a backup",
        _ => "copy the files to a new volume; docs/FINDINGS.md tells what each number means",
    })
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::volume::{ByteRange, Looked};

    pub(in crate::cli::fsck) fn damaged() -> CheckReport {
        CheckReport {
            generation: Some(7),
            read_data: false,
            looked: Looked::default(),
            findings: vec![Finding {
                code: Code::BlockMissing,
                subject: "inode 5".into(),
                detail: "its block does not exist".into(),
                paths: vec!["/a/b".into(), "/c".into()],
                range: Some(ByteRange {
                    offset: 4096,
                    len: 100,
                }),
            }],
            counts: [(Code::BlockMissing, 3)].into(),
            elapsed: Duration::from_millis(1500),
        }
    }

    #[test]
    fn what_is_found_is_told_with_its_files() {
        let text = report(Path::new("/v\u{7}"), &damaged());
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "F-406 lost: a part of a file is lost");
        assert_eq!(
            lines[1],
            "  /a/b, /c; bytes 4096 to 4195; its block does not exist"
        );
        assert_eq!(lines[2], "and 2 more of F-406");
        assert!(lines[3].starts_with("/v?: 3 findings, the worst: lost; generation 7, "));
        assert!(lines[4].contains("restore"));
    }

    #[test]
    fn a_clean_volume_is_one_line() {
        let mut clean = damaged();
        clean.findings.clear();
        clean.counts.clear();
        let text = report(Path::new("/v"), &clean);
        assert!(
            text.starts_with("/v: clean; generation 7, 0 inodes"),
            "{text}"
        );
        assert!(text.contains("contents not read"));
        assert_eq!(text.lines().count(), 1);
    }
}
