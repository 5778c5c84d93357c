//! The `flambeau` command: see the library crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    flambeau::cli::main()
}
