//! Replies from results: the value, or the errno of the error.

use fuser::{Errno, ReplyAttr, ReplyEmpty, ReplyEntry, ReplyWrite, ReplyXattr};

use crate::fs::{Attr, FsError};

use super::attributes::{KEEP, file_attr, generation};

/// Returns what the kernel calls the error.
pub(super) fn errno(e: &FsError) -> Errno {
    Errno::from_i32(e.errno())
}

pub(super) fn reply_entry(reply: ReplyEntry, result: Result<Attr, FsError>) {
    match result {
        Ok(attr) => reply.entry(&KEEP, &file_attr(&attr), generation(&attr)),
        Err(e) => reply.error(errno(&e)),
    }
}

pub(super) fn reply_attr(reply: ReplyAttr, result: Result<Attr, FsError>) {
    match result {
        Ok(attr) => reply.attr(&KEEP, &file_attr(&attr)),
        Err(e) => reply.error(errno(&e)),
    }
}

pub(super) fn reply_empty(reply: ReplyEmpty, result: Result<(), FsError>) {
    match result {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(errno(&e)),
    }
}

pub(super) fn reply_written(reply: ReplyWrite, result: Result<u32, FsError>) {
    match result {
        Ok(n) => reply.written(n),
        Err(e) => reply.error(errno(&e)),
    }
}

/// Answers a request for a value with the value, or with its size if `size` is 0.
pub(super) fn reply_xattr(reply: ReplyXattr, size: u32, result: Result<Vec<u8>, FsError>) {
    let value = match result {
        Ok(value) => value,
        Err(e) => return reply.error(errno(&e)),
    };
    match u32::try_from(value.len()) {
        Ok(len) if size == 0 => reply.size(len),
        Ok(len) if len <= size => reply.data(&value),
        _ => reply.error(Errno::ERANGE),
    }
}
