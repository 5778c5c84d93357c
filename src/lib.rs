//! flambeau builds PyTorch environments the way Nix builds packages.
//!
//! ```text
//! config -+
//!         +- choose - lockfile - target - KEY -+- in the store? ----------+
//! probes -+     (lock: resolve)                +- fetch - unpack - compose +- activate: one flip
//! ```
//!
//! Arrows only point right. [`cli`] orchestrates; the modules below it never call a verb, never print and never exit.
//! `docs/architecture.md` in the repository has the module map and the decisions.

pub mod backend;
pub mod cache;
pub mod digest;
pub mod error;
pub mod fetch;
pub mod fsx;
pub mod http;
pub mod index;
pub mod lockfile;
pub mod pep;
pub mod progress;
pub mod target;
pub mod wheel;
