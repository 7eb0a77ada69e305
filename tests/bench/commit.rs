//! What a commit costs, from the bare disk upward: `cargo run --release --example commit [DIR]`.
//!
//! Compare the lines of one run with each other: the first is what the disk can do, the last what a
//! program gets that writes 4 KiB and calls fsync.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use coffer::base::{OsRng, SystemClock, VolumeId};
use coffer::crypto::{Keyring, Keyset, TierKey};
use coffer::format::key::{Key, Letter};
use coffer::kv::rocks::Rocks;
use coffer::kv::{Access, Change, Family, Kv};
use coffer::sealed::Records;
use coffer::txn::Txn;

/// How long each line measures.
const TIME: Duration = Duration::from_secs(3);
/// Bytes of log that a write of 4 KiB with fsync makes: page, inode and root, sealed.
const BATCH_BYTES: usize = 7 << 10;

type Failure = Box<dyn std::error::Error>;

/// Calls `f` for a while; returns calls and CPU microseconds per call.
fn rate(mut f: impl FnMut(u64) -> Result<(), Failure>) -> Result<(f64, f64), Failure> {
    let cpu = || {
        let t = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(
            t.tv_sec.unsigned_abs(),
            u32::try_from(t.tv_nsec).unwrap_or(0),
        )
    };
    let (begin, before, mut n) = (Instant::now(), cpu(), 0_u32);
    while begin.elapsed() < TIME {
        f(n.into())?;
        n += 1;
    }
    let per_s = f64::from(n) / begin.elapsed().as_secs_f64();
    Ok((per_s, (cpu() - before).as_secs_f64() * 1e6 / f64::from(n)))
}

fn keyset() -> Result<Arc<Keyset>, Failure> {
    let tier = TierKey::random_admin(VolumeId([1; 16]), &OsRng)?;
    let keyring = Keyring::random("bench", tier.root_public()?, 0, &OsRng)?;
    Ok(Arc::new(Keyset::assemble(&tier, keyring, Arc::new(OsRng))?))
}

fn main() -> Result<(), Failure> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".into());
    let dir = tempfile::tempdir_in(parent)?;
    println!(
        "{:34} {:>9} {:>7} {:>10}",
        "", "per s", "ratio", "CPU us each"
    );
    let mut first = None;
    let mut line = |what: &str, (per_s, cpu_us): (f64, f64)| {
        let base = *first.get_or_insert(per_s);
        println!("{what:34} {per_s:9.0} {:7.2} {cpu_us:10.1}", per_s / base);
    };
    line(
        "pwrite + fdatasync in a written file",
        raw_overwrite(dir.path())?,
    );
    line("append + fdatasync", raw_append(dir.path())?);
    line("key-value store, synced batches", store(dir.path())?);
    transactions(dir.path(), &mut line)
}

fn raw_overwrite(dir: &Path) -> Result<(f64, f64), Failure> {
    let file = File::create(dir.join("overwrite"))?;
    let batch = vec![1; BATCH_BYTES];
    let places = 4096;
    for _ in 0..places {
        (&file).write_all(&batch)?;
    }
    file.sync_all()?;
    rate(|n| {
        file.write_all_at(&batch, n % places * BATCH_BYTES as u64)?;
        Ok(file.sync_data()?)
    })
}

fn raw_append(dir: &Path) -> Result<(f64, f64), Failure> {
    let path = dir.join("append");
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let batch = vec![1; BATCH_BYTES];
    rate(|_| {
        file.write_all(&batch)?;
        Ok(file.sync_data()?)
    })
}

fn store(dir: &Path) -> Result<(f64, f64), Failure> {
    let kv = Rocks::open(&dir.join("kv"), Access::Create)?;
    let found = rate(|n| {
        let page = (n % 1000).to_be_bytes().to_vec();
        let batch = vec![
            Change::Put(Family::Page, page, vec![1; 4300]),
            Change::Put(Family::Meta, b"inode".to_vec(), vec![1; 300]),
            Change::Put(Family::Meta, b"root".to_vec(), vec![1; 2600]),
        ];
        Ok(kv.write(batch, true)?)
    })?;
    Ok(found)
}

fn transactions(dir: &Path, line: &mut impl FnMut(&str, (f64, f64))) -> Result<(), Failure> {
    let keyset = keyset()?;
    let dir = dir.join("txn");
    let records = |access| -> Result<Records, Failure> {
        let kv: Arc<dyn Kv> = Arc::new(Rocks::open(&dir, access)?);
        Ok(Records::new(kv, Arc::clone(&keyset)))
    };
    let clock = Arc::new(SystemClock);
    Txn::create(records(Access::Create)?, clock.clone(), [1; 16], |op| {
        op.root().inodes = 1;
    })?;
    let txn = Txn::open(records(Access::ReadWrite)?, clock, Box::new(|_| ()))?;
    let inode = Key::new(Letter::Inode, &[&[1; 16], &[1]]);
    let page = |n: u64| Key::new(Letter::Page, &[&[1; 16], &n.to_be_bytes()]);
    let write = |n: u64| -> Result<(), Failure> {
        let mut op = txn.begin()?;
        op.put(page(n), vec![1; 4096]);
        op.put(inode, vec![1; 200]);
        Ok(())
    };
    let one = rate(|n| {
        write(n % 1000)?;
        txn.commit_wait()?;
        Ok(())
    })?;
    line("4 KiB + inode, commit each", one);
    let new = rate(|n| {
        let mut op = txn.begin()?;
        op.put_new(page(1_000_000 + n), vec![1; 4096]);
        drop(op);
        txn.commit_wait()?;
        Ok(())
    })?;
    line("4 KiB new, commit each", new);
    let many = rate(|n| {
        for i in 0..2000 {
            write(i * 7 + n % 7)?;
        }
        txn.commit_wait()?;
        Ok(())
    })?;
    let (per_s, cpu_us) = many;
    line(
        "4 KiB of 2000 in a commit",
        (per_s * 2000.0, cpu_us / 2000.0),
    );
    let read = rate(|n| {
        txn.get(&page(n % 1000))?;
        Ok(())
    })?;
    line("4 KiB read", read);
    let scanned = rate(|n| {
        txn.scan(&page(n % 900), &page(n % 900 + 8), 8)?;
        Ok(())
    })?;
    line("8 x 4 KiB scanned", scanned);
    Ok(txn.close()?)
}
