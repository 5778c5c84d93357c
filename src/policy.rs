//! How versions are chosen among those that fit: the newest or the lowest, pre-releases, up to which moment.
//!
//! Owns: the words for it in flags, in `pyproject.toml` and in lockfiles. Refuses: a moment that cannot be told
//! without a time zone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Which of the versions that fit is taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Versions {
    /// The newest.
    #[default]
    Highest,
    /// The lowest of what is asked for directly, the newest of everything else: what tests lower bounds.
    LowestDirect,
}

/// When a pre-release may be chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PreReleases {
    /// Where a specifier of a direct requirement or constraint names one, or the project has nothing else.
    #[default]
    IfNecessaryOrExplicit,
    /// Always.
    Allow,
    /// Never.
    Refuse,
}

/// A word that is none of the known ones.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{word}` is not understood; expected one of {known}")]
pub struct UnknownWord {
    word: String,
    known: &'static str,
}

impl Versions {
    /// `highest` or `lowest-direct`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Highest => "highest",
            Self::LowestDirect => "lowest-direct",
        }
    }
}

impl FromStr for Versions {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Highest, Self::LowestDirect]
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| UnknownWord {
                word: text.to_owned(),
                known: "highest, lowest-direct",
            })
    }
}

impl PreReleases {
    /// `if-necessary-or-explicit`, `allow` or `refuse`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IfNecessaryOrExplicit => "if-necessary-or-explicit",
            Self::Allow => "allow",
            Self::Refuse => "refuse",
        }
    }
}

impl FromStr for PreReleases {
    type Err = UnknownWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::IfNecessaryOrExplicit, Self::Allow, Self::Refuse]
            .into_iter()
            .find(|one| one.as_str() == text)
            .ok_or_else(|| UnknownWord {
                word: text.to_owned(),
                known: "if-necessary-or-explicit, allow, refuse",
            })
    }
}

/// The moment from which on uploads do not count: a file counts where it was uploaded before it.
///
/// Written as an RFC 3339 time in UTC, or as a day (`2025-05-01`), which counts to its end in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cutoff(jiff::Timestamp);

/// Text that is no moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no date (expected 2025-05-01 or 2025-05-01T12:00:00Z)")]
pub struct InvalidCutoff(pub String);

impl Cutoff {
    /// Whether a file uploaded at `time` (RFC 3339) counts; none where the text is no time.
    #[must_use]
    pub fn admits(self, time: &str) -> Option<bool> {
        Some(time.parse::<jiff::Timestamp>().ok()? < self.0)
    }
}

impl FromStr for Cutoff {
    type Err = InvalidCutoff;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let day = || {
            let next = text.parse::<jiff::civil::Date>().ok()?.tomorrow().ok()?;
            format!("{next}T00:00:00Z").parse().ok()
        };
        // Ten characters are a day and nothing else: jiff would read a whole time as a day as well.
        let moment = if text.len() == "2025-05-01".len() {
            day()
        } else {
            text.parse().ok()
        };
        moment.map(Self).ok_or_else(|| InvalidCutoff(text.to_owned()))
    }
}

impl fmt::Display for Cutoff {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl TryFrom<String> for Cutoff {
    type Error = InvalidCutoff;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Cutoff> for String {
    fn from(cutoff: Cutoff) -> Self {
        cutoff.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_counts_to_its_end_and_a_time_is_exact() {
        let rows = [
            ("2025-05-01", "2025-05-01T23:59:59.999Z", Some(true)),
            ("2025-05-01", "2025-05-02T00:00:00Z", Some(false)),
            ("2025-05-01T12:00:00Z", "2025-05-01T11:59:59Z", Some(true)),
            ("2025-05-01T12:00:00Z", "2025-05-01T12:00:00Z", Some(false)),
            ("2025-05-01T14:00:00+02:00", "2025-05-01T11:59:59.123456Z", Some(true)),
            ("2025-05-01", "yesterday", None),
        ];
        for (cutoff, time, expected) in rows {
            let parsed: Cutoff = cutoff.parse().expect("a moment");
            assert_eq!(parsed.admits(time), expected, "{cutoff} {time}");
            assert_eq!(parsed.to_string().parse(), Ok(parsed), "{cutoff}");
        }
        assert_eq!(
            "2025-05-01".parse::<Cutoff>().expect("a day").to_string(),
            "2025-05-02T00:00:00Z"
        );
        for text in [
            "",
            "2025-13-01",
            "2025-05-01T12:00:00",
            "01.05.2025",
            "2025-05",
            "20250501",
        ] {
            assert!(text.parse::<Cutoff>().is_err(), "{text}");
        }
    }

    #[test]
    fn words_round_trip() {
        for one in [Versions::Highest, Versions::LowestDirect] {
            assert_eq!(one.as_str().parse(), Ok(one));
        }
        for one in [
            PreReleases::Allow,
            PreReleases::Refuse,
            PreReleases::IfNecessaryOrExplicit,
        ] {
            assert_eq!(one.as_str().parse(), Ok(one));
        }
        assert_eq!(
            "newest".parse::<Versions>().expect_err("unknown").to_string(),
            "`newest` is not understood; expected one of highest, lowest-direct"
        );
    }
}
