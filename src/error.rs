//! What a command ends with when it does not end well: a kind (and so an exit code), a cause and hints.
//!
//! Modules define their own error enums and know nothing of exit codes or hints; [`crate::cli`] maps them to a
//! [`Failure`]. Exit codes are part of the interface: 1 the user can fix it, 2 usage, 3 integrity, 4 network or
//! remote, 70 a defect of ours, 130 interrupted.

use std::error::Error as StdError;
use std::fmt;

/// What sort of failure it is; decides the exit code and the `kind` of the JSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Configuration, unsatisfiable requirements, a stale lockfile, nothing built, no space: the user can fix it.
    User,
    /// The command line is wrong.
    Usage,
    /// A digest, an expected key or a signature does not match, or something stored is damaged.
    Integrity,
    /// A network, an index or a remote did not do what was needed, or `--offline` forbids asking it.
    Network,
    /// A defect of flambeau.
    Defect,
    /// The user interrupted the command.
    Interrupted,
}

impl Kind {
    /// The process's exit code.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::User => 1,
            Self::Usage => 2,
            Self::Integrity => 3,
            Self::Network => 4,
            Self::Defect => 70,
            Self::Interrupted => 130,
        }
    }

    /// The word that JSON documents use.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Usage => "usage",
            Self::Integrity => "integrity",
            Self::Network => "network",
            Self::Defect => "defect",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A failed command: kind, cause (with its chain of sources) and what to do next.
#[derive(Debug)]
pub struct Failure {
    /// Decides the exit code.
    pub kind: Kind,
    /// What failed; its `source()` chain says why.
    pub source: Box<dyn StdError + Send + Sync>,
    /// What to do next, one sentence each.
    pub hints: Vec<String>,
}

impl Failure {
    /// A failure of `kind` caused by `source`, without hints.
    pub fn new(kind: Kind, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self {
            kind,
            source: source.into(),
            hints: Vec::new(),
        }
    }

    /// A failure that the user can fix.
    pub fn user(source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::new(Kind::User, source)
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// The messages of the causes, outermost first, without those that repeat the message before them.
    #[must_use]
    pub fn chain(&self) -> Vec<String> {
        let mut messages = vec![self.source.to_string()];
        let mut next = self.source.source();
        while let Some(error) = next {
            let message = error.to_string();
            if messages.last().is_none_or(|last| !last.ends_with(&message)) {
                messages.push(message);
            }
            next = error.source();
        }
        messages
    }
}

/// An error with its causes, in one line.
#[must_use]
pub fn one_line(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let message = cause.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        next = cause.source();
    }
    text
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(formatter)
    }
}
