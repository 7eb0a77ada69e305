//! Slots that change under an open volume, and what a reader's key must not bring about.

use super::*;
use crate::base::OsRng;
use crate::base::sync::Arc;
use crate::format::header::Role;
use crate::format::key::Key;
use crate::format::root::Root;
use crate::keys;
use crate::kv::{self, rocks::Rocks};
use crate::sealed::{Batch, Records};

fn reader() -> SecretBytes {
    SecretBytes::copy_of(&[7; 32]).expect("locked memory")
}

fn add(role: Role) -> SlotChange {
    SlotChange::Add {
        role,
        label: "one more".into(),
        form: SecretForm {
            kind: SlotKind::KeyFile,
            hint: String::new(),
            cost: Argon2Cost::DEFAULT,
        },
    }
}

/// Opens the volume with another secret.
fn open_with(f: &Fixture, s: &SecretBytes, access: Access) -> Result<Volume<Open>, VolumeError> {
    Volume::<Locked>::open(&f.dir())?.unlock_in(&f.runtime(), s, access)
}

#[test]
fn slots_change_under_an_open_volume() {
    let fixture = Fixture::new();
    let mut volume = fixture.open(Access::ReadWrite).expect("it opens");
    let old = fixture.path().join("old");
    copy_dir(&fixture.dir(), &old);
    let slot = volume.change_slots(&add(Role::Rw), &secret(), Some(&reader()));
    assert_eq!(slot.expect("added").id, 2);
    assert_eq!(volume.info().header.slots.len(), 2);
    let remove = SlotChange::Remove { slot: 2 };
    volume
        .change_slots(&remove, &secret(), None)
        .expect("removed");
    assert_eq!(volume.info().header.slots.len(), 1);
    let refused = volume
        .change_slots(&remove, &reader(), None)
        .expect_err("refused");
    assert_eq!(refused.kind(), Kind::WrongSecret);
    volume.close().expect("it closes");
    let refused = open_with(&fixture, &reader(), Access::ReadOnly).map(drop);
    assert_eq!(refused.expect_err("refused").kind(), Kind::WrongSecret);
    // The root knows the number of the header: an old one is not taken.
    for copy in ["header.a", "header.b"] {
        std::fs::copy(old.join(copy), fixture.dir().join(copy)).expect("a copy");
    }
    let refused = fixture
        .open(Access::ReadWrite)
        .map(drop)
        .expect_err("refused");
    assert!(
        matches!(refused, VolumeError::HeaderRollback { .. }),
        "{refused}"
    );
}

#[test]
fn a_volume_open_for_reading_keeps_its_slots() {
    let fixture = Fixture::new();
    let mut volume = fixture.open(Access::ReadOnly).expect("it opens");
    let refused = volume.change_slots(&add(Role::Rw), &secret(), Some(&reader()));
    assert!(matches!(refused, Err(VolumeError::ReadOnly)));
    volume.close().expect("it closes");
}

/// Puts another root into the store, as anyone can who has the key of a reader.
fn forge(fixture: &Fixture, with: impl FnOnce(&mut Root)) {
    let unlocked = keys::unlock(
        &fixture.dir(),
        &reader(),
        Arc::new(OsRng),
        keys::Access::ReadOnly,
    )
    .expect("the reader's key");
    assert!(!unlocked.keyset.can_write());
    let store = Rocks::open(&fixture.dir().join("kv"), kv::Access::ReadWrite).expect("a store");
    let records = Records::new(Arc::new(store), unlocked.keyset);
    let key = Key::root();
    let stored = records.get(&key).expect("it reads").expect("a root");
    let mut root = Root::decode(&stored.payload).expect("a root");
    with(&mut root);
    let sealed = records
        .seal(&key, root.generation, &root.encode())
        .expect("sealed");
    let mut batch = Batch::default();
    batch.put(&key, sealed);
    records.write(batch).expect("written");
    records.flush().expect("flushed");
}

/// Leaves the volume as a killed worker does, before another boot: without the root of a clean end,
/// which is always signed.
fn end_without_close(fixture: &Fixture, volume: Volume<Open>) {
    let killed = fixture.path().join("killed");
    copy_dir(&fixture.dir(), &killed);
    volume.close().expect("it closes");
    std::fs::remove_dir_all(fixture.dir()).expect("removed");
    std::fs::rename(killed, fixture.dir()).expect("put back");
    std::fs::remove_dir_all(fixture.path().join("run")).expect("removed");
}

#[test]
fn what_a_reader_forges_is_refused() {
    let fixture = Fixture::new();
    let mut volume = fixture.open(Access::ReadWrite).expect("it opens");
    let slot = volume.change_slots(&add(Role::Ro), &secret(), Some(&reader()));
    assert_eq!(slot.expect("added").role, "ro");
    volume.close().expect("it closes");
    let volume = open_with(&fixture, &reader(), Access::ReadOnly).expect("it opens");
    volume.close().expect("it closes");
    let refused = open_with(&fixture, &reader(), Access::ReadWrite).map(drop);
    assert_eq!(refused.expect_err("refused").kind(), Kind::Policy);
    type Forgery = fn(&mut Root);
    let forgeries: [Forgery; 3] = [
        |root| root.signature = None,
        |root| root.used_pages += 1,
        |root| {
            root.used_pages += 1;
            root.signature = None;
        },
    ];
    for with in forgeries {
        let original = fixture.path().join("original");
        copy_dir(&fixture.dir(), &original);
        forge(&fixture, with);
        for access in [Access::ReadOnly, Access::ReadWrite] {
            let refused = fixture.open(access).map(drop).expect_err("a forged root");
            assert_eq!(refused.kind(), Kind::Integrity, "{refused}");
            assert_eq!(refused.code().as_deref(), Some("C-AEAD"), "{refused}");
        }
        // Nor was it signed by who refused it.
        let refused = fixture.open(Access::ReadWrite).map(drop);
        assert_eq!(refused.expect_err("a forged root").kind(), Kind::Integrity);
        std::fs::remove_dir_all(fixture.dir()).expect("removed");
        std::fs::rename(original, fixture.dir()).expect("put back");
    }
    let volume = fixture.open(Access::ReadWrite).expect("it opens");
    volume.close().expect("it closes");
}

#[test]
fn a_reader_makes_each_commit_signed_at_once() {
    let fixture = Fixture::new();
    let mut volume = fixture.open(Access::ReadWrite).expect("it opens");
    volume.resize(Some(7 << 20)).expect("a commit");
    volume
        .change_slots(&add(Role::Ro), &secret(), Some(&reader()))
        .expect("added");
    volume.resize(Some(8 << 20)).expect("a commit");
    end_without_close(&fixture, volume);
    let volume = fixture.open(Access::ReadWrite).expect("its root is signed");
    let content = volume.info().content.expect("content");
    assert_eq!(content.size_bytes, Some(8 << 20));
    volume.close().expect("it closes");
}

#[test]
fn a_crash_before_the_header_asks_for_signatures_leaves_a_volume_that_opens() {
    let fixture = Fixture::new();
    let volume = fixture.open(Access::ReadWrite).expect("it opens");
    volume.sign_every_root().expect("a signed commit");
    volume.close().expect("it closes");
    let mut volume = fixture.open(Access::ReadWrite).expect("it opens");
    volume
        .resize(Some(9 << 20))
        .expect("a commit without a signature");
    end_without_close(&fixture, volume);
    let volume = fixture.open(Access::ReadWrite).expect("it opens");
    volume.close().expect("it closes");
}
