//! The check of a volume in its directory: what stands around the store, and who may look.

use super::*;
use crate::volume::{CheckOptions, CheckReport, Code};

impl Fixture {
    fn check(&self) -> Result<CheckReport, VolumeError> {
        self.check_at(&self.dir())
    }

    fn check_at(&self, dir: &Path) -> Result<CheckReport, VolumeError> {
        let volume = Volume::<Locked>::open(dir)?;
        let options = CheckOptions { read_data: true };
        volume.check_in(&self.runtime(), &secret(), options, &|_| true)
    }
}

fn kinds(report: &CheckReport) -> Vec<Code> {
    report.counts.keys().copied().collect()
}

#[test]
fn a_new_volume_is_clean_and_is_left_as_it_was() {
    let fixture = Fixture::new();
    let copy = fixture.path().join("copy");
    copy_dir(&fixture.dir(), &copy);
    let report = fixture.check().expect("a report");
    assert!(report.is_clean(), "{:?}", report.findings);
    for name in ["header.a", "header.b", "kv/CURRENT"] {
        let read = |dir: &Path| std::fs::read(dir.join(name)).expect("a file");
        assert_eq!(read(&fixture.dir()), read(&copy));
    }
}

#[test]
fn an_open_volume_is_checked_while_it_changes() {
    let fixture = Fixture::new();
    let mut volume = fixture.open(Access::ReadWrite).expect("it opens");
    volume.resize(Some(9 << 20)).expect("a commit");
    let report = volume
        .check(CheckOptions::default(), &|_| true)
        .expect("a report");
    assert!(report.is_clean(), "{:?}", report.findings);
    // Offline, it is in use.
    let refused = fixture.check().map(drop).expect_err("refused");
    assert_eq!(refused.kind(), Kind::InUse);
    volume.close().expect("it closes");
    let generation = fixture.check().expect("a report").generation;
    assert!(generation > report.generation);
}

#[test]
fn a_wrong_secret_is_no_clean_volume() {
    let fixture = Fixture::new();
    let wrong = SecretBytes::copy_of(b"another passphrase").expect("locked memory");
    let volume = Volume::<Locked>::open(&fixture.dir()).expect("a volume");
    let options = CheckOptions::default();
    let refused = volume.check_in(&fixture.runtime(), &wrong, options, &|_| true);
    let refused = refused.map(drop).expect_err("refused");
    assert_eq!(refused.kind(), Kind::WrongSecret);
}

#[test]
fn f101_a_damaged_copy_of_the_header() {
    let fixture = Fixture::new();
    std::fs::write(fixture.dir().join("header.b"), b"torn").expect("a file");
    let report = fixture.check().expect("a report");
    assert_eq!(kinds(&report), [Code::HeaderTwin]);
    // A mount mends it, a check does not.
    assert_eq!(
        kinds(&fixture.check().expect("a report")),
        [Code::HeaderTwin]
    );
    let volume = fixture.open(Access::ReadWrite).expect("it opens");
    volume.close().expect("it closes");
    assert!(fixture.check().expect("a report").is_clean());
}

#[test]
fn f109_an_older_copy_or_header() {
    let fixture = Fixture::new();
    let old = fixture.path().join("old");
    copy_dir(&fixture.dir(), &old);
    let volume = fixture.open(Access::ReadWrite).expect("it opens");
    volume.close().expect("it closes");
    let report = fixture.check_at(&old).expect("a report");
    assert_eq!(kinds(&report), [Code::Rollback]);
    let volume = fixture.open(Access::ReadWrite).expect("it opens");
    volume.set_header_seq(9).expect("a commit");
    volume.close().expect("it closes");
    assert_eq!(kinds(&fixture.check().expect("a report")), [Code::Rollback]);
}
