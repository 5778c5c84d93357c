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

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "a test that gets no thread has failed")
)]

pub mod amount;
pub mod backend;
pub mod bulk;
pub mod bundle;
pub mod cache;
pub mod checkpoint;
pub mod cli;
pub mod collect;
pub mod config;
pub mod digest;
pub mod document;
pub mod env;
pub mod error;
pub mod fetch;
pub mod fit;
pub mod fsx;
pub mod gpu;
pub mod html;
pub mod http;
pub mod index;
pub mod key;
pub mod lockfile;
pub mod pep;
pub mod policy;
pub mod process;
pub mod profile;
pub mod progress;
pub mod project;
pub mod python;
pub mod relpath;
pub mod requirement;
pub mod resolve;
pub mod shown;
pub mod space;
pub mod store;
pub mod target;
pub mod threads;
pub mod timings;
pub mod ui;
pub mod verify;
pub mod wheel;
