//! coffer: encrypted, persistent volumes for containers and hosts.
//!
//! Everything a user can do goes through one library type, [`volume::Volume`]; the binary only
//! parses and prints. Layers import downward only (`tests/it/tidy.rs` enforces it):
//!
//! | rank | layer | responsibility |
//! |---|---|---|
//! | 8 | `cli` | parse, print, exit code |
//! | 6 | `volume` | the API: init, open, mount, info |
//! | 5 | `fuse` | decode a kernel request, call `fs`, encode the reply |
//! | 5 | `maint` | the check of a volume: plans and findings as data |
//! | 4 | `fs` | POSIX semantics, dirty buffers, fold, orphans, quota |
//! | 3 | `meta`, `block`, `keys` | typed records; content store and cleaner; header and slots |
//! | 2 | `txn` | transaction groups, the committer, the root, set digests |
//! | 1 | `sealed`, `kv` | every value sealed and verified; the key-value store and the packs |
//! | 0 | `crypto`, `format`, `base` | ciphers; byte layouts; newtypes, clock, rng, the only `unsafe` |

pub mod base;
pub mod block;
pub mod cli;
pub mod crypto;
pub mod format;
pub mod fs;
pub mod fuse;
pub mod keys;
pub mod kv;
pub mod maint;
pub mod meta;
pub mod sealed;
pub mod txn;
pub mod volume;
