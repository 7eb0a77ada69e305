//! Mounts of the real kernel: these tests need root and /dev/fuse, and fail without.

mod contents;
mod mount;
mod requests;
mod rights;
mod served;
mod times;
