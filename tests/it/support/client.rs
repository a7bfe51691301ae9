//! The real clients of `tests/clients`: where they are, how they run, what they print.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// A setting that `.ci/clients.sh` prints.
pub fn setting(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set; `eval \"$(.ci/clients.sh)\"` sets it (docs/TESTING.md)")
    })
}

/// A script of `tests/clients`.
pub fn script(path: &str) -> PathBuf {
    PathBuf::from(setting("TRACEBUCKET_TEST_CLIENTS")).join(path)
}

/// Node.js with a script and its arguments.
pub fn node<A: AsRef<OsStr>>(path: &str, arguments: &[A]) -> Command {
    let mut command = Command::new(setting("TRACEBUCKET_TEST_NODE"));
    command.arg(script(path)).args(arguments);
    command
}

/// Python with a script and its arguments.
pub fn python<A: AsRef<OsStr>>(path: &str, arguments: &[A]) -> Command {
    let mut command = Command::new(setting("TRACEBUCKET_TEST_PYTHON"));
    command.arg(script(path)).args(arguments);
    command
}

/// Runs a client to its end, with `input` on its standard input; answers the JSON lines it printed. Its complaints go
/// to our own standard error; it must end well within `limit`.
pub async fn run(mut command: Command, input: &str, limit: Duration) -> Vec<Value> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true);
    // A proxy of the machine is not for programs that talk to each other on it.
    command
        .env("NO_PROXY", "127.0.0.1")
        .env("no_proxy", "127.0.0.1");
    let mut child = command.spawn().expect("the client starts");
    let mut pipe = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writing = tokio::spawn(async move { pipe.write_all(input.as_bytes()).await });
    let output = tokio::time::timeout(limit, child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("{command:?} took longer than {limit:?}"))
        .unwrap();
    let _ = writing.await;
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{command:?} ended with {}: {text}",
        output.status
    );
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}
