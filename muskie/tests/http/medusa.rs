//! Interactive sessions: both ends are played here, nothing runs in between. Source: rest-api.md section 7,
//! marlin.md section 12.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use libmanta::JobId;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::client::{Connection, Request};
use crate::presigned::SignedUrl;
use crate::rights::with_jo;
use crate::store::{Store, start, start_with};

const PATIENCE: Duration = Duration::from_secs(60);
const WAIT: &str = r#"medusa:{"type":"wait"}"#;
const LINK_UP: &str = r#"medusa:{"type":"linkup"}"#;

pub(crate) type Socket = WebSocketStream<TcpStream>;

/// Where an end of a job's session attaches.
pub(crate) fn path(job: &str, end: &str) -> String {
    let (account, id) = job.split_once("/jobs/").unwrap();
    format!("{account}/medusa/attach/{id}/{end}")
}

/// As clients of Manta ask, who name no version.
pub(crate) fn upgrade(path: &str) -> Request {
    Request::new("GET", path)
        .header("connection", "upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
}

pub(crate) async fn attach(store: &Store, path: String) -> Socket {
    open(store, upgrade(&path).signed_by(&store.alice)).await
}

async fn open(store: &Store, request: Request) -> Socket {
    let mut connection = Connection::open(store.address).await;
    let answer = connection.exchange(&request).await.is(101);
    assert_eq!(answer.header("connection"), "Upgrade");
    assert_eq!(answer.header("upgrade"), "websocket");
    // The example of RFC 6455, section 1.3.
    assert_eq!(
        answer.header("sec-websocket-accept"),
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
    let (stream, buffered) = connection.into_parts();
    WebSocketStream::from_partially_read(stream, buffered, Role::Client, None).await
}

async fn job(store: &Store) -> String {
    let request = Request::new("POST", "/alice/jobs").header("content-type", "application/json");
    let made = store.send(request.body("{\"phases\":[{\"exec\":\"x\"}]}"));
    made.await.is(201).header("location").to_owned()
}

fn id(job: &str) -> JobId {
    job.rsplit('/').next().unwrap().parse().unwrap()
}

async fn next(socket: &mut Socket) -> Option<Result<Message, Error>> {
    let next = tokio::time::timeout(PATIENCE, socket.next()).await;
    next.expect("nothing is said in time")
}

/// The next thing said but that somebody waits.
async fn said(socket: &mut Socket) -> Message {
    loop {
        let message = next(socket).await.unwrap().unwrap();
        if message != Message::text(WAIT) {
            return message;
        }
    }
}

async fn farewell(socket: &mut Socket) -> (CloseCode, String) {
    let Message::Close(Some(frame)) = said(socket).await else {
        panic!("not closed");
    };
    // Answered on the way to the end of the stream.
    while let Some(Ok(_)) = next(socket).await {}
    (frame.code, frame.reason.to_string())
}

async fn linked(store: &Store) -> (String, Socket, Socket) {
    let job = job(store).await;
    let mut master = attach(store, path(&job, "master")).await;
    let mut slave = attach(store, path(&job, "slave")).await;
    assert_eq!(said(&mut master).await, Message::text(LINK_UP));
    assert_eq!(said(&mut slave).await, Message::text(LINK_UP));
    (job, master, slave)
}

/// Waits until nobody is at the job's session any more, which is when another may begin.
async fn session_is_over(store: &Store, job: &str) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let request = upgrade(&path(job, "master")).signed_by(&store.alice);
        let mut connection = Connection::open(store.address).await;
        match connection.exchange(&request).await.status {
            101 => return,
            409 => assert!(tokio::time::Instant::now() < deadline, "the session stays"),
            other => panic!("{other}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_waits_and_then_each_end_hears_the_other_and_nothing_else() {
    let store = start().await;
    let job = job(&store).await;
    let mut master = attach(&store, path(&job, "master")).await;
    for _ in 0..2 {
        let waits = next(&mut master).await.unwrap().unwrap();
        assert_eq!(waits, Message::text(WAIT));
    }
    // Nobody is there to hear it.
    master.send(Message::text("lost")).await.unwrap();
    // A ping is answered by whoever reads; by then what came before it has been dropped.
    master.send(Message::Ping("read".into())).await.unwrap();
    loop {
        match next(&mut master).await.unwrap().unwrap() {
            Message::Pong(payload) => break assert_eq!(&payload[..], b"read"),
            waits => assert_eq!(waits, Message::text(WAIT)),
        }
    }
    let mut slave = attach(&store, path(&job, "slave")).await;
    assert_eq!(said(&mut master).await, Message::text(LINK_UP));
    assert_eq!(said(&mut slave).await, Message::text(LINK_UP));
    for message in [
        Message::text(r#"mlogin:{"type":"start"}"#),
        Message::text("ping"),
        Message::binary(Vec::new()),
        Message::binary((0..=255).cycle().take(256 << 10).collect::<Vec<u8>>()),
    ] {
        master.send(message.clone()).await.unwrap();
        assert_eq!(said(&mut slave).await, message);
        slave.send(message.clone()).await.unwrap();
        assert_eq!(said(&mut master).await, message);
    }
    let done = CloseFrame {
        code: CloseCode::Normal,
        reason: "done".into(),
    };
    master.close(Some(done)).await.unwrap();
    let heard = farewell(&mut slave).await;
    assert_eq!(heard, (CloseCode::Normal, "done".to_owned()));
    assert_eq!(farewell(&mut master).await.0, CloseCode::Normal);
    session_is_over(&store, &job).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_in_both_directions_at_once_arrives_whole() {
    let store = start().await;
    let (_, master, slave) = linked(&store).await;
    const PIECES: usize = 200;
    // Each end writes as if nobody read, and reads as if nobody wrote.
    let talk = |socket: Socket| async move {
        let (mut sink, mut stream) = socket.split();
        let write = async {
            for piece in 0..PIECES {
                let content = vec![u8::try_from(piece).unwrap(); 64 << 10];
                sink.send(Message::binary(content)).await.unwrap();
            }
        };
        let read = async {
            for piece in 0..PIECES {
                let heard = stream.next().await.unwrap().unwrap().into_data();
                let expected = u8::try_from(piece).unwrap();
                assert!(heard.len() == 64 << 10 && heard.iter().all(|b| *b == expected));
            }
        };
        tokio::join!(write, read);
        sink.reunite(stream).unwrap()
    };
    let both = async { tokio::join!(talk(master), talk(slave)) };
    let both = tokio::time::timeout(PATIENCE, both).await;
    drop(both.expect("an end is held back for ever"));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_vanishes_takes_the_other_with_it() {
    let store = start().await;
    let (job, master, mut slave) = linked(&store).await;
    drop(master);
    let heard = farewell(&mut slave).await;
    assert_eq!(heard, (CloseCode::Away, "the terminal is gone".to_owned()));
    session_is_over(&store, &job).await;
    let (job, mut master, slave) = linked(&store).await;
    drop(slave);
    let heard = farewell(&mut master).await;
    assert_eq!(heard, (CloseCode::Away, "the zone is gone".to_owned()));
    session_is_over(&store, &job).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_beyond_the_limit_end_the_session() {
    let store = start().await;
    let (job, mut master, mut slave) = linked(&store).await;
    let long = Message::binary(vec![0; (1 << 20) + 1]);
    // The server may have had enough before everything is written.
    let _ = master.send(long).await;
    assert_eq!(farewell(&mut master).await.0, CloseCode::Size);
    assert_eq!(farewell(&mut slave).await.0, CloseCode::Away);
    session_is_over(&store, &job).await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_rests_ends() {
    let idle = Duration::from_millis(300);
    let store = start_with(|config| config.session_idle = idle).await;
    let (_, mut master, mut slave) = linked(&store).await;
    let until = tokio::time::Instant::now() + 3 * idle;
    while tokio::time::Instant::now() < until {
        master.send(Message::text("ping")).await.unwrap();
        assert_eq!(said(&mut slave).await, Message::text("ping"));
    }
    let rests = (CloseCode::Away, "nothing was said for too long".to_owned());
    assert_eq!(farewell(&mut master).await, rests);
    assert_eq!(farewell(&mut slave).await, rests);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_when_its_job_has() {
    // Longer than it may stay then.
    let store = start_with(|config| config.session_idle = PATIENCE).await;
    let (job, mut master, mut slave) = linked(&store).await;
    store.jobs.finish(id(&job));
    let over = (CloseCode::Away, "the job has ended".to_owned());
    let (master, slave) = tokio::join!(farewell(&mut master), farewell(&mut slave));
    assert_eq!((&master, &slave), (&over, &over));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_outlasts_the_patience_for_requests() {
    let store = start_with(|config| {
        config.idle = Duration::from_millis(50);
        config.head_timeout = Duration::from_millis(50);
    })
    .await;
    let (_, mut master, mut slave) = linked(&store).await;
    for _ in 0..4 {
        // What patience there is with an ordinary connection begins later, and is over now.
        let mut ordinary = Connection::open(store.address).await;
        ordinary.read_to_end().await;
        master.send(Message::text("a")).await.unwrap();
        assert_eq!(said(&mut slave).await, Message::text("a"));
    }
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_shuts_down_says_so() {
    let store = start().await;
    let (_, mut master, mut slave) = linked(&store).await;
    let other = job(&store).await;
    let mut alone = attach(&store, path(&other, "master")).await;
    let ends = async {
        for end in [&mut master, &mut slave, &mut alone] {
            let heard = farewell(end).await;
            assert_eq!(
                heard,
                (CloseCode::Away, "the server is shutting down".to_owned())
            );
        }
    };
    tokio::join!(store.stop(), ends);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_attach_to_what() {
    let (store, jo) = with_jo().await;
    let job = job(&store).await;
    let (master, slave) = (path(&job, "master"), path(&job, "slave"));
    let request = async |request: Request| request.send(store.address).await;
    let not_found = |path: &str| format!("{path} was not found");
    // No such job comes before everything else, no right before the state of the job.
    for unknown in [JobId::random().to_string(), "x".to_owned()] {
        let path = format!("/alice/medusa/attach/{unknown}/master");
        for asks in [upgrade(&path), upgrade(&path).signed_by(&store.bob)] {
            request(asks)
                .await
                .refused(404, "ResourceNotFound", &not_found(&path));
        }
    }
    let bobs = format!("/bob/medusa/attach/{}/master", id(&job));
    let bob = request(upgrade(&bobs).signed_by(&store.bob)).await;
    bob.refused(404, "ResourceNotFound", &not_found(&bobs));
    let bob = request(upgrade(&master).signed_by(&store.bob)).await;
    let forbidden = format!("bob is not allowed to access {master}");
    bob.refused(403, "AuthorizationFailed", &forbidden);
    request(upgrade(&master)).await.is(403);
    request(upgrade(&master).signed_by(&jo)).await.is(403);
    // A slave without a master.
    let lone = request(upgrade(&slave).signed_by(&store.alice)).await;
    lone.refused(404, "ResourceNotFound", &not_found(&slave));
    // A subuser whose role says so.
    let people = &store.people;
    people
        .add_role("alice", "guest", &["CAN mlogin /alice/jobs/*"])
        .await;
    people.give("alice", "guest", "alice/jo", false).await;
    let by_jo = upgrade(&master).header("role", "guest").signed_by(&jo);
    let mut first = open(&store, by_jo).await;
    let second = request(upgrade(&master).signed_by(&store.alice)).await;
    second.refused(
        409,
        "EntityAlreadyExists",
        &format!("{master} already exists"),
    );
    // The zone comes with a URL that its user has signed, and nothing else.
    let url = SignedUrl::new("GET", &store.alice.key_id(), &slave);
    let target = url.by(&store.alice);
    let mut zone = open(&store, upgrade(&target)).await;
    assert_eq!(said(&mut first).await, Message::text(LINK_UP));
    assert_eq!(said(&mut zone).await, Message::text(LINK_UP));
    let third = request(upgrade(&slave).signed_by(&store.alice)).await;
    third.refused(404, "ResourceNotFound", &not_found(&slave));
    // Those who are in stay in; nobody else gets to a job that is over.
    store.jobs.finish(id(&job));
    let over = request(upgrade(&master).signed_by(&store.alice)).await;
    let message = format!("job {} is in state 'done'", id(&job));
    over.refused(409, "InvalidJobState", &message);
    first.send(Message::text("still")).await.unwrap();
    assert_eq!(said(&mut zone).await, Message::text("still"));
    drop((first, zone));
    store.stop().await;
}

/// What is no HTTP any more is still a connection.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_holds_the_places_of_its_connections() {
    let store = start_with(|config| config.connections_max = 5).await;
    let (_, mut master, mut slave) = linked(&store).await;
    // And the one that asks.
    store.wait_metric("muskie_connections", 3).await;
    let asks = Request::new("GET", "/alice/stor").signed_by(&store.alice);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let mut held = Vec::new();
    while held.len() < 3 {
        let mut connection = Connection::open(store.address).await;
        match connection.exchange(&asks).await.status {
            200 => held.push(connection),
            // What came before is not quite gone.
            503 => assert!(tokio::time::Instant::now() < deadline, "no place"),
            other => panic!("{other}"),
        }
    }
    asks.send(store.address).await.is(503);
    drop(held);
    master.send(Message::text("still")).await.unwrap();
    assert_eq!(said(&mut slave).await, Message::text("still"));
    drop((master, slave));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_sessions_than_there_may_be() {
    let store = start_with(|config| config.sessions_max = 1).await;
    let (first, second) = (job(&store).await, job(&store).await);
    let one = attach(&store, path(&first, "master")).await;
    let request = upgrade(&path(&second, "master")).signed_by(&store.alice);
    let refused = request.send(store.address).await;
    refused.refused(
        503,
        "ServiceUnavailable",
        "manta is unable to serve this request",
    );
    drop(one);
    session_is_over(&store, &first).await;
    store.stop().await;
}
