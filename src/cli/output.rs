//! What the command prints; the only place that writes to the terminal.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command line speaks to its user here"
)]

use std::process::ExitCode;

/// One line (or page) on standard output.
pub(super) fn line(text: &str) {
    println!("{text}");
}

/// A note for the person at the terminal, apart from the output.
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}

/// The error with its causes, and the exit code of failure.
pub(super) fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("tracebucket: {error:#}");
    ExitCode::FAILURE
}

/// A value as JSON or as text.
pub(super) fn value(json: bool, value: &serde_json::Value, text: &str) {
    if json {
        line(&value.to_string())
    } else {
        line(text)
    }
}
