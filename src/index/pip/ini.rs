//! The INI form of pip's configuration files, as Python's `configparser` reads it.
//!
//! Sections in brackets, `key = value` or `key: value`, full-line comments with `#` or `;`, values that go on in
//! indented lines. Keys are compared as pip does: lower case, `_` like `-`. Refuses what `configparser` refuses.

use std::collections::BTreeMap;

/// Values by section and key. A value of several lines keeps its line breaks.
pub(super) type Ini = BTreeMap<(String, String), String>;

/// A line that is no INI.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} is neither a section nor a setting: `{text}`")]
pub struct IniError {
    /// Its number, from 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

/// Reads a file's text.
pub(super) fn parse(text: &str) -> Result<Ini, IniError> {
    let mut ini = Ini::new();
    let mut section: Option<String> = None;
    // The setting that an indented line continues, and how far its own line was indented.
    let mut open: Option<((String, String), usize)> = None;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let content = line.trim();
        if content.starts_with(['#', ';']) {
            continue;
        }
        if content.is_empty() {
            if let Some(value) = open.as_ref().and_then(|(key, _)| ini.get_mut(key)) {
                value.push('\n');
            }
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        if let Some(value) = open
            .as_ref()
            .filter(|(_, base)| indent > *base)
            .and_then(|(key, _)| ini.get_mut(key))
        {
            value.push('\n');
            value.push_str(content);
            continue;
        }
        let error = || IniError {
            line: index + 1,
            text: content.chars().take(80).collect(),
        };
        if let Some(rest) = content.strip_prefix('[') {
            let (name, _) = rest.rsplit_once(']').ok_or_else(error)?;
            section = Some(name.to_owned());
            open = None;
        } else {
            let section = section.clone().ok_or_else(error)?;
            let at = content.find(['=', ':']).filter(|&at| at > 0).ok_or_else(error)?;
            let key = (section, normal_key(&content[..at]));
            ini.insert(key.clone(), content[at + 1..].trim().to_owned());
            open = Some((key, indent));
        }
    }
    for value in ini.values_mut() {
        value.truncate(value.trim_end().len());
    }
    Ok(ini)
}

/// A key as pip compares it.
fn normal_key(key: &str) -> String {
    let key = key.trim().to_lowercase().replace('_', "-");
    key.strip_prefix("--").unwrap_or(&key).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(ini: &Ini, section: &str, key: &str) -> Option<String> {
        ini.get(&(section.to_owned(), key.to_owned())).cloned()
    }

    #[test]
    fn the_forms_of_configparser_are_read() {
        let ini = parse(
            "\u{feff}# comment\n[global]\nIndex_URL = https://example.org/a=b\n; comment\ntimeout: 60\n\
             find-links =\n    https://example.org/one\n    # comment\n\n    /srv/two\nempty =\nno_index=true\n\
             [install]\n  trusted-host = a\n  --cert = /x\n    y\n",
        )
        .expect("sound");
        assert_eq!(
            value(&ini, "global", "index-url").as_deref(),
            Some("https://example.org/a=b")
        );
        assert_eq!(value(&ini, "global", "timeout").as_deref(), Some("60"));
        let links = value(&ini, "global", "find-links").expect("there");
        assert_eq!(
            links.split_whitespace().collect::<Vec<_>>(),
            ["https://example.org/one", "/srv/two"]
        );
        assert_eq!(value(&ini, "global", "empty").as_deref(), Some(""));
        assert_eq!(value(&ini, "global", "no-index").as_deref(), Some("true"));
        assert_eq!(value(&ini, "install", "trusted-host").as_deref(), Some("a"));
        assert_eq!(value(&ini, "install", "cert").as_deref(), Some("/x\ny"));
    }

    #[test]
    fn what_is_no_ini_names_its_line() {
        for (text, line) in [
            ("key = value", 1),
            ("[global]\nnonsense", 2),
            ("[global\n", 1),
            ("[global]\n\n= value", 3),
        ] {
            assert_eq!(parse(text).expect_err(text).line, line, "{text}");
        }
    }
}
