//! The key-value store on RocksDB.
//!
//! One database with two families. Every write goes through the write-ahead log; a synced write makes
//! itself and all writes before it durable. The directory holds no log text: messages of the engine
//! that tell of a failure go to standard error.
//!
//! Memory is bounded by the constants below: one block cache that also holds index and filter blocks,
//! and three write buffers for each family.

use std::path::Path;

use rocksdb::{
    BlockBasedOptions, BottommostLevelCompaction, Cache, ColumnFamily, ColumnFamilyDescriptor,
    CompactOptions, DB, DBRecoveryMode, DEFAULT_COLUMN_FAMILY_NAME, FlushOptions, InfoLogger,
    LogLevel, LruCacheOptions, Options, ReadOptions, Snapshot, WriteBatch, WriteOptions,
    properties,
};
use self_cell::self_cell;

use crate::base::sync::Arc;

use super::{Access, Change, Family, Kv, KvError, KvRead, Pair};

/// Block cache: data, index and filter blocks.
const CACHE_BYTES: usize = 32 << 20;
/// log2 of the parts of the cache: few, so that a large filter block fits in one.
const CACHE_SHARD_BITS: i32 = 2;
/// Write buffer of a family: replay of a log takes about 0.2 s per 8 MiB.
const WRITE_BUFFER_BYTES: usize = 8 << 20;
/// Log kept for families that have not been flushed since: bounds the replay at an open.
const WAL_BYTES: u64 = 24 << 20;
/// Sorted files: small enough that rewriting one with many removals is cheap.
const FILE_BYTES: u64 = 16 << 20;
/// First level below the youngest files.
const LEVEL_BASE_BYTES: u64 = 64 << 20;
/// The record of the files in use is written anew, whole, for each change of it, and takes the place of
/// the one before when it is on the disk. The engine does not open a store whose record was being
/// extended when the power failed, if a part of the extension is there and the rest is not.
const NEW_MANIFEST_EACH: &str = "max_manifest_space_amp_pct=0;max_manifest_file_size=0";
/// Open sorted files: with [`FILE_BYTES`] each, 4 GiB of records without reopening any.
const OPEN_FILES: i32 = 256;
/// A file is rewritten when so many of so many neighbouring entries are removals: a scan must not
/// walk over what a large directory left behind.
const REMOVALS: (usize, usize) = (64, 128);
/// The same for the write buffer: it is flushed when one step of a scan skips so many entries.
const BUFFER_REMOVALS: &str =
    "memtable_op_scan_flush_trigger=4096;memtable_avg_op_scan_flush_trigger=512";

/// Write buffer of the engine's own family, which is never used: the engine sizes the log it
/// allocates ahead, and the space it wants to see after the disk was full, by the sum of all.
const UNUSED_BUFFER_BYTES: usize = 64 << 10;
const FAMILIES: [&str; 2] = [name(Family::Meta), name(Family::Page)];

const fn name(family: Family) -> &'static str {
    match family {
        Family::Meta => "meta",
        Family::Page => "page",
    }
}

/// A store in a directory of its own; closed when the last handle and snapshot are dropped.
pub struct Rocks {
    db: Arc<DB>,
    cache: Cache,
    read_only: bool,
    point: ReadOptions,
    synced: WriteOptions,
    unsynced: WriteOptions,
}

impl Rocks {
    /// Opens the store in `dir`.
    ///
    /// # Errors
    /// [`KvError::Busy`] when it is open elsewhere; when it is absent and not to be created, or the
    /// engine refuses it.
    pub fn open(dir: &Path, access: Access) -> Result<Self, KvError> {
        let mut lru = LruCacheOptions::default();
        lru.set_capacity(CACHE_BYTES);
        lru.set_num_shard_bits(CACHE_SHARD_BITS);
        let cache = Cache::new_lru_cache_opts(&lru);
        let family = family_options(&cache)?;
        let mut unused = Options::default();
        unused.set_write_buffer_size(UNUSED_BUFFER_BYTES);
        let unused = ColumnFamilyDescriptor::new(DEFAULT_COLUMN_FAMILY_NAME, unused);
        let used = FAMILIES.map(|n| ColumnFamilyDescriptor::new(n, family.clone()));
        let families = used.into_iter().chain([unused]);
        let options = store_options(access)?;
        let db = match access {
            Access::ReadOnly => DB::open_cf_descriptors_read_only(&options, dir, families, false),
            Access::Create | Access::ReadWrite => DB::open_cf_descriptors(&options, dir, families),
        }
        .map_err(engine("open"))?;
        let mut synced = WriteOptions::default();
        synced.set_sync(true);
        Ok(Self {
            db: Arc::new(db),
            cache,
            read_only: access == Access::ReadOnly,
            point: ReadOptions::default(),
            synced,
            unsynced: WriteOptions::default(),
        })
    }

    fn flush_families(&self, wait: bool) -> Result<(), KvError> {
        let mut options = FlushOptions::default();
        options.set_wait(wait);
        let families = self.families("flush")?;
        let flushed = self.db.flush_cfs_opt(&families, &options);
        flushed.map_err(engine("flush"))
    }

