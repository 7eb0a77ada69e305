//! PostgreSQL with page checksums: restarted, checked by its own tools, killed under load.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::Writers;
use crate::dice::Dice;
use crate::harness::{TestVolume, length, report, run, shell};
use crate::kills;

/// The three sums of pgbench that are equal after each of its transactions, and their number.
const SUMS: &str = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = coalesce(sum(delta), 0),
    (SELECT sum(tbalance) FROM pgbench_tellers) = coalesce(sum(delta), 0),
    (SELECT sum(bbalance) FROM pgbench_branches) = coalesce(sum(delta), 0),
    count(*) FROM pgbench_history";

/// A PostgreSQL server with its data in a directory; ends when dropped.
struct Postgres {
    bin: PathBuf,
    data: PathBuf,
    socket: PathBuf,
}

impl Postgres {
    /// Makes a cluster with the tables of pgbench on a mount, and starts it.
    fn with_bench(v: &TestVolume, scale: u32) -> Self {
        let bin = shell(v.scratch(), "ls -d /usr/lib/postgresql/*/bin | tail -1", 10);
        let socket = v.scratch().join("sock");
        fs::create_dir(&socket).expect("own directory");
        shell(v.scratch(), "chown postgres sock", 10);
        let pg = Self {
            bin: PathBuf::from(bin.trim()),
            data: v.root().join("pg"),
            socket,
        };
        shell(&v.root(), "mkdir pg; chown postgres pg; chmod 700 pg", 10);
        pg.run("initdb", "-A trust -U postgres --data-checksums", 120);
        pg.start();
        pg.run("pgbench", &format!("-i -q -s {scale} -U postgres"), 120);
        pg
    }

    /// Runs a program of PostgreSQL as its user.
    fn run(&self, program: &str, args: &str, limit_s: u64) -> String {
        run(&self.command(program, args), limit_s).ok()
    }

    fn command(&self, program: &str, args: &str) -> Command {
        let mut c = Command::new("setpriv");
        c.args(["--reuid=postgres", "--regid=postgres", "--init-groups"])
            .args([
                "bash",
                "-c",
                &format!("exec {}/{program} {args}", self.bin.display()),
            ])
            .env("PGHOST", &self.socket)
            .env("PGDATA", &self.data)
            .env("PGDATABASE", "postgres")
            .current_dir("/");
        c
    }

    /// Small logs, so that they switch and checkpoints come while a test lasts.
    fn start(&self) {
        let options = format!(
            "-c listen_addresses= -c max_wal_size=48MB -c checkpoint_timeout=30 -k {}",
            self.socket.display()
        );
        let log = self.socket.join("log");
        let args = format!("-w -t 60 -l {} -o '{options}' start", log.display());
        let started = run(&self.command("pg_ctl", &args), 90);
        let said = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(40)..].join("\n");
        assert_eq!(started.code, Some(0), "PostgreSQL does not start:\n{last}");
    }

    fn stop(&self) {
        self.run("pg_ctl", "-w -m fast stop", 90);
    }

    fn query(&self, sql: &str) -> String {
        let printed = self.run("psql", &format!("-qAtX -c \"{sql}\""), 60);
        printed.trim().to_owned()
    }

    /// Asserts that all sums are equal, and returns the number of transactions.
    #[track_caller]
    fn transactions(&self) -> u64 {
        let printed = self.query(SUMS);
        let count = printed.strip_prefix("t|t|t|").and_then(|n| n.parse().ok());
        count.unwrap_or_else(|| panic!("the sums differ: {printed}"))
    }

    /// Compares every table with its indexes.
    fn check(&self) {
        let args = "--install-missing --heapallindexed --parent-check -U postgres postgres";
        let printed = self.run("pg_amcheck", args, 120);
        assert_eq!(printed, "");
    }

    /// Ends all processes of the server without a word, as a dead mount leaves them, and waits until
    /// they have gone: the next server looks for the process that its lock names.
    fn kill(&self, postmaster: &str) {
        let script = format!(
            "all=\"{postmaster} $(pgrep -P {postmaster} || true)\"; kill -QUIT {postmaster} || true
            kill -KILL $all || true
            for p in $all; do while grep -q '^State:.[^ZX]' /proc/$p/status; do sleep 0.02; done; done
            rm -f .s.PGSQL.*.lock"
        );
        shell(&self.socket, &script, 30);
    }

    fn postmaster(&self) -> String {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).expect("it runs");
        file.lines().next().unwrap_or_default().to_owned()
    }

    /// A session that inserts one row after the other and prints each when it is committed.
    fn writer(&self, writer: u32, base: u64) -> Command {
        let sql = format!(
            "INSERT INTO t SELECT {writer}, i, repeat('x', 200) FROM (SELECT :i) AS s(i) RETURNING n;"
        );
        let script = format!(
            "i={base}; while :; do i=$((i+1)); echo '\\set i '$i; echo \"{sql}\"; done | {}/psql -qAtX -v ON_ERROR_STOP=1 -U postgres",
            self.bin.display()
        );
        let mut c = Command::new("bash");
        c.args(["-c", &script])
            .env("PGHOST", &self.socket)
            .env("PGDATABASE", "postgres");
        c
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.data.join("postmaster.pid").exists() {
            let stopped = self.command("pg_ctl", "-w -m immediate stop");
            run(&stopped, 60);
        }
    }
}

