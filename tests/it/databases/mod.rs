//! Databases on a mount, as they come from Debian: PostgreSQL and SQLite, restarted and killed.

mod postgres;
mod sqlite;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::until;

/// Writers that note each transaction after its commit was reported, until their server goes.
struct Writers(Vec<Child>);

impl Writers {
    /// Starts `command` in a shell, with its output going to `notes`.
    fn start(commands: impl IntoIterator<Item = Command>, notes: &Path) -> Self {
        let start = |(i, mut c): (usize, Command)| {
            let file = fs::File::create(notes.join(format!("notes{i}"))).expect("own directory");
            c.stdin(Stdio::null()).stderr(Stdio::null()).stdout(file);
            c.process_group(0).spawn().expect("bash is there")
        };
        Self(commands.into_iter().enumerate().map(start).collect())
    }

    /// Waits until each writer has noted `n` commits.
    fn wait_for(&self, notes: &Path, n: usize) {
        for i in 0..self.0.len() {
            until("commits", Duration::from_secs(60), || {
                let text = fs::read_to_string(notes.join(format!("notes{i}"))).ok()?;
                (text.lines().count() >= n).then_some(())
            });
        }
    }

    /// Ends the writers and returns the noted commits of each.
    fn end(&mut self, notes: &Path) -> Vec<Vec<u64>> {
        self.kill();
        let read = |i| {
            let text = fs::read_to_string(notes.join(format!("notes{i}"))).expect("noted");
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            whole
                .lines()
                .filter_map(|l| l.trim().parse().ok())
                .collect()
        };
        (0..self.0.len()).map(read).collect()
    }

    /// Kills the writers with all they have started; most have ended with their server.
    fn kill(&mut self) {
        for child in &mut self.0 {
            let group = format!("-{}", child.id());
            let kill = Command::new("kill")
                .args(["-KILL", "--", &group])
                .stderr(Stdio::null())
                .status();
            kill.expect("kill(1) is there");
            child.wait().expect("own child");
        }
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.kill();
        }
    }
}
