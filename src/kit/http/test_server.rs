//! A tiny HTTP/1.1 server for tests: it gives scripted answers in order and remembers requests.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// One scripted answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Kind {
    #[default]
    Whole,
    Silence,
    Cut,
    HalfBody,
}

impl Answer {
    /// A status without a body.
    pub(crate) fn new(status: u16) -> Self {
        Self {
            status,
            ..Self::default()
        }
    }

    /// A JSON body.
    pub(crate) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status)
            .header("content-type", "application/json")
            .body(body.to_string().as_bytes())
    }

    /// Never answers.
    pub(crate) fn silence() -> Self {
        Self {
            kind: Kind::Silence,
            ..Self::default()
        }
    }

    /// Reads the request and closes.
    pub(crate) fn cut() -> Self {
        Self {
            kind: Kind::Cut,
            ..Self::default()
        }
    }

    /// Promises the whole body and closes after half of it.
    pub(crate) fn half(mut self) -> Self {
        self.kind = Kind::HalfBody;
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self
    }
}

/// A server on a free port of this machine. After the last answer it gives 404 to everything.
pub(crate) struct TestServer {
    url: Url,
    requests: Arc<Mutex<Vec<String>>>,
    script: Arc<Mutex<VecDeque<Answer>>>,
}

impl TestServer {
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let script = Arc::new(Mutex::new(VecDeque::from(answers)));
        let (seen, plan) = (Arc::clone(&requests), Arc::clone(&script));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&seen), Arc::clone(&plan)));
            }
        });
        Self {
            url,
            requests,
            script,
        }
    }

    /// `http://127.0.0.1:<port>/`.
    pub(crate) fn url(&self) -> Url {
        self.url.clone()
    }

    /// Adds an answer, for scripts that need the port.
    pub(crate) fn then(&self, answer: Answer) {
        self.script.lock().unwrap().push_back(answer);
    }

    /// Every request so far: request line, headers in lower case, empty line, body.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(
    mut stream: TcpStream,
    seen: Arc<Mutex<Vec<String>>>,
    plan: Arc<Mutex<VecDeque<Answer>>>,
) {
    let Some(request) = read_request(&mut stream).await else {
        return;
    };
    seen.lock().unwrap().push(request);
    let answer = plan
        .lock()
        .unwrap()
        .pop_front()
        .unwrap_or_else(|| Answer::new(404));
    match answer.kind {
        Kind::Silence => std::future::pending().await,
        Kind::Cut => return,
        Kind::Whole | Kind::HalfBody => {}
    }
    let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", answer.status);
    if !answer
        .headers
        .iter()
        .any(|(name, _)| name == "transfer-encoding")
    {
        let _ = write!(head, "content-length: {}\r\n", answer.body.len());
    }
    for (name, value) in &answer.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    let body = if answer.kind == Kind::HalfBody {
        &answer.body[..answer.body.len() / 2]
    } else {
        &answer.body[..]
    };
    let _ = stream.write_all(head.as_bytes()).await;
    let _ = stream.write_all(body).await;
    let _ = stream.shutdown().await;
}

async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = stream.read(&mut chunk).await.ok()?;
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&chunk[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let (line, headers) = head.split_once("\r\n").unwrap_or((head, ""));
        let headers = headers.to_owned();
        let length = headers
            .lines()
            .find_map(|header| {
                header
                    .to_ascii_lowercase()
                    .strip_prefix("content-length: ")?
                    .parse::<usize>()
                    .ok()
            })
            .unwrap_or(0);
        if body.len() >= length {
            return Some(format!("{line}\r\n{headers}\r\n\r\n{body}"));
        }
    }
}
