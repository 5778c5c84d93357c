//! What long work tells whoever watches it: events, without a word about how they are shown.
//!
//! The library reports; [`crate::ui`] draws bars, prints lines or writes one JSON object a line. Reporting must be
//! cheap and may come from any thread.

use serde::Serialize;

/// One step of long work. Sizes are bytes.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    /// A resolution looks at a package.
    Resolving {
        /// The package.
        package: &'a str,
    },
    /// Wheels will be fetched: how many, and how much as far as sizes are known.
    FetchPlanned {
        /// Number of wheels.
        files: usize,
        /// Their total size; wheels of unknown size count as 0.
        bytes: u64,
    },
    /// Wheels will be copied from or to a place of this machine; the events of fetching follow for each.
    CopyPlanned {
        /// Number of wheels.
        files: usize,
        /// Their total size.
        bytes: u64,
    },
    /// One wheel starts (or resumes at `have` bytes).
    FetchStarted {
        /// The wheel's file name.
        file: &'a str,
        /// Its size, where known.
        size: Option<u64>,
        /// Bytes that an earlier run left.
        have: u64,
    },
    /// The server told the size of a wheel that counted as 0 so far.
    FetchSized {
        /// The wheel's file name.
        file: &'a str,
        /// Its size.
        size: u64,
    },
    /// More bytes of one wheel have arrived.
    FetchAdvanced {
        /// The wheel's file name.
        file: &'a str,
        /// How many since the last event of this file.
        bytes: u64,
    },
    /// Bytes that had arrived do not count after all: the file is fetched again from `have`.
    FetchRestarted {
        /// The wheel's file name.
        file: &'a str,
        /// Bytes that remain.
        have: u64,
    },
    /// One wheel is complete and its digest matches.
    FetchFinished {
        /// The wheel's file name.
        file: &'a str,
    },
    /// Wheels will be unpacked.
    UnpackPlanned {
        /// Number of wheels.
        files: usize,
    },
    /// One wheel is being unpacked.
    UnpackStarted {
        /// The wheel's file name.
        file: &'a str,
    },
    /// The sources of one wheel, which is unpacked, are being compiled.
    CompileStarted {
        /// The wheel's file name.
        file: &'a str,
    },
    /// One wheel is a tree in the store.
    Unpacked {
        /// The wheel's file name.
        file: &'a str,
    },
    /// The bytecode of one wheel is in the store.
    Compiled {
        /// The wheel's file name.
        file: &'a str,
    },
    /// The trees are being laid over each other.
    ComposeStarted,
    /// The environment is visible.
    Composed,
    /// Files will be read and compared with their digests.
    VerifyPlanned {
        /// Number of files.
        files: usize,
        /// Their total size.
        bytes: u64,
    },
    /// More bytes have been compared.
    VerifyAdvanced {
        /// How many since the last event.
        bytes: u64,
    },
    /// Something the user should know; the work goes on.
    Warning {
        /// One sentence.
        message: &'a str,
    },
    /// Another process holds a guard that this one needs.
    Waiting {
        /// For what.
        what: &'a str,
    },
}

/// Receives events.
pub trait Reporter: Sync {
    /// Takes one event.
    fn event(&self, event: Event<'_>);
}

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn event(&self, _event: Event<'_>) {}
}