    fn families(&self, op: &'static str) -> Result<[&ColumnFamily; 2], KvError> {
        Ok([
            handle(&self.db, Family::Meta, op)?,
            handle(&self.db, Family::Page, op)?,
        ])
    }
}

fn store_options(access: Access) -> Result<Options, KvError> {
    let mut o = Options::default()
        .get_options_from_string(NEW_MANIFEST_EACH)
        .map_err(engine("open"))?;
    o.create_if_missing(access == Access::Create);
    o.create_missing_column_families(access == Access::Create);
    o.set_wal_recovery_mode(DBRecoveryMode::PointInTime);
    o.set_max_total_wal_size(WAL_BYTES);
    o.set_manifest_preallocation_size(64 << 10);
    o.set_max_open_files(OPEN_FILES);
    o.set_skip_stats_update_on_db_open(true);
    // One flush and one compaction at a time, beside the volume's own threads on few cores.
    o.set_max_background_jobs(2);
    o.set_bytes_per_sync(1 << 20);
    // There is one writer, the committer.
    o.set_allow_concurrent_memtable_write(false);
    o.set_enable_write_thread_adaptive_yield(false);
    o.set_stats_dump_period_sec(0);
    o.set_stats_persist_period_sec(0);
    o.set_info_logger(InfoLogger::new_callback_logger(
        LogLevel::Error,
        |level, text| {
            if matches!(level, LogLevel::Error | LogLevel::Fatal) {
                eprintln!("coffer: ERROR C-STORE: {}", text.trim_end());
            }
        },
    ));
    Ok(o)
}

fn family_options(cache: &Cache) -> Result<Options, KvError> {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(4096);
    table.set_bloom_filter(10.0, false);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut o = Options::default()
        .get_options_from_string(BUFFER_REMOVALS)
        .map_err(engine("open"))?;
    o.set_block_based_table_factory(&table);
    o.set_write_buffer_size(WRITE_BUFFER_BYTES);
    o.set_max_write_buffer_number(3);
    o.set_max_bytes_for_level_base(LEVEL_BASE_BYTES);
    o.set_target_file_size_base(FILE_BYTES);
    o.set_level_compaction_dynamic_level_bytes(true);
    let (removals, window) = REMOVALS;
    o.add_compact_on_deletion_collector_factory(window, removals, 0.5);
    Ok(o)
}

/// Returns the mapping of the engine's errors in a verb.
fn engine(op: &'static str) -> impl Fn(rocksdb::Error) -> KvError {
    move |e| {
        let detail = e.into_string();
        // The engine hands only text across its border.
        if detail.contains("No space left on device") || detail.contains("Disk quota exceeded") {
            KvError::NoSpace { op }
        } else if detail.contains("lock hold by current process")
            || detail.contains("While lock file")
        {
            KvError::Busy
        } else {
            KvError::Engine { op, detail }
        }
    }
}

fn handle<'a>(db: &'a DB, family: Family, op: &'static str) -> Result<&'a ColumnFamily, KvError> {
    db.cf_handle(name(family)).ok_or_else(|| KvError::Engine {
        op,
        detail: format!("the family {} is absent", name(family)),
    })
}

fn get(
    db: &DB,
    options: &ReadOptions,
    family: Family,
    key: &[u8],
) -> Result<Option<Vec<u8>>, KvError> {
    let cf = handle(db, family, "get")?;
    let found = db.get_pinned_cf_opt(cf, key, options);
    Ok(found.map_err(engine("get"))?.map(|v| v.to_vec()))
}

fn multi_get(
    db: &DB,
    options: &ReadOptions,
    family: Family,
    keys: &[&[u8]],
) -> Result<Vec<Option<Vec<u8>>>, KvError> {
    let cf = handle(db, family, "multi_get")?;
    db.batched_multi_get_cf_opt(cf, keys.iter().copied(), false, options)
        .into_iter()
        .map(|v| Ok(v.map_err(engine("multi_get"))?.map(|v| v.to_vec())))
        .collect()
}

fn each(
    db: &DB,
    mut options: ReadOptions,
    family: Family,
    range: std::ops::Range<&[u8]>,
    visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
) -> Result<(), KvError> {
    let cf = handle(db, family, "scan")?;
    if range.start >= range.end {
        return Ok(());
    }
    options.set_iterate_upper_bound(range.end);
    let mut i = db.raw_iterator_cf_opt(cf, options);
    i.seek(range.start);
    while let Some((k, v)) = i.item() {
        if !visit(k, v) {
            break;
        }
        i.next();
    }
    i.status().map_err(engine("scan"))
}

fn scan(
    db: &DB,
    options: ReadOptions,
    family: Family,
    range: std::ops::Range<&[u8]>,
    limit: usize,
) -> Result<Vec<Pair>, KvError> {
    let mut out: Vec<Pair> = Vec::new();
    if limit > 0 {
        each(db, options, family, range, &mut |k, v| {
            out.push((k.to_vec(), v.to_vec()));
            out.len() < limit
        })?;
    }
    Ok(out)
}