/// Clients of pgbench in the background; they end when their server does.
struct Bench(Child);

impl Bench {
    const CLIENTS: u64 = 2;

    fn start(pg: &Postgres) -> Self {
        let args = format!("-n -c {} -T 120 -U postgres", Self::CLIENTS);
        let mut c = pg.command("pgbench", &args);
        c.stdin(Stdio::null()).stderr(Stdio::null());
        Self(c.stdout(Stdio::piped()).spawn().expect("bash is there"))
    }

    /// Waits for the end, and returns the number of transactions whose commit was reported.
    fn end(self) -> u64 {
        let out = self.0.wait_with_output().expect("own child");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let label = "number of transactions actually processed: ";
        let count = text.lines().find_map(|l| l.strip_prefix(label));
        let count = count.and_then(|n| n.split('/').next()?.trim().parse().ok());
        count.unwrap_or_else(|| panic!("pgbench printed {text}"))
    }
}

#[test]
fn postgresql_runs_and_restarts() {
    let v = TestVolume::new();
    v.mount();
    let pg = Postgres::with_bench(&v, 5);
    let printed = pg.run("pgbench", "-c 4 -j 2 -T 5 -U postgres", 60);
    let tps = printed.lines().find(|l| l.starts_with("tps"));
    report(&format!("pgbench: {}", tps.unwrap_or("no figure")));
    let transactions = pg.transactions();
    assert!(transactions > 100);
    pg.check();
    pg.stop();
    v.remount();
    pg.run("pg_checksums", "--check", 120);
    pg.start();
    assert_eq!(pg.transactions(), transactions);
    pg.check();
    pg.stop();
    v.umount();
}

/// One kill under load; returns how many commits were reported before it.
fn kill_once(v: &TestVolume, pg: &Postgres, round: u64, dice: &mut Dice) -> u64 {
    let before = pg.transactions();
    let writers = (0..2).map(|w| pg.writer(w, round * 1_000_000));
    let mut writers = Writers::start(writers, v.scratch());
    let bench = Bench::start(pg);
    writers.wait_for(v.scratch(), 20);
    kills::wait(dice, length(1500, 6000));
    let postmaster = pg.postmaster();
    v.kill_worker();
    pg.kill(&postmaster);
    let noted = writers.end(v.scratch());
    let processed = bench.end();
    kills::mount_again(v);
    shell(&v.root(), "rm -f pg/postmaster.pid", 10);
    pg.start();
    for (w, ns) in noted.iter().enumerate() {
        let kept = pg.query(&format!("SELECT n FROM t WHERE writer = {w}"));
        let kept: HashSet<u64> = kept.lines().filter_map(|l| l.parse().ok()).collect();
        let lost: Vec<_> = ns.iter().filter(|n| !kept.contains(n)).collect();
        assert!(lost.is_empty(), "commits of writer {w} are lost: {lost:?}");
    }
    // Of each client one transaction may be committed without its having been told.
    let kept = pg.transactions() - before;
    let possible = processed..=processed + Bench::CLIENTS;
    assert!(
        possible.contains(&kept),
        "{kept} kept, {processed} reported"
    );
    pg.check();
    processed + noted.iter().map(|ns| ns.len() as u64).sum::<u64>()
}

#[test]
fn postgresql_loses_no_commit_when_the_worker_is_killed() {
    let v = TestVolume::new();
    v.mount();
    let pg = Postgres::with_bench(&v, 1);
    pg.query("CREATE TABLE t(writer int, n bigint, filler text)");
    let mut dice = kills::dice();
    let kills = length(5, 60);
    let commits = (0..kills).map(|round| kill_once(&v, &pg, round, &mut dice));
    report(&format!(
        "postgresql: {} commits, none lost in {kills} kills",
        commits.sum::<u64>()
    ));
    pg.stop();
    pg.run("pg_checksums", "--check", 120);
    v.umount();
}
