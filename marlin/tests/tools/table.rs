//! `TOOLS.md` against the sources: no scenario is missing, and every test named is there.

use std::collections::BTreeSet;

/// Scenarios of each tool. The specification is not kept beside the sources, so their numbers are.
const SCENARIOS: [(&str, usize, &str); 6] = [
    ("mcat", 4, include_str!("mcat.rs")),
    ("mpipe", 8, include_str!("mpipe.rs")),
    ("msplit", 11, include_str!("msplit.rs")),
    ("mtee", 7, include_str!("mtee.rs")),
    ("maggr", 22, include_str!("maggr.rs")),
    ("buffer", 4, include_str!("../../src/tools/msplit/parts.rs")),
];

#[test]
fn every_scenario_has_its_test() {
    let table = include_str!("../TOOLS.md");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| m") || line.starts_with("| buffer"))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    for (tool, count, source) in SCENARIOS {
        let of_tool = rows.iter().filter(|row| row[1] == tool);
        let tests: BTreeSet<&str> = of_tool
            .map(|row| {
                let (scenario, test) = (row[2], row[4].trim_matches('`'));
                let place = if tool == "buffer" { "parts" } else { tool };
                assert_eq!(test, format!("marlin::{place}::{scenario}"));
                scenario
            })
            .collect();
        assert_eq!(tests.len(), count, "{tool}");
        for test in tests {
            let found = ["#[tokio::test]\nasync fn", "#[test]\n    fn"]
                .iter()
                .any(|head| source.contains(&format!("{head} {test}()")));
            assert!(found, "{tool}: {test} is no test");
        }
    }
}
