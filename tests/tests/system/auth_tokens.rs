//! `[auth_token]`: tokens in the format of other stores, opened and made here by another program.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::home::{Home, run_with};
use tests::{Launch, Request, Response, Store};

const KEY: &str = "5163205CA0C7F2752FD3A574E30F64DD";
const IV: &str = "6B11F0F0B786F96812D5A0799D5B217A";
const SALT: &str = "C93A670ACC05C166";
const OTHER_KEY: &str = "00112233445566778899aabbccddeeff";
const HOUR: Duration = Duration::from_secs(3600);

/// Opens (`open`) or seals a document with a key.
fn coder(home: &Home, what: &str, key: &str, given: &str) -> Result<String> {
    let mut python = home.python()?;
    python.args(["-c", include_str!("auth_tokens.py"), what, key, IV]);
    run_with(&mut python, given.as_bytes())
}

fn millis(time: SystemTime) -> Result<u64> {
    Ok(time.duration_since(UNIX_EPOCH)?.as_millis().try_into()?)
}

fn minted(store: &Store) -> Result<String> {
    let request = Request::new("POST", &store.path("tokens"));
    let answer = store.client()?.call(&request)?.expect(201)?.text();
    let answer: Value = serde_json::from_str(&answer)?;
    Ok(answer["token"].as_str().context("a token")?.to_owned())
}

fn with_token(store: &Store, request: Request, token: &str) -> Result<Response> {
    let request = request.header("authorization", &format!("Token {token}"));
    store.anonymous().call(&request)
}

/// Whether a token lets the account read what is its own; the only other answer is the refusal of a token.
fn opens(store: &Store, token: &str) -> Result<bool> {
    let answer = with_token(store, Request::new("GET", &store.path("stor")), token)?;
    if answer.status == 200 {
        return Ok(true);
    }
    answer.expect_error(403, "InvalidAuthenticationToken")?;
    Ok(false)
}

fn set(store: &mut Store, name: &str, value: &str) {
    store.configure(&format!("auth_token.{name} = \"{value}\""));
}

#[test]
fn tokens_are_those_of_other_stores_where_their_keys_are_configured() -> Result<()> {
    let data = tempfile::tempdir()?;
    let mut store = Launch::new().data_dir(&data.path().join("data")).start()?;
    let home = store.user()?;
    let own = minted(&store)?;
    ensure!(opens(&store, &own)?, "one in our own format");
    ensure!(coder(&home, "open", KEY, &own).is_err(), "which is another");
    let account = format!("/accounts/{}", store.account());
    let account = store.administer("GET", &account, &Value::Null)?;
    let account = account["id"].as_str().context("an id")?.to_owned();
    store.stop()?;

    for (name, value) in [("key", KEY), ("iv", IV), ("salt", SALT)] {
        set(&mut store, name, value);
    }
    store.configure(&format!("auth_token.max_age_s = {}", HOUR.as_secs()));
    store.start()?;
    ensure!(opens(&store, &own)?, "those of before stay good");
    let before = millis(SystemTime::now())?;
    let token = minted(&store)?;
    let document: Value = serde_json::from_str(&coder(&home, "open", KEY, &token)?)?;
    let made = document["t"].as_u64().context("a time")?;
    ensure!(
        (before..=millis(SystemTime::now())?).contains(&made)
            && document["v"] == 2
            && document["p"]["account"]["uuid"].as_str() == Some(&account)
            && document["p"]["user"].is_null()
            && document["c"]["activeRoles"] == json!([]),
        "{document}"
    );
    ensure!(opens(&store, &token)?, "it authenticates");
    let object = store.path("stor/by-token");
    let put = Request::new("PUT", &object).body("by token");
    with_token(&store, put, &token)?.expect(204)?;
    let seen = store.client()?.get(&object)?.expect(200)?;
    ensure!(seen.text() == "by token", "{}", seen.text());

    // Made elsewhere with the same keys: the newer document, the older one, and what must be refused.
    let now = SystemTime::now();
    let party =
        json!({ "account": { "uuid": account, "login": "any" }, "user": null, "roles": {} });
    let of = |time: SystemTime, party: &Value| -> Result<String> {
        Ok(json!({ "t": millis(time)?, "p": party, "c": {}, "v": 2 }).to_string())
    };
    let first = json!({ "t": millis(now)?, "u": account, "l": "any", "g": [], "v": 1 }).to_string();
    let nobody = json!({ "account": { "uuid": "11111111-1111-4111-8111-111111111113" } });
    let later = json!({ "t": millis(now)?, "p": party, "c": {}, "v": 3 }).to_string();
    for (what, document, key, good) in [
        ("made elsewhere", of(now, &party)?, KEY, true),
        ("of the first version", first, KEY, true),
        (
            "nearly too old",
            of(now - HOUR + Duration::from_secs(600), &party)?,
            KEY,
            true,
        ),
        (
            "too old",
            of(now - HOUR - Duration::from_secs(1), &party)?,
            KEY,
            false,
        ),
        ("with another key", of(now, &party)?, OTHER_KEY, false),
        ("of nobody", of(now, &nobody)?, KEY, false),
        ("of a later version", later, KEY, false),
        ("of nothing", "{}".to_owned(), KEY, false),
    ] {
        let token = coder(&home, "seal", key, &document)?;
        ensure!(opens(&store, &token)? == good, "{what}: {document}");
    }
    for nonsense in ["", "AAAA", "not base64!", &token[..token.len() - 4]] {
        ensure!(!opens(&store, nonsense)?, "{nonsense}");
    }

    // The keys are the store's, not the process's; and they are nobody else's to read.
    store.stop()?;
    store.start()?;
    ensure!(opens(&store, &token)?, "after a restart");
    store.stop()?;
    set(&mut store, "key", OTHER_KEY);
    store.start()?;
    ensure!(!opens(&store, &token)?, "of another key");
    ensure!(
        opens(&store, &own)? && opens(&store, &minted(&store)?)?,
        "others"
    );
    let log = store.log()?;
    for secret in [KEY, IV, SALT, OTHER_KEY, &token, &own] {
        ensure!(!log.contains(secret), "{secret} is in the log");
    }
    store.finish()
}

#[test]
fn keys_of_tokens_that_are_none_are_refused_before_anything_starts() -> Result<()> {
    let mut store = Store::launch()?;
    store.stop()?;
    let shape = "auth_token: key and iv must be 32 hexadecimal digits, salt 16";
    // One after the other is put right, until it starts.
    set(&mut store, "key", &KEY[1..]);
    for (name, value, words) in [
        ("iv", "", "missing field `salt`"),
        ("salt", SALT, shape),
        ("iv", IV, shape),
        ("key", &KEY.replace('5', "g"), shape),
        ("key", &format!("{KEY}00"), shape),
        ("key", "", shape),
        ("key", KEY, ""),
        ("salt", &SALT[2..], shape),
        ("salt", "", shape),
        ("salt", SALT, ""),
        ("password", "secret", "unknown field `password`"),
    ] {
        set(&mut store, name, value);
        if words.is_empty() {
            store.start()?;
            store.client()?.get(&store.path("stor"))?.expect(200)?;
            store.stop()?;
            continue;
        }
        let said = store.refuses_to_start()?;
        ensure!(said.contains(words), "{name} = {value}: {said}");
        for secret in [&KEY[1..], IV, "secret"] {
            ensure!(!said.contains(secret), "{said}");
        }
    }
    store.finish()
}
