//! End-to-end tests: one binary, one file for each verb.
//!
//! They show that the parts are wired together as users see them; what can be tested close to the code is tested there.

#![allow(clippy::disallowed_methods, reason = "a test that gets no thread has failed")]

#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "a tool box: some tools wait for the tests that need them")]
mod support;

mod activate;
mod build;
mod bundle;
mod concurrency;
mod crash;
mod credentials;
mod detect;
mod doctor;
mod documents;
mod editable;
mod export;
mod failures;
mod fetch;
mod fidelity;
mod foreign_projects;
mod from;
mod gc;
mod hash;
mod history;
mod hostile;
mod inspection;
mod interpreter;
mod json;
mod list;
mod lock;
mod lock_choosing;
mod lock_direct;
mod lock_edit;
mod lock_failures;
mod lock_targets;
mod lock_unstated;
mod looking;
mod offline;
mod overlay;
mod recovery;
mod requires_python;
mod run;
mod sharing;
mod shipped;
mod status;
mod steps;
mod stress;
mod support_selftest;
mod transport;
mod verify;
