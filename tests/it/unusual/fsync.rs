//! What fsync costs: threads that wait at the same time share a commit, and so a sync of the log.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Instant;

use crate::harness::{TestVolume, length, report};

const THREADS: u64 = 16;

fn generation(v: &TestVolume) -> u64 {
    v.info()["generation"].as_u64().expect("a number")
}

/// Lets threads write and fsync a page again and again; returns the commits that took.
fn commits(v: &TestVolume, what: &str, name: impl Fn(&Path, u64) -> File + Sync) -> (u64, u64) {
    let root = v.root();
    let each = length(100, 2000);
    let before = generation(v);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for t in 0..THREADS {
            let f = name(&root, t);
            scope.spawn(move || {
                for n in 0..each {
                    let page = [u8::try_from(n % 251).expect("a byte"); 4096];
                    f.write_all_at(&page, (t * 8 + n % 8) * 4096)
                        .expect("write");
                    f.sync_data().expect("fsync");
                }
            });
        }
    });
    let took = start.elapsed();
    let (commits, fsyncs) = (generation(v) - before, THREADS * each);
    report(&format!(
        "fsync, {THREADS} threads, {what}: {fsyncs} in {took:?}, {commits} commits"
    ));
    (commits, fsyncs)
}

#[test]
fn threads_share_the_syncs_of_the_log() {
    let v = TestVolume::new();
    v.mount();
    let own = |root: &Path, t| File::create(root.join(format!("own{t}"))).expect("mounted");
    let (n, of) = commits(&v, "a file each", own);
    assert!(n * 3 <= of, "{n} commits for {of} fsyncs");
    let one = File::create(v.root().join("one")).expect("mounted");
    let same = |_: &Path, _| one.try_clone().expect("one more descriptor");
    // The kernel lets one fsync of a file in at a time.
    let (n, of) = commits(&v, "one file", same);
    assert!(n <= of, "{n} commits for {of} fsyncs");
}
