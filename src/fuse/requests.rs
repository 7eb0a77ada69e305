//! Counts the requests of the kernel, by kind: what a program costs is the number of these.

use crate::base::sync::{AtomicU64, Ordering};

macro_rules! kinds {
    ($($kind:ident $name:literal,)*) => {
        /// What a request asks for; `forget` has no reply.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "named as the kernel names them")]
        pub enum RequestKind {
            $($kind,)*
        }

        impl RequestKind {
            /// Every kind, in the order of the counters.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Returns the name in metrics.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }
        }
    };
}

kinds! {
    Lookup "lookup",
    Forget "forget",
    Getattr "getattr",
    Setattr "setattr",
    Readlink "readlink",
    Mknod "mknod",
    Mkdir "mkdir",
    Symlink "symlink",
    Unlink "unlink",
    Rmdir "rmdir",
    Rename "rename",
    Link "link",
    Create "create",
    Open "open",
    Read "read",
    Write "write",
    Flush "flush",
    Release "release",
    Fsync "fsync",
    Opendir "opendir",
    Readdir "readdir",
    Readdirplus "readdirplus",
    Releasedir "releasedir",
    Fsyncdir "fsyncdir",
    Statfs "statfs",
    Setxattr "setxattr",
    Getxattr "getxattr",
    Listxattr "listxattr",
    Removexattr "removexattr",
    Fallocate "fallocate",
    CopyFileRange "copy_file_range",
    Lseek "lseek",
    Unsupported "unsupported",
}

/// How many requests of each kind have come since the mount.
#[derive(Debug)]
pub struct RequestCounts {
    of: [AtomicU64; RequestKind::ALL.len()],
}

impl Default for RequestCounts {
    fn default() -> Self {
        Self {
            of: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl RequestCounts {
    /// Counts one request.
    pub(super) fn add(&self, kind: RequestKind) {
        if let Some(n) = self.of.get(kind as usize) {
            n.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of requests of `kind`.
    #[must_use]
    pub fn get(&self, kind: RequestKind) -> u64 {
        self.of
            .get(kind as usize)
            .map_or(0, |n| n.load(Ordering::Relaxed))
    }
}
