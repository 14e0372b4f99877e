//! Tests only: the OpenAPI document, the routes, the errors and their table say the same.

use std::collections::{BTreeMap, BTreeSet};

use http::Request;
use serde_json::Value;

use crate::config::Config;
use crate::exchange::Head;
use crate::operation::Operation;
use crate::router;
use crate::routes::TABLE;

const ERRORS_TABLE: &str = include_str!("../../docs/http-errors.md");
const ERRORS_SOURCE: &str = include_str!("errors.rs");

/// What these are about reaches nobody as an answer.
const ONLY_IN_RECORDS: [&str; 1] = ["UploadAbandoned"];

/// What the document refers to in words: lines of a listing, and the answer to methods that there are not.
const ONLY_IN_WORDS: [&str; 2] = ["Entry", "Error405"];

fn document() -> Value {
    serde_json::from_str(include_str!("../../docs/openapi.json")).unwrap()
}

fn texts(list: &Value) -> BTreeSet<&str> {
    let list = list.as_array().into_iter().flatten();
    list.map(|text| text.as_str().unwrap()).collect()
}

/// Pattern, method and description of each operation.
fn operations(document: &Value) -> Vec<(&str, String, &Value)> {
    let paths = document["paths"].as_object().unwrap().iter();
    paths
        .flat_map(|(pattern, item)| {
            let methods = item.as_object().unwrap().iter();
            methods
                .filter(|(name, _)| *name != "parameters")
                .map(|(method, operation)| (pattern.as_str(), method.to_uppercase(), operation))
        })
        .collect()
}

/// Statuses of each code, from the table.
fn table() -> BTreeMap<&'static str, BTreeSet<u16>> {
    let mut codes: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in ERRORS_TABLE.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let status = cells[2].parse().unwrap();
        codes
            .entry(cells[1].trim_matches('`'))
            .or_default()
            .insert(status);
    }
    codes
}

#[test]
fn the_document_has_the_routes_and_nothing_else() {
    let document = document();
    let described: BTreeSet<_> = operations(&document)
        .into_iter()
        .map(|(pattern, method, _)| (pattern.to_owned(), method))
        .collect();
    let routes: BTreeSet<_> = TABLE
        .iter()
        .flat_map(|compiled| {
            let pattern = compiled.line.pattern;
            let methods = compiled.line.methods.iter();
            methods.map(move |(method, _)| (pattern.to_owned(), (*method).to_owned()))
        })
        .collect();
    let missing: Vec<_> = routes.difference(&described).collect();
    let invented: Vec<_> = described.difference(&routes).collect();
    assert!(missing.is_empty(), "not described: {missing:?}");
    assert!(invented.is_empty(), "there is no such route: {invented:?}");
}

/// A request for each way in which an operation may be understood: by its query and by its type.
fn samples(pattern: &str, method: &str) -> Vec<Head> {
    let id = "01234567-89ab-4cde-8f01-234567890123";
    let fill = |pattern: &str| {
        pattern
            .replace("{login}", "alice")
            .replace("{path}", "a/b")
            .replace("{part}", "0")
            .replace("{prefix}", "012")
            .replace("{id}", id)
            .replace("{type}", "master")
    };
    let mut paths = vec![fill(pattern)];
    // Two ways to read these, told apart by what the segments look like.
    match pattern {
        "/{login}/uploads/{id}" => paths.push("/alice/uploads/012".to_owned()),
        "/{login}/uploads/{prefix}/{id}" => paths.push(format!("/alice/uploads/{id}/0")),
        _ => {}
    }
    let queries = [
        "",
        "?metadata=true",
        "?state=running",
        "?recursive=true",
        "?allowMpuDeletes=true",
        "?wait=1",
    ];
    let types = [
        None,
        Some("text/plain"),
        Some("application/json"),
        Some("application/json; type=directory"),
        Some("application/json; type=link"),
        Some("application/json; type=rename"),
    ];
    let mut samples = Vec::new();
    for (path, query) in paths
        .iter()
        .flat_map(|path| queries.map(|query| (path, query)))
    {
        for content_type in types {
            let mut request = Request::builder()
                .method(method)
                .uri(format!("{path}{query}"));
            if let Some(content_type) = content_type {
                request = request.header("content-type", content_type);
            }
            let (parts, ()) = request.body(()).unwrap().into_parts();
            samples.push(Head::new(parts, ([127, 0, 0, 1], 1).into()));
        }
    }
    samples
}

