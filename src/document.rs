//! Why a TOML or JSON document cannot be used: the line, the key and the reason, in words of the document.
//!
//! Owns: the translation of what serde says, which names types of this program and no keys. The key is found by the
//! place of the error in the text.
//! Refuses to repeat texts that may hold a login.

use std::fmt;
use std::ops::Range;

use jsonc_parser::ast::Value as Json;
use jsonc_parser::common::Ranged as _;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};
use toml::de::{DeTable, DeValue};

/// What is wrong with a document, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentError {
    line: Option<usize>,
    key: String,
    reason: String,
}

impl std::error::Error for DocumentError {}

/// The line, the key and the reason.
impl fmt::Display for DocumentError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(formatter, "line {line}: ")?;
        }
        formatter.write_str(&self.reason())
    }
}

/// Which words a format has for its collections.
#[derive(Clone, Copy)]
enum Format {
    Toml,
    Json,
}

impl DocumentError {
    /// Why `text` cannot be used as TOML.
    #[must_use]
    pub fn toml(text: &str, error: &toml::de::Error) -> Self {
        let message = error.message().trim();
        // A key that is missing is missing in a table, whose place is that of its first line; the document has none.
        let lacks = message.starts_with("missing field ");
        let span = error.span();
        let key = span
            .as_ref()
            .map(|span| toml_key(text, span, lacks))
            .unwrap_or_default();
        let span = span.filter(|_| !lacks || !key.is_empty());
        Self {
            line: span.map(|span| line_of(text, span.start)),
            key,
            reason: plain(message, Format::Toml),
        }
    }

    /// Why `text` is not TOML at all.
    #[must_use]
    pub fn toml_syntax(text: &str, error: &toml_edit::TomlError) -> Self {
        Self {
            line: error.span().map(|span| line_of(text, span.start)),
            key: String::new(),
            reason: error.message().trim().to_owned(),
        }
    }

    /// Why `bytes` cannot be used as JSON.
    #[must_use]
    pub fn json(bytes: &[u8], error: &serde_json::Error) -> Self {
        let message = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        let message = message.strip_suffix(&place).unwrap_or(&message);
        let reason = if error.is_data() {
            plain(message, Format::Json)
        } else {
            format!("not valid JSON: {message}")
        };
        let text = std::str::from_utf8(bytes).ok().filter(|_| error.is_data());
        let key = text.map(|text| json_key(text, error.line(), error.column()));
        Self {
            line: (error.line() > 0).then(|| error.line()),
            key: key.unwrap_or_default(),
            reason,
        }
    }

    /// The line, from 1; the first where it is not known.
    #[must_use]
    pub fn line(&self) -> usize {
        self.line.unwrap_or(1)
    }

    /// The key and the reason.
    #[must_use]
    pub fn reason(&self) -> String {
        if self.key.is_empty() {
            self.reason.clone()
        } else {
            format!("{}: {}", self.key, self.reason)
        }
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count()
}

/// `path` with one more name, which is quoted unless TOML would take it bare.
fn below(path: &str, name: &str) -> String {
    let bare = |one: char| one.is_ascii_alphanumeric() || matches!(one, '-' | '_');
    let name = if !name.is_empty() && name.chars().all(bare) {
        name.to_owned()
    } else {
        format!("{name:?}")
    };
    if path.is_empty() {
        name
    } else {
        format!("{path}.{name}")
    }
}

/// The smallest part of a document that covers a place, and its key.
struct Search {
    at: Range<usize>,
    /// Whether only tables count, not keys and other values.
    tables: bool,
    best: Option<(usize, String)>,
}

impl Search {
    fn offer(&mut self, span: &Range<usize>, path: &str) {
        let covers = span.start <= self.at.start && self.at.end <= span.end;
        if covers && self.best.as_ref().is_none_or(|(size, _)| span.len() <= *size) {
            self.best = Some((span.len(), path.to_owned()));
        }
    }

    fn key(self) -> String {
        self.best.map(|(_, path)| path).unwrap_or_default()
    }

    fn toml_table(&mut self, table: &DeTable<'_>, path: &str) {
        for (name, value) in table {
            let path = below(path, name.get_ref());
            if !self.tables || value.get_ref().is_table() {
                self.offer(&value.span(), &path);
            }
            if !self.tables {
                self.offer(&name.span(), &path);
            }
            self.toml_value(value.get_ref(), &path);
        }
    }

