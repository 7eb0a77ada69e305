//! How far long work has come: a bar on a terminal, JSON lines for programs, or nothing.

use std::io::{Write, stderr};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::base::sync::Mutex;
use crate::base::{Clock, SystemClock};
use crate::volume::{Phase, Progress};

/// How often a JSON line is written.
const STEP: Duration = Duration::from_millis(200);

/// What is shown of progress.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Show {
    /// A bar on a terminal, nothing elsewhere
    #[default]
    Auto,
    /// A JSON object on a line of standard error for each step
    Json,
    /// Nothing
    Never,
}

/// Shows how far work has come.
pub struct Meter {
    begun: Instant,
    state: Mutex<State>,
}

struct State {
    phase: Option<Phase>,
    to: Sink,
}

enum Sink {
    /// Draws itself only on a terminal.
    Bar(ProgressBar),
    /// The time of the last line.
    Lines(Option<Instant>),
    Nothing,
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
        let to = match show {
            Show::Auto => Sink::Bar(ProgressBar::no_length()),
            Show::Json => Sink::Lines(None),
            Show::Never => Sink::Nothing,
        };
        Self {
            begun: SystemClock.monotonic(),
            state: Mutex::new(State { phase: None, to }),
        }
    }

    /// Shows a step, unless the one before was shown just now. Whoever measures goes on.
    pub fn show(&self, progress: Progress) -> bool {
        let mut state = self.state.lock();
        let is_new = state.phase.replace(progress.phase) != Some(progress.phase);
        match &mut state.to {
            Sink::Bar(bar) => {
                if is_new {
                    bar.set_style(style(progress.phase));
                    bar.reset();
                }
                bar.set_length(progress.total);
                bar.set_position(progress.done);
            }
            Sink::Lines(last) => {
                let now = SystemClock.monotonic();
                if is_new || last.is_none_or(|at| now >= at + STEP) {
                    *last = Some(now);
                    write_line(progress, now - self.begun);
                }
            }
            Sink::Nothing => {}
        }
        true
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if let Sink::Bar(bar) = &self.state.lock().to {
            bar.finish_and_clear();
        }
    }
}

fn write_line(progress: Progress, elapsed: Duration) {
    let line = Line {
        schema: "coffer.progress.v1",
        progress,
        elapsed_ms: u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
    };
    let line = serde_json::to_string(&line).expect("a struct with string keys");
    // If nobody reads it, nobody misses it.
    let _ = writeln!(stderr().lock(), "{line}");
}

fn style(phase: Phase) -> ProgressStyle {
    let template = match phase {
        Phase::Records => {
            "records {percent:>3} % {wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} left"
        }
        Phase::Data => {
            "data {percent:>3} % {wide_bar} {binary_bytes} of {binary_total_bytes}, {binary_bytes_per_sec}, {eta} left"
        }
        Phase::Names => "names of what was found {spinner}",
    };
    ProgressStyle::with_template(template).expect("the template is well formed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_phase_has_a_style() {
        let meter = Meter::new(Show::Auto);
        for phase in [Phase::Records, Phase::Data, Phase::Names] {
            let (done, total) = (1, 4);
            assert!(meter.show(Progress { phase, done, total }));
        }
    }
}