#[test]
fn every_operation_is_described_where_it_is_reached() {
    let document = document();
    let config = Config::default();
    let mut reached = BTreeSet::new();
    for (pattern, method, operation) in operations(&document) {
        let described = texts(&operation["x-operations"]);
        let found: BTreeSet<&str> = samples(pattern, &method)
            .iter()
            .filter_map(|head| router::route(head, &config).ok())
            .map(|(operation, _)| operation.name())
            .collect();
        assert_eq!(found, described, "{method} {pattern}");
        reached.extend(found);
    }
    let all = (0..Operation::COUNT).map(Operation::name_of);
    let unreached: Vec<_> = all
        .filter(|name| *name != "unrouted" && !reached.contains(name))
        .collect();
    assert!(unreached.is_empty(), "{unreached:?}");
}

#[test]
fn answers_have_the_statuses_of_their_errors() {
    let document = document();
    let table = table();
    let everywhere = texts(&document["x-errors-everywhere"]);
    let mut used = everywhere.clone();
    for (pattern, method, operation) in operations(&document) {
        let own = texts(&operation["x-errors"]);
        let concerns_account = pattern.starts_with("/{login}");
        let all = own
            .iter()
            .chain(everywhere.iter().filter(|_| concerns_account));
        let expected: BTreeSet<u16> = all
            .flat_map(|code| {
                table
                    .get(code)
                    .unwrap_or_else(|| panic!("{method} {pattern}: no error has code {code}"))
            })
            .copied()
            .collect();
        let responses = operation["responses"].as_object().unwrap();
        let refusals: BTreeSet<u16> = responses
            .iter()
            .filter(|(_, response)| {
                let reference = response["$ref"].as_str().unwrap_or_default();
                reference.starts_with("#/components/responses/Error")
            })
            .map(|(status, _)| status.parse().unwrap())
            .collect();
        assert_eq!(refusals, expected, "{method} {pattern}");
        used.extend(own);
    }
    let of_table: BTreeSet<&str> = table.keys().copied().collect();
    let mut described = used;
    described.extend(ONLY_IN_RECORDS);
    described.extend(texts(&document["x-errors-of-routing"]));
    assert_eq!(
        described, of_table,
        "codes of operations, codes of the table"
    );
    let listed = &document["components"]["schemas"]["Error"]["properties"]["code"]["enum"];
    let mut listed = texts(listed);
    listed.extend(ONLY_IN_RECORDS);
    assert_eq!(listed, of_table, "codes of the schema, codes of the table");
}

#[test]
fn the_table_of_errors_is_that_of_the_code() {
    let mut made: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    let source: String = ERRORS_SOURCE
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    for call in source.split("A::new(").skip(1) {
        let mut arguments = call.splitn(3, ',').map(str::trim);
        let status = arguments.next().unwrap().parse().unwrap();
        let code = arguments.next().unwrap().trim_matches('"').to_owned();
        made.entry(code).or_default().insert(status);
    }
    // The other name of this one: see `Answer::on`.
    let renamed = made["RangeNotSatisfiable"].clone();
    made.insert("RequestedRangeNotSatisfiable".to_owned(), renamed);
    let table = table();
    let table: BTreeMap<String, BTreeSet<u16>> = table
        .into_iter()
        .map(|(code, statuses)| (code.to_owned(), statuses))
        .collect();
    assert_eq!(
        made, table,
        "made by the code, listed in docs/http-errors.md"
    );
}

#[test]
fn references_lead_somewhere_and_paths_have_their_parameters() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = Vec::new();
    references(&document, &mut found);
    for reference in &found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    for kind in ["parameters", "headers", "responses", "schemas"] {
        for name in document["components"][kind].as_object().unwrap().keys() {
            let reference = format!("#/components/{kind}/{name}");
            assert!(
                found.contains(&reference.as_str()) || ONLY_IN_WORDS.contains(&name.as_str()),
                "{reference} is not used"
            );
        }
    }
    for (pattern, item) in document["paths"].as_object().unwrap() {
        let named: BTreeSet<_> = pattern
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let parameters = item["parameters"].as_array().into_iter().flatten();
        let given: BTreeSet<_> = parameters
            .map(|p| p["$ref"].as_str().unwrap().rsplit('/').next().unwrap())
            .collect();
        assert_eq!(named, given, "{pattern}");
    }
    let ids: BTreeSet<_> = operations(&document)
        .iter()
        .map(|(_, _, operation)| operation["operationId"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), operations(&document).len());
}