    fn toml_value(&mut self, value: &DeValue<'_>, path: &str) {
        match value {
            DeValue::Table(table) => self.toml_table(table, path),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    if !self.tables || item.get_ref().is_table() {
                        self.offer(&item.span(), &path);
                    }
                    self.toml_value(item.get_ref(), &path);
                }
            }
            _ => {}
        }
    }

    fn json_value(&mut self, value: &Json<'_>, path: &str) {
        self.offer(&(value.range().start..value.range().end), path);
        match value {
            Json::Object(object) => {
                for property in &object.properties {
                    let path = below(path, property.name.as_str());
                    self.offer(&(property.range.start..property.range.end), &path);
                    self.json_value(&property.value, &path);
                }
            }
            Json::Array(array) => {
                for (index, item) in array.elements.iter().enumerate() {
                    self.json_value(item, &format!("{path}[{index}]"));
                }
            }
            _ => {}
        }
    }
}

fn toml_key(text: &str, span: &Range<usize>, tables: bool) -> String {
    let mut search = Search {
        at: span.clone(),
        tables,
        best: None,
    };
    // Text that is not TOML has no keys to speak of.
    if let Ok(document) = DeTable::parse(text) {
        search.toml_table(document.get_ref(), "");
    }
    search.key()
}

fn json_key(text: &str, line: usize, column: usize) -> String {
    let before: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1))
        .map(str::len)
        .sum();
    // The reader stands behind what it could not use.
    let at = (before + column).saturating_sub(1);
    let mut search = Search {
        at: at..at + 1,
        tables: false,
        best: None,
    };
    let parsed = parse_to_ast(text, &CollectOptions::default(), &ParseOptions::default());
    if let Some(root) = parsed.ok().and_then(|parsed| parsed.value) {
        search.json_value(&root, "");
    }
    search.key()
}

/// What serde says, in words of the document.
fn plain(message: &str, format: Format) -> String {
    let found = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|start| message.strip_prefix(start)?.rsplit_once(", expected "));
    if let Some((found, expected)) = found {
        return format!("expected {}, found {}", wanted(expected, format), given(found, format));
    }
    if let Some((_, expected)) = message
        .strip_prefix("invalid length ")
        .and_then(|rest| rest.split_once(", expected "))
    {
        return format!("expected {}", wanted(expected, format));
    }
    if message.starts_with("data did not match any variant of untagged enum") {
        return "the value has a form that is not supported here".to_owned();
    }
    if let Some(name) = message.strip_prefix("missing field ") {
        return format!("{name} is missing");
    }
    if let Some(name) = message.strip_prefix("duplicate field ") {
        return format!("{name} is given twice");
    }
    for (start, what) in [("unknown field ", "key"), ("unknown variant ", "value")] {
        if let Some((name, expected)) = message.strip_prefix(start).and_then(|rest| rest.split_once(", ")) {
            return format!("{name} is not a known {what}; {expected}");
        }
    }
    match message {
        "relative URL without a base" => "expected an absolute URL such as `https://host/simple`".to_owned(),
        _ => message.to_owned(),
    }
}

fn wanted(expected: &str, format: Format) -> String {
    let (table, integer) = match format {
        Format::Toml => ("a table", "an integer"),
        Format::Json => ("an object", "an integer"),
    };
    let first = expected.split(' ').next().unwrap_or_default();
    match expected {
        "a map" | "map" => table,
        "a sequence" | "sequence" => "an array",
        "a boolean" | "a bool" => "`true` or `false`",
        "path string" | "a borrowed string" | "string" | "str" => "a string",
        "a number" | "f32" | "f64" => "a number",
        "option" | "unit" => "nothing",
        "string or table" | "string or map" => "one of the known names",
        _ if first == "struct" => table,
        _ if first == "enum" => "one of the known names",
        _ if first == "tuple" || expected.starts_with("a tuple") => "an array",
        _ if matches!(first, "i8" | "i16" | "i32" | "i64" | "isize" | "integer") => integer,
        _ if matches!(first, "u8" | "u16" | "u32" | "u64" | "usize") => "a non-negative integer",
        other => other,
    }
    .to_owned()
}

