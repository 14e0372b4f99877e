//! Every row of `docs/http-errors.md`, provoked: status, code and message are those of the table, and nothing that
//! is stored has changed. A row whose messages name their reason is provoked for each of the reasons.

mod bytes;
mod elsewhere;
mod jobs_and_uploads;
mod names;
mod who;

use std::collections::BTreeSet;
use std::fmt::Write as _;

use libmanta::ObjectKey;
use libmanta::moray::{Buckets as _, List, Namespace as _, Order};
use mahi::NewAccount;

use crate::client::{Connection, Request, Response};
use crate::medusa::{self, Socket, attach};
use crate::rights::with_jo;
use crate::store::{Store, User};
use crate::upload::Upload;

const TABLE: &str = include_str!("../../../docs/http-errors.md");

/// Codes of the specification that we never answer with, and why. They stand in the document too, below the table.
const DECLARED_ONLY: [(&str, &str); 3] = [
    (
        "ConcurrentRequest",
        "a conditional write that lost a race is refused as one that came later: 412 (section 3.2 leaves the choice)",
    ),
    (
        "ContentLengthRequired",
        "a negative length is no HTTP, and refused as that: 400 without a body (section 8.1 does not reach it)",
    ),
    (
        "JobNotFound",
        "declared; clients see ResourceNotFound (section 8.2)",
    ),
];

/// A row of the document, and how to get there.
struct Row<S> {
    status: u16,
    code: &'static str,
    /// The cell as it stands in the document: what is in braces stands for anything.
    message: &'static str,
    provoke: fn(&S) -> Vec<Provocation>,
}

const fn row<S>(
    status: u16,
    code: &'static str,
    message: &'static str,
    provoke: fn(&S) -> Vec<Provocation>,
) -> Row<S> {
    Row {
        status,
        code,
        message,
        provoke,
    }
}

/// What is sent, and what comes back.
struct Provocation {
    request: Request,
    /// Sent behind the head, instead of a body.
    bytes: Option<&'static [u8]>,
    hangs_up: bool,
    message: String,
    says: Vec<(&'static str, String)>,
}

fn asks(request: Request, message: impl Into<String>) -> Provocation {
    Provocation {
        request,
        bytes: None,
        hangs_up: false,
        message: message.into(),
        says: Vec::new(),
    }
}

impl Provocation {
    /// The head, and then these.
    fn and_sends(mut self, bytes: &'static [u8]) -> Self {
        self.bytes = Some(bytes);
        self
    }

    /// Closes its side behind the last byte.
    fn and_hangs_up(mut self) -> Self {
        self.hangs_up = true;
        self
    }

    /// The refusal has this header.
    fn told(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.says.push((name, value.into()));
        self
    }

