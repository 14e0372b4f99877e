//! `mcat`: names as outputs.

use http::{Method, StatusCode};

use crate::support::call;

#[tokio::test]
async fn testHelp() {
    for args in [&["-h"][..], &[]] {
        let ended = call("mcat", args).run().await;
        assert_eq!(ended.code, 2, "{ended:?}");
        assert!(ended.stderr.contains("usage: mcat"), "{}", ended.stderr);
        assert!(ended.sent.is_empty());
    }
}

#[tokio::test]
async fn testBasic() {
    let name = "/user/stor/a b%41";
    let ended = call("mcat", &[name]).with_port_option().run().await;
    assert_eq!((ended.code, &*ended.stderr), (0, ""));
    let [sent] = &ended.sent[..] else {
        panic!("one request: {ended:?}");
    };
    assert_eq!(sent.method, Method::PUT);
    assert_eq!(sent.path, "/user/stor/a%20b%2541");
    assert_eq!(sent.header("x-manta-reference"), Some("true"));
    assert_eq!(sent.header("x-manta-stream"), Some("stdout"));
    assert_eq!(sent.header("x-manta-reducer"), None);
    assert!(sent.body.is_empty());
}

#[tokio::test]
async fn testMultiple() {
    let names = ["/user/stor/a", "~~/stor/b", "/user/stor/c"];
    let ended = call("mcat", &names).run().await;
    assert_eq!((ended.code, &*ended.stderr), (0, ""));
    let paths: Vec<&str> = ended.sent.iter().map(|sent| &*sent.path).collect();
    assert_eq!(paths, ["/user/stor/a", "/user/stor/b", "/user/stor/c"]);
    for sent in &ended.sent {
        assert_eq!(sent.header("x-manta-reference"), Some("true"));
        assert_eq!(sent.header("x-manta-stream"), Some("stdout"));
    }
}

#[tokio::test]
async fn testReducerSelection() {
    let ended = call("mcat", &["-r", "1", "/user/stor/a"]).run().await;
    assert_eq!((ended.code, &*ended.stderr), (0, ""));
    assert_eq!(ended.sent.len(), 1);
    assert_eq!(ended.sent[0].header("x-manta-reducer"), Some("1"));
}

#[tokio::test]
async fn any_other_answer_ends_it() {
    for answer in [StatusCode::OK, StatusCode::CONFLICT] {
        let ended = call("mcat", &["/user/stor/a", "/user/stor/b"])
            .answers(&[answer])
            .run()
            .await;
        assert_eq!(ended.code, 1, "{ended:?}");
        let said = format!("mcat: server returned {}\n", answer.as_u16());
        assert_eq!(ended.stderr, said);
        assert_eq!(ended.sent.len(), 1);
    }
}
