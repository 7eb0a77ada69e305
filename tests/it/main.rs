//! The integration tests: one binary, so that the store is linked once. The tests that mount need
//! root, `/dev/fuse` and what `.ci/setup` installs; what is missing fails them, nothing is skipped.

mod acl;
mod cli;
mod cli_errors;
mod damage;
mod databases;
mod dice;
mod docker;
mod ext4;
mod fsck;
mod full;
mod git;
mod harness;
mod keys;
mod kills;
mod limits;
mod manifest;
mod model;
mod mount;
mod overlay;
mod powercut;
mod processes;
mod secrets;
mod semantics;
mod space;
mod suites;
mod tidy;
mod transcripts;
mod unusual;
mod user_mounts;
