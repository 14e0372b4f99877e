//! Which crate may know which: `tests → manta → services → libmanta`, services never each other.
//!
//! Read from `cargo metadata`, so a renamed dependency is no way around it.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

/// Services meet through the ports of `libmanta`; only `manta` knows who stands behind one.
const SERVICES: [&str; 7] = [
    "muskie",
    "electric-moray",
    "moray",
    "mako",
    "marlin",
    "mahi",
    "triton",
];

/// What a crate of the workspace may use of the others, outside its tests.
fn allowed(name: &str) -> Option<Vec<&'static str>> {
    const SHARED: [&str; 4] = ["libmanta", "httpsig", "aperture", "manta-client"];
    let with_services = || SHARED.iter().chain(&SERVICES).copied().collect::<Vec<_>>();
    Some(match name {
        "httpsig" | "aperture" | "xtask" => Vec::new(),
        "libmanta" => vec!["aperture"],
        "manta-client" => vec!["libmanta", "httpsig"],
        "testkit" => vec!["libmanta"],
        "manta" => with_services(),
        "tests" => with_services()
            .into_iter()
            .chain(["manta", "testkit"])
            .collect(),
        "bench" => SHARED.to_vec(),
        service if SERVICES.contains(&service) => SHARED.to_vec(),
        _ => return None,
    })
}

/// Crates that bring much with them, or a habit that must not spread, and who may use them.
const CONFINED: [(&str, &[&str]); 7] = [
    ("rusqlite", &["moray"]),
    ("rquickjs", &["marlin"]),
    ("anyhow", &["manta", "xtask", "tests", "bench"]),
    ("indicatif", &["manta"]),
    ("clap", &["manta"]),
    ("seccompiler", &["triton"]),
    ("stateright", &["electric-moray", "moray"]),
];

/// Findings, one line each.
pub(crate) fn check(metadata: &Value) -> Result<Vec<String>> {
    let packages = metadata["packages"]
        .as_array()
        .context("`cargo metadata` lists no packages")?;
    let members: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("a package has a name")?;
        let manifest = package["manifest_path"]
            .as_str()
            .context("a package has a manifest")?;
        let directory = Path::new(manifest).parent().and_then(Path::file_name);
        if directory.is_none_or(|directory| directory != name) {
            findings.push(format!(
                "{manifest}: the directory is not called {name}, as the crate is"
            ));
        }
        let Some(allowed) = allowed(name) else {
            findings.push(format!(
                "{manifest}: tidy does not know the crate {name}; give it its arrows"
            ));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let other = dependency["name"]
                .as_str()
                .context("a dependency has a name")?;
            let for_tests = dependency["kind"] == "dev";
            if !for_tests && members.contains(&other) && !allowed.contains(&other) {
                findings.push(format!("{manifest}: {name} must not know {other}"));
            }
            if !for_tests && other == "testkit" && name != "tests" {
                findings.push(format!("{manifest}: testkit is for tests only"));
            }
            for (confined, to) in CONFINED {
                if !for_tests && other == confined && !to.contains(&name) {
                    findings.push(format!(
                        "{manifest}: {confined} belongs to {} only",
                        to.join(", ")
                    ));
                }
            }
        }
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn workspace(dependencies: Value) -> Value {
        json!({"packages": [
            {"name": "muskie", "manifest_path": "/r/muskie/Cargo.toml", "dependencies": dependencies},
            {"name": "moray", "manifest_path": "/r/moray/Cargo.toml", "dependencies": []},
        ]})
    }

    #[test]
    fn a_service_must_not_know_another() {
        let findings = check(&workspace(json!([{"name": "moray", "kind": null}]))).unwrap();
        assert_eq!(
            findings,
            ["/r/muskie/Cargo.toml: muskie must not know moray"]
        );
    }

    #[test]
    fn a_test_may_know_another_service() {
        assert!(
            check(&workspace(json!([{"name": "moray", "kind": "dev"}])))
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn heavy_crates_stay_where_they_belong() {
        let findings = check(&workspace(json!([{"name": "rusqlite", "kind": null}]))).unwrap();
        assert_eq!(
            findings,
            ["/r/muskie/Cargo.toml: rusqlite belongs to moray only"]
        );
    }

    #[test]
    fn a_new_crate_must_be_given_its_arrows() {
        let metadata = json!({"packages": [
            {"name": "binder", "manifest_path": "/r/names/Cargo.toml", "dependencies": []},
        ]});
        let findings = check(&metadata).unwrap();
        assert_eq!(findings.len(), 2, "{findings:?}");
    }
}
