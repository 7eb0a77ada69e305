//! dbench: the load of a file server, whose answers it checks.

use std::process::Command;

use crate::harness::{TestVolume, length, report, run};

#[test]
fn dbench_gets_the_answers_it_expects() {
    let v = TestVolume::new();
    let root = v.mount();
    for mode in [&["-x"][..], &["-s", "-S"], &["-F"]] {
        let mut c = Command::new("dbench");
        c.args(["-t", length("2", "60"), "-D"]).arg(&root);
        c.args(mode).arg("4");
        let outcome = run(&c, 300);
        let said = format!("{}{}", outcome.stdout, outcome.stderr);
        let throughput = said.lines().find(|l| l.starts_with("Throughput"));
        assert!(
            outcome.code == Some(0) && throughput.is_some(),
            "{mode:?}\n{said}"
        );
        // A load that gets another answer than it recorded says so behind its number.
        let is_wrong = |l: &&str| l.starts_with('[') || l.contains("ERROR");
        let wrong: Vec<&str> = said.lines().filter(is_wrong).collect();
        assert!(wrong.is_empty(), "{mode:?}: {wrong:#?}");
        report(&format!(
            "dbench {}: {}",
            mode.join(" "),
            throughput.unwrap_or_default()
        ));
    }
}
