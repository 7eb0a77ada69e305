//! The rules of the source tree as tests: layers, owners of crates, sizes, names, documents.
//!
//! A rule is a function from a file to its findings. [`holds`] first shows each rule a file that
//! breaks it, so that no rule can fall silent, then the whole tree.

mod docs;
mod layers;
mod source;
mod style;

use source::{Source, tree};

/// Asserts that `rule` finds something in the file `red` and nothing in the files of the tree.
fn holds(rule: impl Fn(&Source) -> Vec<String>, red: (&str, &str)) {
    assert!(
        !rule(&Source::new(red.0, red.1)).is_empty(),
        "the rule does not see what breaks it: {}",
        red.1
    );
    let found: Vec<String> = tree()
        .iter()
        .flat_map(|s| rule(s).into_iter().map(|f| format!("{}: {f}", s.path)))
        .collect();
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}
