//! The integration tests: one binary, so that the store is linked once. The tests that mount need
//! root, `/dev/fuse` and what `.ci/setup` installs; what is missing fails them, nothing is skipped.

mod harness;
mod mount;
mod tidy;
