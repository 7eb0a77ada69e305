//! The reference: a file tree in memory.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::base::Ino;
use crate::fs::FsError;

/// What an inode is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    File(Rc<Vec<u8>>),
    Dir(BTreeMap<Vec<u8>, Ino>),
    Symlink(Vec<u8>),
}

/// An inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) body: Body,
    pub(super) nlink: u32,
    pub(super) perm: u32,
    pub(super) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The first version of its contents that may go with its present names.
    pub(super) since: usize,
}

/// A file tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct State {
    pub(super) nodes: BTreeMap<Ino, Node>,
}

impl Node {
    pub(super) fn new(body: Body, perm: u32) -> Self {
        let nlink = if matches!(body, Body::Dir(_)) { 2 } else { 1 };
        Self {
            body,
            nlink,
            perm,
            xattrs: BTreeMap::new(),
            since: 0,
        }
    }

    fn is_dir(&self) -> bool {
        matches!(self.body, Body::Dir(_))
    }
}

type Outcome = Result<(), FsError>;

impl State {
    pub(super) fn new() -> Self {
        let root = Node::new(Body::Dir(BTreeMap::new()), 0o755);
        Self {
            nodes: BTreeMap::from([(Ino::ROOT, root)]),
        }
    }

    pub(super) fn node(&mut self, ino: Ino) -> &mut Node {
        self.nodes.get_mut(&ino).unwrap()
    }

    fn entries(&mut self, dir: Ino) -> &mut BTreeMap<Vec<u8>, Ino> {
        match &mut self.node(dir).body {
            Body::Dir(entries) => entries,
            _ => panic!("{dir} is no directory"),
        }
    }

    pub(super) fn find(&self, dir: Ino, name: &[u8]) -> Option<Ino> {
        match &self.nodes[&dir].body {
            Body::Dir(entries) => entries.get(name).copied(),
            _ => None,
        }
    }

    pub(super) fn check_absent(&self, dir: Ino, name: &[u8]) -> Outcome {
        match self.find(dir, name) {
            Some(_) => Err(FsError::Exists),
            None => Ok(()),
        }
    }

    /// Puts an entry into a directory, over nothing.
    fn attach(&mut self, dir: Ino, name: &[u8], ino: Ino) {
        let old = self.entries(dir).insert(name.to_vec(), ino);
        assert_eq!(old, None);
        if self.nodes[&ino].is_dir() {
            self.node(dir).nlink += 1;
        }
    }

    fn detach(&mut self, dir: Ino, name: &[u8]) -> Ino {
        let ino = self.entries(dir).remove(name).unwrap();
        if self.nodes[&ino].is_dir() {
            self.node(dir).nlink -= 1;
        }
        ino
    }

    pub(super) fn make(&mut self, dir: Ino, name: &[u8], ino: Ino, node: Node) {
        let old = self.nodes.insert(ino, node);
        assert_eq!(old, None, "an inode number was used again");
        self.attach(dir, name, ino);
    }

    pub(super) fn link(&mut self, ino: Ino, dir: Ino, name: &[u8]) -> Outcome {
        if self.nodes[&ino].is_dir() {
            return Err(FsError::NotPermitted);
        }
        self.check_absent(dir, name)?;
        self.attach(dir, name, ino);
        self.node(ino).nlink += 1;
        Ok(())
    }

    fn drop_link(&mut self, ino: Ino) {
        let node = self.node(ino);
        node.nlink = if node.is_dir() { 0 } else { node.nlink - 1 };
    }

    pub(super) fn remove(&mut self, dir: Ino, name: &[u8], directory: bool) -> Outcome {
        let ino = self.find(dir, name).ok_or(FsError::NoEntry)?;
        match (&self.nodes[&ino].body, directory) {
            (Body::Dir(_), false) => return Err(FsError::IsDirectory),
            (Body::Dir(entries), true) if !entries.is_empty() => return Err(FsError::NotEmpty),
            (Body::File(_) | Body::Symlink(_), true) => return Err(FsError::NotDirectory),
            _ => {}
        }
        self.detach(dir, name);
        self.drop_link(ino);
        Ok(())
    }

    /// Returns true if `at` is `above` or below it.
    fn is_within(&self, at: Ino, above: Ino) -> bool {
        let parent = |child: Ino| {
            self.nodes.iter().find_map(|(ino, n)| match &n.body {
                Body::Dir(entries) => entries.values().any(|e| *e == child).then_some(*ino),
                _ => None,
            })
        };
        let mut at = Some(at);
        while let Some(ino) = at {
            if ino == above {
                return true;
            }
            at = parent(ino);
        }
        false
    }

    pub(super) fn rename(&mut self, from: (Ino, &[u8]), to: (Ino, &[u8]), flags: u32) -> Outcome {
        let exchange = flags == libc::RENAME_EXCHANGE;
        let source = self.find(from.0, from.1).ok_or(FsError::NoEntry)?;
        let target = self.find(to.0, to.1);
        match target {
            None if exchange => return Err(FsError::NoEntry),
            Some(_) if flags == libc::RENAME_NOREPLACE => return Err(FsError::Exists),
            Some(t) if t == source => return Ok(()),
            _ => {}
        }
        let source_is_dir = self.nodes[&source].is_dir();
        if let (Some(t), false) = (target, exchange) {
            match (source_is_dir, &self.nodes[&t].body) {
                (true, Body::Dir(entries)) if !entries.is_empty() => return Err(FsError::NotEmpty),
                (true, Body::Dir(_)) => {}
                (true, _) => return Err(FsError::NotDirectory),
                (false, Body::Dir(_)) => return Err(FsError::IsDirectory),
                _ => {}
            }
        }
        if source_is_dir && self.is_within(to.0, source) {
            return Err(FsError::Invalid);
        }
        if exchange && target.is_some_and(|t| self.is_within(from.0, t)) {
            return Err(FsError::Invalid);
        }
        self.detach(from.0, from.1);
        if let Some(t) = target {
            self.detach(to.0, to.1);
            match exchange {
                true => self.attach(from.0, from.1, t),
                false => self.drop_link(t),
            }
        }
        self.attach(to.0, to.1, source);
        Ok(())
    }

    /// Changes the contents of a file.
    pub(super) fn change(&mut self, ino: Ino, f: impl FnOnce(&mut Vec<u8>)) {
        match &mut self.node(ino).body {
            Body::File(data) => f(Rc::make_mut(data)),
            _ => panic!("{ino} is no file"),
        }
    }

    pub(super) fn data(&self, ino: Ino) -> Rc<Vec<u8>> {
        match &self.nodes[&ino].body {
            Body::File(data) => Rc::clone(data),
            _ => panic!("{ino} is no file"),
        }
    }

    /// Returns the inodes that have a name and that `wanted` picks.
    pub(super) fn named(&self, wanted: impl Fn(&Body) -> bool) -> Vec<Ino> {
        let named = self
            .nodes
            .iter()
            .filter(|(_, n)| n.nlink > 0 && wanted(&n.body));
        named.map(|(ino, _)| *ino).collect()
    }

    /// Forgets the inodes without a name.
    pub(super) fn drop_orphans(&mut self) {
        self.nodes.retain(|_, n| n.nlink > 0);
    }

    /// Returns the same without contents of files and versions, orphans left out.
    pub(super) fn shape(&self) -> Self {
        let mut shape = self.clone();
        shape.drop_orphans();
        for node in shape.nodes.values_mut() {
            node.since = 0;
            if let Body::File(data) = &mut node.body {
                *data = Rc::default();
            }
        }
        shape
    }
}