fn given(found: &str, format: Format) -> String {
    /// A text of the file that is longer says no more.
    const SHOWN: usize = 60;
    if let Some(text) = found.strip_prefix("string ") {
        let shown = !text.contains('@') && text.chars().count() <= SHOWN;
        return if shown {
            format!("the string {text}")
        } else {
            "a string".to_owned()
        };
    }
    match (found, format) {
        ("map", Format::Toml) => "a table".to_owned(),
        ("map", Format::Json) => "an object".to_owned(),
        ("sequence", _) => "an array".to_owned(),
        ("null" | "unit value" | "Option value", _) => "null".to_owned(),
        _ => {
            let found = found.replacen("floating point", "number", 1);
            format!("the {found}")
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case", deny_unknown_fields)]
    #[expect(dead_code, reason = "only refusals are looked at")]
    struct Sample {
        name: String,
        #[serde(default)]
        table: BTreeMap<String, Inner>,
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(default)]
        paths: Vec<std::path::PathBuf>,
        word: Option<Word>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only refusals are looked at")]
    struct Inner {
        size: u64,
        on: Option<bool>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Word {
        One,
        Two,
    }

    #[test]
    fn toml_is_refused_by_line_key_and_reason() {
        let rows = [
            ("name = 5", "line 1: name: expected a string, found the integer `5`"),
            (
                "name = 'x'\n[table]\nb = 1",
                "line 3: table.b: expected a table, found the integer `1`",
            ),
            (
                "name = 'x'\n[table.'a b']\nsize = 'u:p@host'",
                "line 3: table.\"a b\".size: expected a non-negative integer, found a string",
            ),
            (
                "name = 'x'\n[table.a]\nsize = -1",
                "line 3: table.a.size: expected a non-negative integer, found the integer `-1`",
            ),
            (
                "name = 'x'\ntable = []",
                "line 2: table: expected a table, found an array",
            ),
            (
                "name = 'x'\n[[list]]\nsize = 1\n[[list]]\non = true",
                "line 4: list[1]: `size` is missing",
            ),
            (
                "name = 'x'\nlist = [{ size = 1, on = 'yes' }]",
                "line 2: list[0].on: expected `true` or `false`, found the string \"yes\"",
            ),
            (
                "name = 'x'\npaths = ['a', 1]",
                "line 2: paths[1]: expected a string, found the integer `1`",
            ),
            (
                "name = 'x'\npaths = 'a'",
                "line 2: paths: expected an array, found the string \"a\"",
            ),
            (
                "name = 'x'\nword = 'three'",
                "line 2: word: `three` is not a known value; expected `one` or `two`",
            ),
            (
                "name = 'x'\nnme = 1",
                "line 2: nme: `nme` is not a known key; expected one of `name`, `table`, `list`, `paths`, `word`",
            ),
        ];
        for (text, expected) in rows {
            let error = toml::from_str::<Sample>(text).expect_err(text);
            assert_eq!(DocumentError::toml(text, &error).to_string(), expected, "{text}");
        }
        let error = toml::from_str::<Sample>("name = 'x'\n[x").expect_err("no TOML");
        let told = DocumentError::toml("name = 'x'\n[x", &error).to_string();
        assert!(told.starts_with("line 2: ") && !told.contains('\n'), "{told}");
    }

    #[test]
    fn json_is_refused_by_line_key_and_reason() {
        let rows = [
            (
                r#"{"name": 5}"#,
                "line 1: name: expected a string, found the integer `5`",
            ),
            (r#"{"name": null}"#, "line 1: name: expected a string, found null"),
            (r#"{"name": {}}"#, "line 1: name: expected a string, found an object"),
            ("[1]", "line 1: [0]: expected a string, found the integer `1`"),
            ("{\"table\": {\n\"a\": {} }}", "line 2: table.a: `size` is missing"),
            (
                "{\"list\": [{\"size\": 1},\n{\"on\": true}]}",
                "line 2: list[1]: `size` is missing",
            ),
            (
                "{\"list\": [{\"size\": 1.5}]}",
                "line 1: list[0].size: expected a non-negative integer, found the number `1.5`",
            ),
            ("{}", "line 1: `name` is missing"),
            ("", "line 1: not valid JSON: EOF while parsing a value"),
            ("{\n\"name\": x", "line 2: not valid JSON: expected value"),
        ];
        for (text, expected) in rows {
            let error = serde_json::from_str::<Sample>(text).expect_err(text);
            assert_eq!(
                DocumentError::json(text.as_bytes(), &error).to_string(),
                expected,
                "{text}"
            );
        }
    }
}