/// Returns the options of a pass over many keys, which must not push out what is in use.
fn pass() -> ReadOptions {
    let mut o = ReadOptions::default();
    o.fill_cache(false);
    o
}

impl KvRead for Rocks {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        get(&self.db, &self.point, family, key)
    }

    fn multi_get(&self, family: Family, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        multi_get(&self.db, &self.point, family, keys)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Pair>, KvError> {
        scan(&self.db, ReadOptions::default(), family, from..to, limit)
    }

    fn for_each(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        each(&self.db, pass(), family, from..to, visit)
    }
}

impl Kv for Rocks {
    fn write(&self, batch: Vec<Change>, sync: bool) -> Result<(), KvError> {
        let [meta, page] = self.families("write")?;
        let pick = |f| match f {
            Family::Meta => meta,
            Family::Page => page,
        };
        let bytes = batch.iter().map(Change::encoded_bytes).sum();
        let mut native = WriteBatch::with_capacity_bytes(bytes);
        // Each change is freed as soon as it is copied: a large batch is not held twice.
        for change in batch {
            match change {
                Change::Put(f, k, v) => native.put_cf(pick(f), k, v),
                Change::Delete(f, k) => native.delete_cf(pick(f), k),
            }
        }
        let options = if sync { &self.synced } else { &self.unsynced };
        self.db.write_opt(native, options).map_err(engine("write"))
    }

    fn recover(&self) -> Result<(), KvError> {
        // The engine looks every five seconds whether there is space, flushes then, and tells nobody.
        let tried = self.db.write_opt(WriteBatch::default(), &self.synced);
        tried.map_err(engine("recover"))
    }

    fn snapshot(&self) -> Result<Arc<dyn KvRead>, KvError> {
        let cell = Pinned::new(Arc::clone(&self.db), |db| db.snapshot());
        let mut point = ReadOptions::default();
        point.set_snapshot(cell.borrow_dependent());
        Ok(Arc::new(View { point, cell }))
    }

    fn flush(&self) -> Result<(), KvError> {
        self.flush_families(true)
    }

    fn flush_later(&self) {
        drop(self.flush_families(false));
    }

    fn compact(&self) -> Result<(), KvError> {
        self.flush()?;
        let errors = |cf| {
            self.db
                .property_int_value_cf(cf, properties::BACKGROUND_ERRORS)
        };
        let mut options = CompactOptions::default();
        options.set_bottommost_level_compaction(BottommostLevelCompaction::Force);
        for cf in self.families("compact")? {
            let before = errors(cf).map_err(engine("compact"))?;
            self.db
                .compact_range_cf_opt(cf, None::<&[u8]>, None::<&[u8]>, &options);
            // The engine's call returns nothing; its count of failures tells.
            if errors(cf).map_err(engine("compact"))? != before {
                return Err(KvError::Engine {
                    op: "compact",
                    detail: "a background error".into(),
                });
            }
        }
        Ok(())
    }

    fn is_read_only(&self) -> bool {
        self.read_only
    }

    fn memory_bytes(&self) -> u64 {
        let of = |family| {
            [
                properties::CUR_SIZE_ALL_MEM_TABLES,
                properties::ESTIMATE_TABLE_READERS_MEM,
            ]
            .map(|p| match handle(&self.db, family, "memory") {
                Ok(cf) => self.db.property_int_value_cf(cf, p).ok().flatten(),
                Err(_) => None,
            })
        };
        let buffers: u64 = [of(Family::Meta), of(Family::Page)]
            .into_iter()
            .flatten()
            .flatten()
            .sum();
        buffers + u64::try_from(self.cache.get_usage()).unwrap_or(u64::MAX)
    }
}

self_cell!(
    struct Pinned {
        owner: Arc<DB>,
        #[covariant]
        dependent: Snapshot,
    }
);

/// The store as it was at one moment; keeps the store open.
struct View {
    /// Names the snapshot; dropped before it.
    point: ReadOptions,
    cell: Pinned,
}

impl View {
    fn options(&self, mut o: ReadOptions) -> ReadOptions {
        o.set_snapshot(self.cell.borrow_dependent());
        o
    }
}

impl KvRead for View {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Vec<u8>>, KvError> {
        get(self.cell.borrow_owner(), &self.point, family, key)
    }

    fn multi_get(&self, family: Family, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, KvError> {
        multi_get(self.cell.borrow_owner(), &self.point, family, keys)
    }

    fn scan(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<Pair>, KvError> {
        let options = self.options(ReadOptions::default());
        scan(self.cell.borrow_owner(), options, family, from..to, limit)
    }

    fn for_each(
        &self,
        family: Family,
        from: &[u8],
        to: &[u8],
        visit: &mut dyn FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), KvError> {
        let options = self.options(pass());
        each(self.cell.borrow_owner(), options, family, from..to, visit)
    }
}
