//! The built program as a process of its own, for what only a process can show: being killed, starting, memory.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::TestApp;

/// How to start the program: always with the same address, database and keys.
pub struct Program {
    /// `http://127.0.0.1:port`
    pub base: String,
    pub database_url: String,
    settings: Vec<(&'static str, String)>,
    folder: tempfile::TempDir,
}

impl Program {
    /// Ends the application of this process and answers how to go on with its data as another one.
    pub async fn instead_of(app: TestApp) -> Self {
        let config = &app.app.config;
        let database_url = config.database_url.expose().to_owned();
        let settings = vec![
            ("LISTEN", app.base.trim_start_matches("http://").to_owned()),
            ("PUBLIC_URL", app.base.clone()),
            ("DATABASE_URL", database_url.clone()),
            (
                "SECRET_KEYS",
                config.secret_keys.as_ref().unwrap().expose().to_owned(),
            ),
            ("BITBUCKET_API_URL", config.bitbucket_api_url.to_string()),
            ("BITBUCKET_WEB_URL", config.bitbucket_web_url.to_string()),
            (
                "LOG",
                std::env::var("TEST_LOG").unwrap_or_else(|_| "warn".into()),
            ),
        ];
        let base = app.base.clone();
        let folder = app.stop_and_keep_data().await;
        Self {
            base,
            database_url,
            settings,
            folder,
        }
    }

    /// Changes a setting for the next start.
    #[allow(dead_code, reason = "for some of those who share this file")]
    pub fn set(&mut self, key: &'static str, value: &str) {
        self.settings.retain(|(known, _)| *known != key);
        self.settings.push((key, value.to_owned()));
    }

    /// Another process on the same database, with an address of its own.
    #[allow(dead_code, reason = "for some of those who share this file")]
    pub fn beside(&self) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = port.local_addr().unwrap().to_string();
        let mut settings = self.settings.clone();
        settings.retain(|(key, _)| *key != "LISTEN");
        settings.push(("LISTEN", address.clone()));
        Self {
            base: format!("http://{address}"),
            database_url: self.database_url.clone(),
            settings,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Runs a command of the program with the same settings; answers what it said.
    #[allow(dead_code, reason = "for some of those who share this file")]
    pub fn run(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracebucket"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_clear();
        let settings = self.settings.iter();
        command.envs(settings.map(|(key, value)| (format!("TRACEBUCKET_{key}"), value)));
        let output = command.output().unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success(), "{arguments:?}: {said}");
        said
    }

    /// Starts it; it may not listen yet.
    pub fn spawn(&self) -> Running {
        let log = || {
            OpenOptions::new()
                .create(true)
                .append(true)
                .open(self.log_file())
                .unwrap()
        };
        // A limit on the size of files is an error to the program and not its end: that is how a full disk is made.
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$0\" serve --dev"])
            .arg(env!("CARGO_BIN_EXE_tracebucket"))
            .current_dir(self.folder.path())
            .env_clear();
        command.envs(
            self.settings
                .iter()
                .map(|(key, value)| (format!("TRACEBUCKET_{key}"), value)),
        );
        let child = command
            .stdin(Stdio::null())
            .stdout(log())
            .stderr(log())
            .spawn()
            .expect("the program starts");
        Running {
            child,
            base: self.base.clone(),
        }
    }

    /// Starts it and waits until it is ready. The predecessor in this process may take a moment to let go of the
    /// database, so a start that fails is tried again.
    pub async fn start(&self) -> Running {
        let begun = Instant::now();
        loop {
            let mut running = self.spawn();
            if running.ready().await {
                return running;
            }
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "it does not start:\n{}",
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("program.log")
    }
}

/// One process; it dies with the value.
pub struct Running {
    child: Child,
    base: String,
}

impl Running {
    /// Waits until it answers that it is ready; false when it ended instead, or does not get there.
    pub async fn ready(&mut self) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(120) {
            if is_ready(&self.base).await {
                return true;
            }
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        false
    }

    /// `kill -9`; answers when the process is gone.
    pub fn kill(mut self) {
        self.end();
    }

    /// Asks it to end (SIGTERM) and waits for that; how it ended, and after how long.
    #[allow(dead_code, reason = "for some of those who share this file")]
    pub async fn terminate(mut self) -> (std::process::ExitStatus, Duration) {
        let begun = Instant::now();
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &id]).status().unwrap();
        assert!(asked.success());
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (status, begun.elapsed());
            }
            assert!(
                begun.elapsed() < Duration::from_secs(120),
                "it does not end"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Process id.
    #[allow(dead_code, reason = "for the benchmarks, which share this file")]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    fn end(&mut self) {
        // SIGKILL, to this child alone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

/// One plain request, without a client's pools and waits.
async fn is_ready(base: &str) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let address = base.trim_start_matches("http://");
    let Ok(mut stream) = tokio::net::TcpStream::connect(address).await else {
        return false;
    };
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let asked = async {
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_end(&mut answer).await
    };
    let _ = tokio::time::timeout(Duration::from_secs(20), asked).await;
    answer.starts_with(b"HTTP/1.1 200")
}

/// A line of `/proc/PID/status`, in KB. Looked at is memory that is the process's own (`RssAnon`): pages of its
/// program file come and go, and a debug build has many.
#[allow(dead_code, reason = "for some of those who share this file")]
pub fn memory(pid: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    let number = found.unwrap().trim_start_matches(':').trim();
    number.trim_end_matches(" kB").trim().parse().unwrap()
}
