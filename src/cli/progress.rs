//! How far long work has come: a line on a terminal, JSON lines for programs, or nothing.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::Serialize;

use crate::base::sync::Mutex;
use crate::base::{Clock, SystemClock};
use crate::volume::{Phase, Progress};

use super::size;

/// How often a line is written.
const STEP: Duration = Duration::from_millis(200);

/// Work that is over before this needs no line.
const QUIET: Duration = Duration::from_millis(500);

/// What is shown of progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Show {
    /// A line on a terminal, nothing elsewhere
    #[default]
    Auto,
    /// A JSON object on a line of standard error for each step
    Json,
    /// Nothing
    Never,
}

/// Shows how far work has come.
pub struct Meter {
    show: Show,
    state: Mutex<State>,
}

struct State {
    begun: Instant,
    last: Option<Instant>,
    phase: Option<Phase>,
    /// Characters of the line on the terminal.
    width: usize,
}

#[derive(Serialize)]
struct Line {
    schema: &'static str,
    #[serde(flatten)]
    progress: Progress,
    elapsed_ms: u64,
}

impl Meter {
    /// Begins to measure.
    pub fn new(show: Show) -> Self {
        let show = match show {
            Show::Auto if !stderr().is_terminal() => Show::Never,
            other => other,
        };
        Self {
            show,
            state: Mutex::new(State {
                begun: SystemClock.monotonic(),
                last: None,
                phase: None,
                width: 0,
            }),
        }
    }

    /// Shows a step, unless the one before was shown just now. Whoever measures goes on.
    pub fn show(&self, progress: Progress) -> bool {
        if self.show == Show::Never {
            return true;
        }
        let mut s = self.state.lock();
        let now = SystemClock.monotonic();
        let is_soon = s.last.is_some_and(|at| now < at + STEP);
        let is_early = self.show == Show::Auto && now < s.begun + QUIET;
        if is_early || is_soon && s.phase == Some(progress.phase) {
            return true;
        }
        (s.last, s.phase) = (Some(now), Some(progress.phase));
        let elapsed = now - s.begun;
        // If nobody reads it, nobody misses it.
        let _ = match self.show {
            Show::Json => {
                let elapsed_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
                let schema = "coffer.progress.v1";
                let line = Line {
                    schema,
                    progress,
                    elapsed_ms,
                };
                let line = serde_json::to_string(&line).expect("a struct with string keys");
                writeln!(stderr().lock(), "{line}")
            }
            _ => {
                let line = line(progress, elapsed);
                let width = line.chars().count();
                let padding = " ".repeat(s.width.saturating_sub(width));
                s.width = width;
                write!(stderr().lock(), "\r{line}{padding}")
            }
        };
        true
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        let width = self.state.lock().width;
        if width > 0 {
            let _ = write!(stderr().lock(), "\r{}\r", " ".repeat(width));
        }
    }
}

fn line(p: Progress, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs();
    let rate = p.done / seconds.max(1);
    let (what, done, total, rate) = match p.phase {
        Phase::Records => (
            "records",
            p.done.to_string(),
            p.total.to_string(),
            rate.to_string(),
        ),
        Phase::Data => (
            "data",
            size::show(p.done),
            size::show(p.total),
            size::show(rate),
        ),
        Phase::Names => return "names of what was found".into(),
    };
    let share = u128::from(p.done) * 100 / u128::from(p.total.max(1));
    format!("{what} {share:3} %, {done} of {total}, {rate}/s, {seconds} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_share_and_rate() {
        let progress = Progress {
            phase: Phase::Data,
            done: 1 << 30,
            total: 4 << 30,
        };
        assert_eq!(
            line(progress, Duration::from_secs(2)),
            "data  25 %, 1.0 GiB of 4.0 GiB, 512.0 MiB/s, 2 s"
        );
        let empty = Progress {
            phase: Phase::Records,
            done: 0,
            total: 0,
        };
        assert!(line(empty, Duration::ZERO).starts_with("records   0 %"));
    }
}
