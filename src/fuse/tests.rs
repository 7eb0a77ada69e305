//! Mounts of the real kernel: these tests need root and /dev/fuse, and fail without.

mod mount;
mod times;
