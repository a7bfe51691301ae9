//! The `tracebucket` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    tracebucket::cli::main()
}
