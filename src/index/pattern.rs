//! Names of packages with `*` in them: what a private index claims.
//!
//! Refuses: patterns that no valid normalised name matches. They would claim nothing, and what they seem to protect
//! would come from the package index.

use std::str::FromStr;

use crate::pep::PackageName;

/// A package name, or several with `*` for any characters. Kept in normalised form: lower case, runs of `-`, `_` and
/// `.` as one `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct NamePattern(String);

/// Text that matches no name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` matches no valid package name; expected a name such as `torch` or a pattern such as `corp-*`")]
pub struct InvalidPattern(String);

impl FromStr for NamePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut normal = String::new();
        for c in text.trim().chars() {
            match c {
                '-' | '_' | '.' if normal.ends_with('-') => {}
                '-' | '_' | '.' => normal.push('-'),
                c => normal.push(c.to_ascii_lowercase()),
            }
        }
        let of_names = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '*');
        // A name neither begins nor ends with `-`, and `*` takes nothing away.
        let ends = normal.starts_with('-') || normal.ends_with('-');
        if normal.is_empty() || ends || !normal.chars().all(of_names) {
            return Err(InvalidPattern(text.to_owned()));
        }
        Ok(Self(normal))
    }
}

impl NamePattern {
    /// Whether `name` is meant.
    #[must_use]
    pub fn matches(&self, name: &PackageName) -> bool {
        let name = name.as_str();
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
            return false;
        };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_normalised_names() {
        for (pattern, text, expected) in [
            ("corp-*", "corp-utils", true),
            ("corp-*", "corp", false),
            ("Corp_*", "corp.utils", true),
            ("*", "anything", true),
            ("*-corp", "a-corp", true),
            ("*-corp", "a-corp-b", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("ab*ba", "aba", false),
            ("exact", "exact", true),
            (" Ex_act ", "ex-act", true),
            ("exact", "exactly", false),
        ] {
            let read: NamePattern = pattern.parse().expect(pattern);
            assert_eq!(
                read.matches(&text.parse().expect("a name")),
                expected,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn patterns_that_match_no_name_are_refused() {
        for text in [
            "", " ", "-", "_", ".", "--", "-*", "*-", "*.", "-corp", "corp-", "corp_*_", "a b", "a/b", "corp-?",
            "corp[x]", "a==1", "a>=1", "ä", "ﬁ*", "a,b", "a\u{0}",
        ] {
            let refused = text.parse::<NamePattern>();
            assert_eq!(refused, Err(InvalidPattern(text.to_owned())), "{text}");
        }
        for text in ["*", "**", "a*", "*a", "a-*-b", "1", "a.*"] {
            assert!(text.parse::<NamePattern>().is_ok(), "{text}");
        }
    }
}
