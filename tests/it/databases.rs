//! Databases on a mount, as they come from Debian: PostgreSQL and SQLite, restarted and killed.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::harness::{TestVolume, length, report, run, shell, until};

/// A PostgreSQL server with its data in a directory; ends when dropped.
struct Postgres {
    bin: PathBuf,
    data: PathBuf,
    socket: PathBuf,
}

impl Postgres {
    fn new(v: &TestVolume) -> Self {
        let bin = shell(v.scratch(), "ls -d /usr/lib/postgresql/*/bin | tail -1", 10);
        let socket = v.scratch().join("sock");
        fs::create_dir(&socket).expect("own directory");
        shell(v.scratch(), "chown postgres sock", 10);
        Self {
            bin: PathBuf::from(bin.trim()),
            data: v.root().join("pg"),
            socket,
        }
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

    fn start(&self) {
        let options = format!("-c listen_addresses= -k {}", self.socket.display());
        let log = self.socket.join("log");
        let args = format!("-w -t 60 -l {} -o '{options}' start", log.display());
        self.run("pg_ctl", &args, 90);
    }

    fn stop(&self) {
        self.run("pg_ctl", "-w -m fast stop", 90);
    }

    fn query(&self, sql: &str) -> String {
        let printed = self.run("psql", &format!("-qAtX -c \"{sql}\""), 60);
        printed.trim().to_owned()
    }

    /// Ends all processes of the server without a word, as a dead mount leaves them.
    fn kill(&self, postmaster: &str) {
        let script = format!(
            "kill -QUIT {postmaster} 2>/dev/null; kill -KILL {postmaster} $(pgrep -P {postmaster}) 2>/dev/null; true"
        );
        shell(Path::new("/"), &script, 10);
    }

    fn postmaster(&self) -> String {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).expect("it runs");
        file.lines().next().unwrap_or_default().to_owned()
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

#[test]
fn postgresql_runs_and_restarts() {
    let v = TestVolume::new();
    let root = v.mount();
    let pg = Postgres::new(&v);
    shell(&root, "mkdir pg; chown postgres pg; chmod 700 pg", 10);
    pg.run("initdb", "-A trust -U postgres --data-checksums", 120);
    pg.start();
    pg.run("pgbench", "-i -q -s 5 -U postgres", 120);
    let printed = pg.run("pgbench", "-c 4 -j 2 -T 5 -U postgres", 60);
    let tps = printed.lines().find(|l| l.starts_with("tps"));
    report(&format!("pgbench: {}", tps.unwrap_or("no figure")));
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta),
        (SELECT sum(bbalance) FROM pgbench_branches) = sum(delta), count(*) > 100 FROM pgbench_history";
    assert_eq!(pg.query(sums), "t|t|t");
    pg.stop();
    v.remount();
    pg.run("pg_checksums", "--check", 120);
    pg.start();
    assert_eq!(pg.query(sums), "t|t|t");
    pg.stop();
    v.umount();
}

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

#[test]
fn postgresql_loses_no_commit_when_the_worker_is_killed() {
    let v = TestVolume::new();
    let root = v.mount();
    let pg = Postgres::new(&v);
    shell(&root, "mkdir pg; chown postgres pg; chmod 700 pg", 10);
    pg.run("initdb", "-A trust -U postgres", 120);
    pg.start();
    pg.query("CREATE TABLE t(writer int, n bigint, filler text)");
    let mut lost = 0;
    let mut commits = 0;
    for round in 0..length(2_u32, 40) {
        let writer = |w: u32| {
            let sql = format!(
                "INSERT INTO t SELECT {w}, i, repeat('x', 200) FROM (SELECT :i) AS s(i) RETURNING n;"
            );
            let base = u64::from(round) * 1_000_000;
            let script = format!(
                "i={base}; while :; do i=$((i+1)); echo '\\set i '$i; echo \"{sql}\"; done | {}/psql -qAtX -v ON_ERROR_STOP=1 -U postgres",
                pg.bin.display()
            );
            let mut c = Command::new("bash");
            c.args(["-c", &script])
                .env("PGHOST", &pg.socket)
                .env("PGDATABASE", "postgres");
            c
        };
        let mut writers = Writers::start((0..3).map(writer), v.scratch());
        writers.wait_for(v.scratch(), 50);
        let postmaster = pg.postmaster();
        v.kill_worker();
        pg.kill(&postmaster);
        let noted = writers.end(v.scratch());
        v.mount();
        shell(&v.root(), "rm -f pg/postmaster.pid", 10);
        pg.start();
        for (w, ns) in noted.iter().enumerate() {
            let kept = pg.query(&format!("SELECT n FROM t WHERE writer = {w}"));
            let kept: std::collections::HashSet<u64> =
                kept.lines().filter_map(|l| l.parse().ok()).collect();
            commits += ns.len();
            lost += ns.iter().filter(|n| !kept.contains(n)).count();
        }
    }
    report(&format!(
        "postgresql: {commits} commits noted, {lost} lost in {} kills",
        length(2, 40)
    ));
    assert_eq!(lost, 0);
    pg.stop();
    v.umount();
}

/// Not with a journal that is removed: SQLite takes a directory that it cannot open any more for one
/// that needs no sync, and so reports the commit during which the worker was killed.
#[test]
fn sqlite_loses_no_commit_when_the_worker_is_killed() {
    let v = TestVolume::new();
    for (journal, dir) in [("truncate", "t"), ("wal", "w")] {
        let root = v.mount();
        shell(
            &root,
            &format!(
                "mkdir {dir}; sqlite3 {dir}/db 'PRAGMA journal_mode={journal}; CREATE TABLE t(n INTEGER PRIMARY KEY, x TEXT)'"
            ),
            60,
        );
        let mut commits = 0;
        for round in 0..length(2_u32, 40) {
            let base = u64::from(round) * 1_000_000;
            let script = format!(
                "i={base}; (echo 'PRAGMA journal_mode={journal}; PRAGMA synchronous=FULL;'; while :; do i=$((i+1)); echo \"INSERT INTO t VALUES($i, hex(randomblob(300))); SELECT $i;\"; done) | exec stdbuf -oL sqlite3 -bail {}/{dir}/db",
                v.root().display()
            );
            let mut c = Command::new("bash");
            c.args(["-c", &script]);
            let mut writers = Writers::start([c], v.scratch());
            writers.wait_for(v.scratch(), 100);
            v.kill_worker();
            let noted = writers.end(v.scratch()).concat();
            let root = v.mount();
            let check = format!("sqlite3 {dir}/db 'PRAGMA integrity_check'");
            assert_eq!(shell(&root, &check, 60), "ok\n");
            let max = shell(
                &root,
                &format!("sqlite3 {dir}/db 'SELECT max(n), count(*) FROM t WHERE n > {base}'"),
                60,
            );
            let kept: u64 = max
                .split('|')
                .next()
                .and_then(|n| n.trim().parse().ok())
                .unwrap_or(0);
            let last = noted.iter().max().copied().unwrap_or(0);
            assert!(
                kept >= last,
                "{journal}: {last} was committed, {kept} is kept"
            );
            commits += noted.len();
        }
        report(&format!(
            "sqlite, {journal}: {commits} commits noted, none lost in {} kills",
            length(2, 40)
        ));
        v.umount();
    }
}