    async fn answer(&self, store: &Store) -> Response {
        let Some(bytes) = self.bytes else {
            return self.request.send(store.address).await;
        };
        let mut connection = Connection::open(store.address).await;
        connection.write(&self.request.head_bytes()).await;
        connection.write(bytes).await;
        if self.hangs_up {
            use tokio::io::AsyncWriteExt as _;
            connection.stream.shutdown().await.unwrap();
        }
        connection.read_response().await
    }
}

/// Whether `message` is one of those that a cell of the document stands for.
fn fits(cell: &str, message: &str) -> bool {
    let cell = cell.split(" (`Retry-After").next().unwrap();
    if cell == "(the reason)" {
        return !message.is_empty();
    }
    if cell.starts_with("(surface") {
        return message.is_empty();
    }
    let mut literals = cell.split('{');
    let mut rest = message.strip_prefix(literals.next().unwrap());
    for piece in literals {
        let literal = piece.split_once('}').map_or("", |(_, literal)| literal);
        rest = rest.and_then(|rest| match literal {
            "" => Some(""),
            literal => rest.find(literal).map(|at| &rest[at + literal.len()..]),
        });
    }
    rest == Some("")
}

/// Everything that is stored, as text: entries and all that is kept of them, accounts, uploads, jobs, and the
/// names of the copies.
async fn everything(store: &Store) -> String {
    let mut all = String::new();
    let mut accounts: Vec<_> = store.identity.accounts().iter().map(|a| a.id).collect();
    accounts.sort();
    for account in accounts {
        for area in ["stor", "public", "reports", "jobs", "uploads"] {
            let area = ObjectKey::new(account, [area]).unwrap();
            let mut directories = vec![area];
            while let Some(directory) = directories.pop() {
                let list = List {
                    directory,
                    order: Order::Name {
                        from: None,
                        reverse: false,
                    },
                    limit: 1000,
                    only: None,
                };
                let page = store.moray.list(&list).await.unwrap();
                assert!(page.entries.len() < list.limit);
                let _ = writeln!(all, "{:?} {}", page.directory, page.entries_total);
                for entry in page.entries {
                    let _ = writeln!(all, "{entry:?}");
                    if entry.is_directory() {
                        directories.push(entry.key);
                    }
                }
            }
        }
    }
    for bucket in [
        "mahi",
        "multipart_uploads",
        "multipart_gates",
        "multipart_outcomes",
    ] {
        let records = store.moray.scan_all(bucket, None, 1000).await.unwrap();
        let _ = writeln!(all, "{bucket} {records:?}");
    }
    let mut copies = store.copy_files();
    copies.sort();
    let _ = writeln!(all, "{:?} {copies:?}", store.jobs);
    all
}

/// Provokes each of `rows`.
async fn provoke<S>(stage: &S, store: &Store, rows: &[Row<S>]) {
    for row in rows {
        let provocations = (row.provoke)(stage);
        assert!(!provocations.is_empty(), "{} {}", row.code, row.message);
        for provocation in provocations {
            let what = format!("{}: {:?}", row.code, provocation.request);
            let before = everything(store).await;
            let answer = provocation.answer(store).await;
            assert!(fits(row.message, &provocation.message), "{what}");
            let seen = (answer.status, answer.text());
            assert_eq!(seen.0, row.status, "{what}: {}", seen.1);
            let later = row.message.split("Retry-After: ").nth(1);
            let later = later.and_then(|rest| rest.split('`').next());
            assert_eq!(answer.get("retry-after"), later, "{what}");
            for (name, value) in &provocation.says {
                assert_eq!(answer.get(name), Some(value.as_str()), "{what}");
            }
            answer.refused(row.status, row.code, &provocation.message);
            // Whoever was refused in the middle of a body may be gone before its place is.
            store.wait_metric("muskie_uploads", 0).await;
            assert_eq!(
                everything(store).await,
                before,
                "{what} has changed something"
            );
        }
    }
}

/// A store in which there is something to refuse.
struct Stage {
    store: Store,
    /// A subuser of alice, who may hold `creator` and `objects` and needs both and more to create a job.
    jo: User,
    /// A job whose input has ended, and one whose has not.
    ended_job: String,
    open_job: String,
    /// One whose terminal waits.
    attached_job: String,
    _terminal: Socket,
    upload: Upload,
    aborted: Upload,
}

/// `/alice/stor/{o,d/o}` and `/alice/public/o`; carol is blocked, dave may not have SnapLinks.
async fn stage() -> Stage {
    let (store, jo) = with_jo().await;
    for (name, rule) in [
        ("creator", "CAN createjob /alice/jobs"),
        ("objects", "CAN putobject"),
    ] {
        store.people.add_role("alice", name, &[rule]).await;
        store.people.give("alice", name, "alice/jo", false).await;
    }
    for login in ["carol", "dave"] {
        let new = NewAccount {
            login: login.to_owned(),
            operator: false,
        };
        store.identity.create_account(new).await.unwrap();
    }
    let people = &store.people;
    people.change("carol", |carol| carol.approved = false).await;
    people
        .change("dave", |dave| dave.snaplinks_disabled = true)
        .await;
    store.mkdir("/alice/stor/d").await.is(204);
    for path in ["/alice/stor/o", "/alice/stor/d/o", "/alice/public/o"] {
        let put = Request::new("PUT", path).header("content-type", "text/plain");
        store.send(put.body("old")).await.is(204);
    }
    let create = async || {
        let request =
            Request::new("POST", "/alice/jobs").header("content-type", "application/json");
        let request = request.body("{\"phases\":[{\"exec\":\"wc\"}]}");
        store
            .send(request)
            .await
            .is(201)
            .header("location")
            .to_owned()
    };
    let (ended_job, open_job) = (create().await, create().await);
    let attached_job = create().await;
    let terminal = attach(&store, medusa::path(&attached_job, "master")).await;
    let end = Request::new("POST", &format!("{ended_job}/live/in/end"));
    store.send(end).await.is(202);
    let upload = Upload::create(&store, "/alice/stor/x", serde_json::json!({})).await;
    let aborted = Upload::create(&store, "/alice/stor/x", serde_json::json!({})).await;
    aborted.abort(&store).await.is(204);
    Stage {
        store,
        jo,
        ended_job,
        open_job,
        attached_job,
        _terminal: terminal,
        upload,
        aborted,
    }
}

impl Stage {
    /// Signed by alice.
    fn by_alice(&self, request: Request) -> Request {
        request.signed_by(&self.store.alice)
    }

