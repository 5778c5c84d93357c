//! What a command left behind, in one printable piece.

use std::fmt;
use std::process::ExitStatus;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// Standard output, standard error and status of a finished command. Prints as all three.
pub(crate) struct Output {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: ExitStatus,
    filters: Vec<(String, &'static str)>,
}

impl Output {
    pub(super) fn new(output: &std::process::Output, filters: Vec<(String, &'static str)>) -> Self {
        Self {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            status: output.status,
            filters,
        }
    }

    /// Fails the test, showing everything, unless the command succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert!(self.status.success(), "the command failed:\n{self}");
        self
    }

    /// Fails the test, showing everything, unless the command ended with this exit code.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "the command ended otherwise:\n{self}");
        self
    }

    /// The one JSON document on standard output.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("stdout is no JSON document: {error}\n{self}"))
    }

    /// Standard output without the white space around it.
    pub(crate) fn text(&self) -> &str {
        self.stdout.trim()
    }

    /// The printed form for snapshots: paths, addresses, digests, times and interpreter versions are replaced.
    pub(crate) fn filtered(&self) -> String {
        filter(&self.to_string(), &self.filters)
    }

    /// Standard output alone, filtered.
    pub(crate) fn filtered_stdout(&self) -> String {
        filter(&self.stdout, &self.filters)
    }
}

impl fmt::Display for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing_newline = |text: &str| {
            if text.is_empty() || text.ends_with('\n') {
                ""
            } else {
                "[no newline]\n"
            }
        };
        write!(formatter, "{}{}", self.stdout, missing_newline(&self.stdout))?;
        if !self.stderr.is_empty() {
            write!(
                formatter,
                "------- stderr -------\n{}{}",
                self.stderr,
                missing_newline(&self.stderr)
            )?;
        }
        writeln!(formatter, "[{}]", self.status)
    }
}

impl fmt::Debug for Output {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Patterns and what stands for them, in this order: digests before the folder names that begin with one.
static PATTERNS: LazyLock<Vec<(Regex, &'static str)>> = LazyLock::new(|| {
    [
        (r"\b[0-9a-f]{64}\b", "[SHA256]"),
        (r"\b[0-9a-f]{40}(-[\w.+-]+?)-[0-9a-f]{8}\b", "[KEY40]$1-[I8]"),
        (r"\b[0-9a-f]{40}\b", "[HEX40]"),
        (
            r"\b\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})",
            "[TIMESTAMP]",
        ),
        (r"\b\d+(\.\d+)?\s?(ns|µs|ms|s)\b", "[TIME]"),
        (r#"("elapsed_ms":\s*)\d+"#, "$1[TIME]"),
        (r"127\.0\.0\.1:\d+", "[HOST]"),
    ]
    .map(|(pattern, replacement)| {
        (
            Regex::new(pattern).expect("the table's patterns are right"),
            replacement,
        )
    })
    .into()
});

/// Replaces what differs between runs. Longer literals first: one path may begin another.
pub(super) fn filter(text: &str, literals: &[(String, &'static str)]) -> String {
    let mut literals = literals.to_vec();
    literals.sort_by_key(|(literal, _)| std::cmp::Reverse(literal.len()));
    let text = literals.iter().fold(text.to_owned(), |text, (literal, replacement)| {
        text.replace(literal, replacement)
    });
    PATTERNS.iter().fold(text, |text, (pattern, replacement)| {
        pattern.replace_all(&text, *replacement).into_owned()
    })
}
