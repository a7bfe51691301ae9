//! The git program, run with plain arguments (never through a shell) on bare repositories.

pub(crate) mod blame;
pub(crate) mod diff;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod merge;
pub(crate) mod push;
pub(crate) mod refs;
pub(crate) mod tree;
pub(crate) mod write;

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, bail};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// A git command that sees neither the user's configuration nor a surrounding repository.
pub(crate) fn command(dir: &Path) -> Command {
    let mut command = Command::new("git");
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", dir)
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .env("GIT_TERMINAL_PROMPT", "0")
        .args([
            "-c",
            "safe.directory=*",
            "-c",
            "core.quotepath=off",
            "-c",
            "gc.auto=0",
        ])
        .args(["-c", "receive.autogc=false", "-c", "http.receivepack=true"])
        .arg("--literal-pathspecs")
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs git in `dir` and gives its output.
///
/// # Errors
/// When git cannot be started or exits with a failure; the text holds its last words.
pub(crate) async fn run<S: AsRef<str>>(dir: &Path, args: &[S]) -> anyhow::Result<Vec<u8>> {
    let mut command = command(dir);
    command
        .arg("-C")
        .arg(dir)
        .args(args.iter().map(AsRef::as_ref));
    finish(command, &[]).await
}

/// Feeds `input` to a prepared command and gives its output.
pub(crate) async fn finish(mut command: Command, input: &[u8]) -> anyhow::Result<Vec<u8>> {
    if !input.is_empty() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().context("start git")?;
    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // git may stop reading early; its exit status is what counts.
            let _ = stdin.write_all(input).await;
        }
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    let output = output.context("wait for git")?;
    if !output.status.success() {
        bail!(
            "git failed: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(output.stdout)
}

/// Makes an empty bare repository whose main branch is `main`.
pub(crate) async fn init(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)?;
    run(dir, &["init", "--quiet", "--bare", "--initial-branch=main"]).await?;
    Ok(())
}

/// Writes the files of an empty bare repository, without running git.
pub(crate) fn lay(dir: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(dir.join("objects"))?;
    std::fs::create_dir_all(dir.join("refs/heads"))?;
    let config = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n";
    std::fs::write(dir.join("config"), config)?;
    std::fs::write(dir.join("HEAD"), "ref: refs/heads/main\n")
}

/// Whether a text can only be a revision: no option, no range, no `:path`, no reflog syntax.
pub(crate) fn is_revision(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 255
        && !text.starts_with('-')
        && !text.contains("..")
        && !text.contains("@{")
        && !text
            .chars()
            .any(|c| c.is_control() || " ~^:?*[\\".contains(c))
}

/// Whether a text is a path inside a tree: relative, without `.` and `..`.
pub(crate) fn is_path(text: &str) -> bool {
    if text.is_empty() {
        return true;
    }
    let text = text.strip_suffix('/').unwrap_or(text);
    !text.contains('\0')
        && text
            .split('/')
            .all(|part| !part.is_empty() && part != "." && part != "..")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revisions_and_paths_cannot_be_options_or_climb() {
        for good in ["main", "feature/x", "0a1b2c", "HEAD", "v1.0"] {
            assert!(is_revision(good), "{good}");
        }
        for bad in [
            "", "-n1", "--all", "a..b", "a:b", "a^", "a~1", "a@{1}", "a b", "a\nb",
        ] {
            assert!(!is_revision(bad), "{bad:?}");
        }
        for good in ["", "a", "a/b.rs", "a/", "-x", "a b/ü"] {
            assert!(is_path(good), "{good}");
        }
        for bad in ["/", "/a", "..", "a/../b", "a//b", "./a", "a\0"] {
            assert!(!is_path(bad), "{bad:?}");
        }
    }
}
