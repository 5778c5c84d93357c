//! The `flambeau` command: see the library crate.

fn main() {}
