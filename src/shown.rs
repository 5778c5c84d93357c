//! Text from outside, as a terminal may have it: no name can move the cursor, hide what follows or forge a line.
//!
//! Owns: which characters are written as escapes, in lines for people and in JSON (where they keep their meaning).
//! A message is one line. Our own longer ones begin each further line with `  - ` or four spaces; any other line break
//! is part of a value, and so is one before a label of the printer.

use std::borrow::Cow;
use std::fmt::Write as _;

/// What a message's further lines begin with.
const CONTINUED: [&str; 2] = ["  - ", "    "];

/// The printer's labels.
const LABELS: [&str; 4] = ["error:", "caused by:", "hint:", "warning:"];

/// Whether a terminal would do something else with it than show it: controls (C0, DEL, C1), separators of lines and
/// paragraphs, and what turns the direction of text around.
fn acts(one: char) -> bool {
    one.is_control() || is_format(one)
}

fn is_format(one: char) -> bool {
    matches!(one, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// One line: whatever acts on a terminal is written as Rust writes it in a string, `\n` or `\u{1b}`.
#[must_use]
pub fn line(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for one in text.chars() {
        if acts(one) {
            shown.extend(one.escape_default());
        } else {
            shown.push(one);
        }
    }
    Cow::Owned(shown)
}

/// A message: one line, and those further ones that are its own.
#[must_use]
pub fn message(text: &str) -> String {
    let mut parts = text.split('\n');
    let mut shown = line(parts.next().unwrap_or_default()).into_owned();
    for part in parts {
        let own = CONTINUED.iter().any(|start| part.starts_with(start)) && !is_labelled(part);
        shown.push_str(if own { "\n" } else { "\\n" });
        shown.push_str(&line(part));
    }
    shown
}

/// Text of several lines of which only a label is not believed: what the parser of the command line says.
#[must_use]
pub fn paragraphs(text: &str) -> String {
    let mut parts = text.split('\n');
    let mut shown = line(parts.next().unwrap_or_default()).into_owned();
    for part in parts {
        shown.push_str(if is_labelled(part) { "\\n" } else { "\n" });
        shown.push_str(&line(part));
    }
    shown
}

fn is_labelled(text: &str) -> bool {
    let text = text.trim_start_matches(|one: char| one.is_whitespace() || one == '-');
    let begins = |label: &&str| {
        text.get(..label.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(label))
    };
    LABELS.iter().any(begins)
}

/// A JSON text, in which the characters that JSON leaves alone are escaped too; it means what it meant.
#[must_use]
pub fn json(text: &str) -> Cow<'_, str> {
    // Line breaks stand between its parts; inside of strings JSON has escaped them.
    let acts = |one: char| one != '\n' && acts(one);
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for one in text.chars() {
        if acts(one) {
            // All of them are in the first plane.
            let _ = write!(shown, "\\u{:04x}", u32::from(one));
        } else {
            shown.push(one);
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_on_a_terminal_is_written_as_an_escape() {
        for (text, shown) in [
            ("plain \u{e9} \u{4e2d} → −", "plain \u{e9} \u{4e2d} → −"),
            ("a\x1b[2J\x07b\x7f", "a\\u{1b}[2J\\u{7}b\\u{7f}"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{9b}31m\u{85}", "\\u{9b}31m\\u{85}"),
            (
                "a\u{202e}b\u{2066}c\u{2028}d\u{2029}",
                "a\\u{202e}b\\u{2066}c\\u{2028}d\\u{2029}",
            ),
        ] {
            assert_eq!(line(text), shown);
        }
    }

    #[test]
    fn a_value_forges_no_line() {
        for (text, shown) in [
            ("x\nerror: y", "x\\nerror: y"),
            ("x\n    hint: y", "x\\n    hint: y"),
            ("x\n  - Error: y", "x\\n  - Error: y"),
            (
                "because\n  - a needs b\n  - c\x1b",
                "because\n  - a needs b\n  - c\\u{1b}",
            ),
        ] {
            assert_eq!(message(text), shown);
        }
        assert_eq!(paragraphs("x\n\nUsage: y\nhint: z"), "x\n\nUsage: y\\nhint: z");
    }

    #[test]
    fn json_keeps_its_meaning() {
        let value = serde_json::json!({ "a": "\x1b\u{7f}\u{9b}\u{202e}\n\u{e9}", "b": [1, 2] });
        for text in [format!("{value:#}"), value.to_string()] {
            let shown = json(&text);
            assert!(!shown.chars().any(|one| one != '\n' && acts(one)), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
        }
    }
}
