//! A tree that is changed at random and remembered, so that what a store holds can be compared with it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use rand::Rng;
use rand::rngs::StdRng;
use tests::wire::{Client, Request};

/// Everything below one directory: `None` is a directory, the rest are contents.
pub(crate) type Tree = BTreeMap<String, Option<Vec<u8>>>;

/// One change, and what the tree is when it is done.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// Sent as `x-request-id`, by which the answer is found in a trace.
    pub(crate) id: String,
    pub(crate) request: Request,
    pub(crate) after: Tree,
}

/// Plans changes below `root` that all succeed when they are made one after the other.
pub(crate) fn plan(root: &str, worker: u32, count: usize, random: &mut StdRng) -> Vec<Change> {
    let mut tree = Tree::new();
    (0..count)
        .map(|number| {
            let id = format!("00000000-0000-4000-8000-{worker:04x}{number:08x}");
            let request = step(root, &mut tree, random).header("x-request-id", &id);
            Change {
                id,
                request,
                after: tree.clone(),
            }
        })
        .collect()
}

fn step(root: &str, tree: &mut Tree, random: &mut StdRng) -> Request {
    let directory = ["", "/d1", "/d2", "/d2/e"][random.random_range(0..4)];
    let at = |path: &str| format!("{root}{path}");
    let known = |tree: &Tree, path: &str| path.is_empty() || tree.contains_key(path);
    if !known(tree, directory) {
        // Its parent is either the root or /d2.
        let wanted = if directory == "/d2/e" && !known(tree, "/d2") {
            "/d2"
        } else {
            directory
        };
        tree.insert(wanted.to_owned(), None);
        return Request::new("PUT", &at(wanted))
            .header("content-type", "application/json; type=directory")
            .claiming(0);
    }
    let inside: Vec<String> = tree
        .keys()
        .filter(|path| path.starts_with(&format!("{directory}/")))
        .cloned()
        .collect();
    if inside.is_empty() && !directory.is_empty() && random.random_bool(0.5) {
        tree.remove(directory);
        return Request::new("DELETE", &at(directory));
    }
    let object = format!("{directory}/o{}", random.random_range(0..4));
    if tree.contains_key(&object) && random.random_bool(0.4) {
        tree.remove(&object);
        return Request::new("DELETE", &at(&object));
    }
    let size = [0, 1, 100, 4096, 20_000][random.random_range(0..5)];
    let mut content = vec![0_u8; size];
    random.fill(&mut content[..]);
    tree.insert(object.clone(), Some(content.clone()));
    Request::new("PUT", &at(&object)).body(content)
}

/// Reads everything below `root`, and checks that listings and contents agree.
pub(crate) fn read(client: &mut Client, root: &str) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut rest = vec![String::new()];
    while let Some(directory) = rest.pop() {
        let listing = client
            .get(&format!("{root}{directory}?limit=1024"))?
            .expect(200)?;
        let rows: Vec<serde_json::Value> = listing
            .text()
            .lines()
            .map(serde_json::from_str)
            .collect::<Result<_, _>>()
            .context("understand a listing")?;
        let total = listing
            .header("result-set-size")
            .and_then(|n| n.parse::<usize>().ok());
        ensure!(
            total == Some(rows.len()),
            "{directory}/ lists {} entries and counts {total:?}",
            rows.len()
        );
        for row in rows {
            let path = format!(
                "{directory}/{}",
                row["name"].as_str().context("a row has a name")?
            );
            if row["type"] == "directory" {
                tree.insert(path.clone(), None);
                rest.push(path);
                continue;
            }
            let object = client.get(&format!("{root}{path}"))?;
            let object = object
                .expect(200)
                .with_context(|| format!("read {path}, which is listed"))?;
            ensure!(
                row["size"] == object.body.len(),
                "{path} is listed as {row}"
            );
            tree.insert(path, Some(object.body));
        }
    }
    Ok(tree)
}

/// In which places two trees differ, in few words.
pub(crate) fn difference(expected: &Tree, found: &Tree) -> String {
    let paths = expected.keys().chain(found.keys());
    let mut lines: Vec<String> = paths
        .filter(|path| expected.get(*path) != found.get(*path))
        .map(|path| {
            let show = |tree: &Tree| match tree.get(path) {
                None => "nothing".to_owned(),
                Some(None) => "a directory".to_owned(),
                Some(Some(content)) => format!("{} bytes {:02x?}", content.len(), content.get(..4)),
            };
            format!("{path}: expected {}, found {}", show(expected), show(found))
        })
        .collect();
    lines.dedup();
    lines.join("\n")
}
