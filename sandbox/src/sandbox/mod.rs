//! Starting and stopping a sandbox.

mod controls;
mod pulls;

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, web};
use anyhow::{Context as _, anyhow};

use crate::core::Core;
use crate::server;

/// Where a sandbox listens and what it keeps.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// `host:port`; port 0 takes a free one.
    pub listen: String,
    /// Holds `state.json` and the git repositories. Made when missing.
    pub data_dir: PathBuf,
    /// How callers reach it, when that is not `http://` and the address it listens on.
    pub public_url: Option<String>,
    /// Whether it panics when it is dropped with broken rules that nobody has taken: for tests, so that none can
    /// overlook what it has caused.
    pub strict: bool,
}

impl SandboxConfig {
    /// A free port on this machine.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            listen: "127.0.0.1:0".to_owned(),
            data_dir: data_dir.into(),
            public_url: None,
            strict: false,
        }
    }
}

/// A running sandbox. Dropping it stops it.
pub struct Sandbox {
    core: Arc<Core>,
    server: ServerHandle,
    thread: Option<JoinHandle<()>>,
    strict: bool,
}

impl Sandbox {
    /// Starts a sandbox on threads of its own and waits until it listens.
    ///
    /// # Errors
    /// When the address is taken, or the data folder cannot be used or holds another version.
    pub fn start(config: SandboxConfig) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(&config.listen)
            .with_context(|| format!("listen on {}", config.listen))?;
        let address = listener.local_addr()?;
        let public_url = config
            .public_url
            .unwrap_or_else(|| format!("http://{address}"));
        let (ready, started) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("bitbucket-sandbox".to_owned())
            .spawn(move || run(listener, config.data_dir, public_url, &ready))?;
        let (core, server) = started
            .recv_timeout(Duration::from_secs(30))
            .map_err(|_| anyhow!("the sandbox did not start"))??;
        if config.strict {
            core.journal.keep_answers();
        }
        Ok(Self {
            core,
            server,
            thread: Some(thread),
            strict: config.strict,
        })
    }

    /// Its base URL without a trailing slash, for both the API and the pages.
    pub fn url(&self) -> &str {
        &self.core.public_url
    }

    /// Stops serving; what was stored stays in the data folder.
    pub fn stop(mut self) {
        self.halt();
    }

    fn halt(&mut self) {
        if let Some(thread) = self.thread.take() {
            // The stop itself runs on the server's own threads; the future only waits for it.
            self.core.runtime.spawn(self.server.stop(false));
            if thread.join().is_err() {
                tracing::error!("the sandbox thread panicked");
            }
        }
    }

    /// Serves until the process is told to end by SIGINT or SIGTERM, then stops.
    ///
    /// # Errors
    /// When signals cannot be listened to.
    pub fn serve_until_signal(self) -> anyhow::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        runtime.block_on(async {
            let mut terminate = signal(SignalKind::terminate())?;
            let mut interrupt = signal(SignalKind::interrupt())?;
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            anyhow::Ok(())
        })?;
        self.stop();
        Ok(())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.halt();
        let violations = self.core.journal.take_violations();
        assert!(
            !self.strict || violations.is_empty() || std::thread::panicking(),
            "rules were broken and nobody looked: {violations:#?}"
        );
    }
}

type Started = anyhow::Result<(Arc<Core>, ServerHandle)>;

/// The thread of a sandbox: its own runtime, the server, then the end of both.
fn run(
    listener: TcpListener,
    data_dir: PathBuf,
    public_url: String,
    ready: &mpsc::Sender<Started>,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(error.into()));
            return;
        }
    };
    let handle = runtime.handle().clone();
    let served = actix_web::rt::System::new().block_on(async move {
        let (core, server) = match assemble(listener, data_dir, public_url, handle) {
            Ok(assembled) => assembled,
            Err(error) => {
                let _ = ready.send(Err(error));
                return Ok(());
            }
        };
        let _ = ready.send(Ok((core, server.handle())));
        server.await
    });
    if let Err(error) = served {
        tracing::error!("{error}");
    }
    runtime.shutdown_background();
}

fn assemble(
    listener: TcpListener,
    data_dir: PathBuf,
    public_url: String,
    runtime: tokio::runtime::Handle,
) -> anyhow::Result<(Arc<Core>, actix_web::dev::Server)> {
    let core = Arc::new(Core::new(data_dir, public_url, runtime)?);
    let data = web::Data::new(Arc::clone(&core));
    let server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .default_service(web::to(server::entry))
    })
    .workers(2)
    // As long as servers usually leave a connection open: a caller may count on it.
    .keep_alive(std::time::Duration::from_secs(75))
    // Signals belong to the process that starts a sandbox.
    .disable_signals()
    .shutdown_timeout(1)
    .listen(listener)?
    .run();
    Ok((core, server))
}
