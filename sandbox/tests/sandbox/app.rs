//! A small Connect app: serves a descriptor, records what it is sent.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use actix_web::dev::ServerHandle;
use actix_web::http::StatusCode;
use actix_web::{App as Actix, HttpRequest, HttpResponse, HttpServer, web};
use serde_json::{Value, json};

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn token(&self) -> Option<String> {
        self.headers
            .get("authorization")
            .and_then(|h| h.strip_prefix("JWT "))
            .map(str::to_owned)
    }
}

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Seen>>,
    /// Status by path; 200 when absent. Each entry is used once, the last one stays.
    answers: Mutex<BTreeMap<String, Vec<u16>>>,
    descriptor: Mutex<Value>,
    /// Called back during `installed`, to prove the secret.
    proof: Mutex<Option<String>>,
    proved: Mutex<Vec<u16>>,
}

pub(crate) struct App {
    pub(crate) url: String,
    shared: Arc<Shared>,
    server: ServerHandle,
}

pub(crate) const KEY: &str = "app.example.bitbucket";

impl App {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared::default());
        *shared.descriptor.lock().unwrap() = descriptor(&url);
        let data = web::Data::from(Arc::clone(&shared));
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = HttpServer::new(move || {
                    Actix::new()
                        .app_data(data.clone())
                        .default_service(web::to(handle))
                })
                .workers(1)
                .listen(listener)
                .unwrap()
                .run();
                send.send(server.handle()).unwrap();
                server.await.unwrap();
            });
        });
        Self {
            url,
            shared,
            server: receive.recv().unwrap(),
        }
    }

    pub(crate) fn descriptor_uri(&self) -> String {
        format!("{}/descriptor/", self.url)
    }

    pub(crate) fn change_descriptor(&self, change: impl FnOnce(&mut Value)) {
        change(&mut self.shared.descriptor.lock().unwrap());
    }

    pub(crate) fn answer(&self, path: &str, statuses: &[u16]) {
        self.shared
            .answers
            .lock()
            .unwrap()
            .insert(path.to_owned(), statuses.to_vec());
    }

    /// During `installed`, calls the workspace's hooks at this base URL with the new secret.
    pub(crate) fn prove_at(&self, base: &str) {
        *self.shared.proof.lock().unwrap() = Some(base.to_owned());
    }

    pub(crate) fn proofs(&self) -> Vec<u16> {
        self.shared.proved.lock().unwrap().clone()
    }

    pub(crate) fn seen(&self, path: &str) -> Vec<Seen> {
        self.shared
            .seen
            .lock()
            .unwrap()
            .iter()
            .filter(|s| s.path == path)
            .cloned()
            .collect()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

fn descriptor(url: &str) -> Value {
    json!({
        "key": KEY, "name": "App", "description": "An app", "baseUrl": url,
        "authentication": {"type": "jwt"},
        "lifecycle": {"installed": "/installed/", "uninstalled": "/uninstalled/"},
        "scopes": ["issue:write", "pullrequest", "webhook", "repository"],
        "contexts": ["account"],
        "modules": {"postInstallRedirect": {"key": "redirect", "url": "/setup/?a=b"}},
    })
}

async fn handle(request: HttpRequest, body: web::Bytes, shared: web::Data<Shared>) -> HttpResponse {
    let path = request.uri().path().to_owned();
    let headers = request.headers().iter().map(|(name, value)| {
        (
            name.as_str().to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    shared.seen.lock().unwrap().push(Seen {
        path: path.clone(),
        headers: headers.collect(),
        body: body.to_vec(),
    });
    if path.ends_with("/descriptor/") {
        return HttpResponse::Ok().json(&*shared.descriptor.lock().unwrap());
    }
    let proof = shared.proof.lock().unwrap().clone();
    if let (Some(base), "/installed/") = (proof, path.as_str()) {
        let status = prove(&base, &serde_json::from_slice(&body).unwrap()).await;
        shared.proved.lock().unwrap().push(status);
    }
    let status = match shared.answers.lock().unwrap().get_mut(&path) {
        Some(list) if list.len() > 1 => list.remove(0),
        Some(list) => list.first().copied().unwrap_or(200),
        None => 200,
    };
    HttpResponse::build(StatusCode::from_u16(status).unwrap()).body("noted")
}

async fn prove(base: &str, installed: &Value) -> u16 {
    let uuid = installed["principal"]["uuid"].as_str().unwrap();
    let path = format!(
        "/2.0/workspaces/{}/hooks",
        uuid.replace('{', "%7B").replace('}', "%7D")
    );
    let secret = installed["sharedSecret"].as_str().unwrap();
    let client_key = installed["clientKey"].as_str().unwrap();
    let token = crate::kit::token(KEY, client_key, secret, "GET", &path, "");
    let answer = reqwest::Client::new()
        .get(format!("{base}{path}"))
        .header("Authorization", format!("JWT {token}"))
        .send()
        .await;
    answer.map_or(0, |a| a.status().as_u16())
}