    fn get(&self, path: &str) -> Request {
        self.by_alice(Request::new("GET", path))
    }

    /// Of an object, over the one that is there.
    fn put(&self, header: &str, value: &str) -> Request {
        let request = Request::new("PUT", "/alice/stor/o").header(header, value);
        self.by_alice(request.body("new"))
    }

    /// Only of headers.
    fn update(&self, path: &str, header: &str, value: &str) -> Request {
        let request = Request::new("PUT", &format!("{path}?metadata=true")).header(header, value);
        self.by_alice(request.chunked(&[]))
    }
}

/// The rows of the document: code, status, message.
fn documented() -> BTreeSet<(String, u16, String)> {
    let lines = TABLE.lines().filter(|line| line.starts_with("| `"));
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split(" | ").collect();
            let code = cells[0].trim_matches(['|', ' ', '`']).to_owned();
            (code, cells[1].parse().unwrap(), cells[2].to_owned())
        })
        .collect()
}

fn provoked() -> Vec<(String, u16, String)> {
    fn named<S>(rows: &[Row<S>]) -> impl Iterator<Item = (String, u16, String)> {
        let name = |row: &Row<S>| (row.code.to_owned(), row.status, row.message.to_owned());
        rows.iter().map(name).collect::<Vec<_>>().into_iter()
    }
    let mut all: Vec<_> = [who::ROWS, names::ROWS, bytes::ROWS, jobs_and_uploads::ROWS]
        .into_iter()
        .flat_map(named)
        .collect();
    all.extend(elsewhere::tables().into_iter().flat_map(named));
    all
}

#[test]
fn every_row_of_the_document_is_provoked() {
    let provoked = provoked();
    let distinct: BTreeSet<_> = provoked.iter().cloned().collect();
    assert_eq!(distinct, documented());
    assert_eq!(provoked.len(), distinct.len(), "each in one place");
}

#[test]
fn what_is_only_declared_is_not_answered_and_says_so() {
    let answered: BTreeSet<String> = documented().into_iter().map(|(code, ..)| code).collect();
    let below = TABLE.lines().filter_map(|line| line.strip_prefix("- `"));
    let below: BTreeSet<&str> = below.map(|line| line.split('`').next().unwrap()).collect();
    let declared: BTreeSet<&str> = DECLARED_ONLY.iter().map(|(code, _)| *code).collect();
    assert_eq!(declared, below);
    for (code, reason) in DECLARED_ONLY {
        assert!(!answered.contains(code), "{code}: {reason}");
    }
}

#[test]
fn cells_stand_for_their_messages() {
    for (cell, message, expected) in [
        ("{path} is not empty", "/a/b is not empty", true),
        ("{path} is not empty", "/a/b is empty", false),
        (
            "\"{value}\" is invalid for \"{name}\"",
            "\"x\" is invalid for \"y\"",
            true,
        ),
        (
            "not enough free space for {megabytes} MB",
            "not enough free space for 7 MB",
            true,
        ),
        ("Invalid JSON: {reason}", "Invalid JSON: whatever", true),
        ("a (`Retry-After: 30`)", "a", true),
        ("(the reason)", "", false),
        ("(surface `manta`)", "", true),
        ("plain", "plain and more", false),
    ] {
        assert_eq!(fits(cell, message), expected, "{cell}: {message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_and_may_not() {
    let stage = stage().await;
    provoke(&stage, &stage.store, who::ROWS).await;
    stage.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_cannot_be() {
    let stage = stage().await;
    provoke(&stage, &stage.store, names::ROWS).await;
    stage.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_and_headers_that_cannot_be() {
    let stage = stage().await;
    provoke(&stage, &stage.store, bytes::ROWS).await;
    stage.store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_and_uploads_that_cannot_be() {
    let stage = stage().await;
    provoke(&stage, &stage.store, jobs_and_uploads::ROWS).await;
    stage.store.stop().await;
}
