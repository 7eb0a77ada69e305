//! Tests of opening, of the lock, of mount points, and of what the processes of a mount say.

mod channel;
mod check;
mod fresh;
mod lock;
mod mount_point;
mod slots;
mod text;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::runtime::Runtime;
use super::*;

/// A volume and a runtime directory of its own.
struct Fixture {
    temp: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let temp = tempfile::tempdir().expect("a directory");
        let fixture = Self { temp };
        let options = InitOptions {
            cost: Argon2Cost::new(8, 1, 1),
            label: "tests".into(),
            ..InitOptions::default()
        };
        init(&fixture.dir(), &options, &secret()).expect("a volume");
        fixture
    }

    fn path(&self) -> &Path {
        self.temp.path()
    }

    fn dir(&self) -> PathBuf {
        self.path().join("volume")
    }

    fn runtime(&self) -> Runtime {
        Runtime::at(&self.path().join("run"))
    }

    fn open(&self, access: Access) -> Result<Volume<Open>, VolumeError> {
        self.open_at(&self.dir(), access)
    }

    fn open_at(&self, dir: &Path, access: Access) -> Result<Volume<Open>, VolumeError> {
        Volume::<Locked>::open(dir)?.unlock_in(&self.runtime(), &secret(), access)
    }
}

fn secret() -> SecretBytes {
    SecretBytes::copy_of(b"correct horse battery staple").expect("locked memory")
}

/// Copies a directory of plain files and directories.
fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("a copy");
        }
    }
}
