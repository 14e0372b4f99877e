//! Runs a tool against a Manta that only writes down what it is sent.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What names of outputs begin with.
pub(crate) const OUTPUT_BASE: &str = "/user/jobs/id/stor/reduce.1.";

/// What the local Manta was sent.
#[derive(Debug)]
pub(crate) struct Sent {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Sent {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// How a tool ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// In the order in which they came.
    pub(crate) sent: Vec<Sent>,
    pid: u32,
}

impl Ended {
    /// The requests by the reducer they are for, which has to be every one below their number.
    pub(crate) fn by_reducer(mut self) -> Vec<Sent> {
        let reducer = |sent: &Sent| -> usize {
            let reducer = sent.header("x-manta-reducer").unwrap();
            reducer.parse().unwrap()
        };
        self.sent.sort_by_key(reducer);
        let reducers: Vec<usize> = self.sent.iter().map(reducer).collect();
        let all: Vec<usize> = (0..self.sent.len()).collect();
        assert_eq!(reducers, all);
        self.sent
    }

    /// Fails if a file of the tool is left.
    fn leaves_nothing(self, tool: &str) -> Self {
        let own = format!("{tool}.{}", self.pid);
        let entries = std::fs::read_dir("/var/tmp").unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string());
        let left: Vec<String> = names
            .filter_map(Result::ok)
            .filter(|name| *name == own || name.starts_with(&format!("{own}.")))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        self
    }
}

/// A call of a tool.
#[derive(Debug)]
pub(crate) struct Call {
    tool: &'static str,
    args: Vec<String>,
    stdin: Vec<u8>,
    /// What is answered first; 204 after that.
    answers: VecDeque<StatusCode>,
    port_option: bool,
}

pub(crate) fn call(tool: &'static str, args: &[&str]) -> Call {
    Call {
        tool,
        args: args.iter().map(ToString::to_string).collect(),
        stdin: Vec::new(),
        answers: VecDeque::new(),
        port_option: false,
    }
}

impl Call {
    pub(crate) fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        bytes.as_ref().clone_into(&mut self.stdin);
        self
    }

    pub(crate) fn answers(mut self, answers: &[StatusCode]) -> Self {
        self.answers = answers.iter().copied().collect();
        self
    }

    /// Says where Manta is by the option `-p`, not by the variable.
    pub(crate) fn with_port_option(mut self) -> Self {
        self.port_option = true;
        self
    }

    /// Runs it to its end. It must leave no file.
    pub(crate) async fn run(self) -> Ended {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let manta = Arc::new(Manta {
            answers: Mutex::new(self.answers.clone()),
            sent: Mutex::default(),
        });
        let serving = serve(listener, Arc::clone(&manta));
        let ended = tokio::select! {
            ended = self.process(address) => ended,
            () = serving => unreachable!("the listener goes on"),
        };
        let sent = std::mem::take(&mut *manta.sent.lock().unwrap());
        Ended { sent, ..ended }.leaves_nothing(self.tool)
    }

    async fn process(&self, address: SocketAddr) -> Ended {
        let mut command = tokio::process::Command::new(program());
        // The program is all the tools, and goes by its name.
        command.arg0(self.tool).env_clear();
        if self.port_option {
            command.args(["-p", &address.port().to_string()]);
        } else {
            command.env("MANTA_URL", format!("http://{address}/"));
        }
        let mut child = command
            .args(&self.args)
            .env("MANTA_OUTPUT_BASE", OUTPUT_BASE)
            .env("MANTA_USER", "user")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let pid = child.id().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let feed = async move {
            // A tool that was called wrongly does not read.
            let _ = stdin.write_all(&self.stdin).await;
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), feed);
        let output = output.unwrap();
        Ended {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
            sent: Vec::new(),
            pid,
        }
    }
}

/// The tools as a program, which is built with the tests.
fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.parent().and_then(Path::parent).unwrap();
    target.join("examples/in_zone_tools")
}

struct Manta {
    answers: Mutex<VecDeque<StatusCode>>,
    sent: Mutex<Vec<Sent>>,
}

impl Manta {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let sent = Sent {
            method: head.method,
            path: head.uri.path().to_owned(),
            headers: head.headers,
            body: body.collect().await.unwrap().to_bytes(),
        };
        self.sent.lock().unwrap().push(sent);
        let answer = self.answers.lock().unwrap().pop_front();
        let mut response = Response::new(Full::default());
        *response.status_mut() = answer.unwrap_or(StatusCode::NO_CONTENT);
        response
    }
}

async fn serve(listener: TcpListener, manta: Arc<Manta>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let manta = Arc::clone(&manta);
        connections.spawn(async move {
            let service = service_fn(|request| async {
                Ok::<_, std::convert::Infallible>(manta.answer(request).await)
            });
            // How it ends is up to the tool.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
