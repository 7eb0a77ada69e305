//! SQLite: several processes at once on one database, and the worker killed under one.

use std::path::Path;
use std::process::Command;

use super::Writers;
use crate::harness::{TestVolume, length, report, run, shell};
use crate::kills;

/// Processes that write at once.
const PROCESSES: usize = 4;

/// Moves money between accounts; each process and each of its turns leaves a row.
fn transfers(process: usize, turns: usize) -> String {
    let turn = |n: usize| {
        let (from, to) = ((process + n) % 10, (process * 3 + n * 7 + 1) % 10);
        format!(
            "BEGIN IMMEDIATE;
            UPDATE account SET sum = sum - 1 WHERE id = {from};
            UPDATE account SET sum = sum + 1 WHERE id = {to};
            INSERT INTO turn VALUES({process}, {n}, hex(randomblob(500)));
            COMMIT;\n"
        )
    };
    (0..turns).map(turn).collect()
}

/// Starts `sqlite3` on a database with a script.
fn sqlite(dir: &Path, script: &Path) -> Command {
    let mut c = Command::new("bash");
    c.arg("-c")
        .arg(format!(
            "exec sqlite3 -bail -cmd '.timeout 100000' db <{}",
            script.display()
        ))
        .current_dir(dir);
    c
}

#[test]
fn sqlite_serves_several_processes_at_once() {
    let v = TestVolume::new();
    let turns = length(60, 1000);
    for journal in ["wal", "delete"] {
        let dir = v.mount().join(journal);
        let tables = format!(
            "mkdir {journal}; sqlite3 {journal}/db 'PRAGMA journal_mode={journal};
            CREATE TABLE account(id INTEGER PRIMARY KEY, sum INT);
            CREATE TABLE turn(process INT, n INT, x TEXT, PRIMARY KEY(process, n));
            INSERT INTO account SELECT value, 100 FROM generate_series(0, 9)'"
        );
        shell(&v.root(), &tables, 60);
        let start = |name: &str, sql: String| {
            let script = v.scratch().join(format!("{journal}-{name}.sql"));
            std::fs::write(&script, sql).expect("own directory");
            let command = sqlite(&dir, &script);
            std::thread::spawn(move || run(&command, 500).ok())
        };
        let writers: Vec<_> = (0..PROCESSES)
            .map(|p| start(&format!("writer{p}"), transfers(p, turns)))
            .collect();
        let reader = "SELECT sum(sum) FROM account;\n".repeat(turns);
        let reader = start("reader", reader).join().expect("it reads");
        assert_eq!(reader, "1000\n".repeat(turns), "half a transfer was seen");
        for w in writers {
            w.join().expect("it writes");
        }
        let check = "sqlite3 db 'PRAGMA integrity_check;
            SELECT sum(sum) FROM account; SELECT count(*) FROM turn'";
        let all = format!("ok\n1000\n{}\n", PROCESSES * turns);
        assert_eq!(shell(&dir, check, 60), all);
        v.remount();
        assert_eq!(shell(&dir, check, 60), all);
        v.umount();
    }
}

/// With a journal that is removed, SQLite takes a directory that it cannot open any more for one that
/// needs no sync, and so may report the commit during which the worker was killed.
#[test]
fn sqlite_loses_no_commit_when_the_worker_is_killed() {
    let v = TestVolume::new();
    let mut dice = kills::dice();
    for (journal, told_too_early) in [("truncate", 0), ("delete", 1), ("wal", 0)] {
        let tables = format!(
            "mkdir {journal}; sqlite3 {journal}/db 'PRAGMA journal_mode={journal};
            CREATE TABLE t(n INTEGER PRIMARY KEY, x TEXT)'"
        );
        shell(&v.mount(), &tables, 60);
        let (mut commits, kills) = (0, length(2_u32, 20));
        for round in 0..kills {
            let base = u64::from(round) * 1_000_000;
            let script = format!(
                "i={base}; (echo 'PRAGMA journal_mode={journal}; PRAGMA synchronous=FULL;'; while :; do i=$((i+1)); echo \"INSERT INTO t VALUES($i, hex(randomblob(300))); SELECT $i;\"; done) | exec stdbuf -oL sqlite3 -bail {}/{journal}/db",
                v.root().display()
            );
            let mut c = Command::new("bash");
            c.args(["-c", &script]);
            let mut writers = Writers::start([c], v.scratch());
            writers.wait_for(v.scratch(), 20);
            kills::wait(&mut dice, length(1000, 5000));
            v.kill_worker();
            let noted = writers.end(v.scratch()).concat();
            let root = kills::mount_again(&v);
            let check = format!(
                "sqlite3 {journal}/db 'PRAGMA integrity_check;
                SELECT count(*), coalesce(max(n), 0) FROM t WHERE n > {base}'"
            );
            let printed = shell(&root, &check, 60);
            let (verdict, kept) = printed.split_once('\n').expect("two lines");
            assert_eq!(verdict, "ok");
            let (count, max) = kept.trim().split_once('|').expect("two columns");
            let count: u64 = count.parse().expect("a number");
            let max: u64 = max.parse().expect("a number");
            let last = noted.iter().max().copied().unwrap_or(base) - base;
            assert!(
                count + told_too_early >= last,
                "{journal}: {last} were committed, {count} are kept"
            );
            assert!(max == 0 || max - base == count, "{journal}: a gap");
            commits += last;
        }
        report(&format!(
            "sqlite, {journal}: {commits} commits, none lost in {kills} kills"
        ));
        v.umount();
    }
}
