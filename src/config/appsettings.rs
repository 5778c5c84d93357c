//! `appsettings.json` and the `Ingest_…` variable, by the rules of .NET's configuration.
//!
//! Owns: one setting, `Upscaler:PreferredGpuBackend`. Names are compared without regard to case; sections may be
//! nested objects or joined by `:` in one name (`__` too in variables); comments, trailing commas and a UTF-8 byte
//! order mark are allowed; of several values the last counts; null and the empty text mean unset.
//! Refuses: a value that is no text, and (in the caller, which knows the four) a text that names no backend.

use std::path::{Path, PathBuf};

use jsonc_parser::ast::Value;
use jsonc_parser::{CollectOptions, ParseOptions, parse_to_ast};

use crate::fsx::{PathError, read_if_exists};

/// The setting's name in JSON, in lower case.
const SETTING: &str = "upscaler:preferredgpubackend";
/// The setting's name as an environment variable, in lower case, with its prefix.
const VARIABLE: &str = "ingest_upscaler:preferredgpubackend";

/// Why `appsettings.json` says nothing usable.
#[derive(Debug, thiserror::Error)]
pub enum AppSettingsError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] PathError),
    /// `--config` named a file that does not exist.
    #[error("there is no configuration file {}", .0.display())]
    Missing(PathBuf),
    /// It is no UTF-8 text.
    #[error("{} is not UTF-8 text", .0.display())]
    Encoding(PathBuf),
    /// It is no JSON.
    #[error("{} is not valid JSON", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: jsonc_parser::errors::ParseError,
    },
    /// It is JSON, but no object.
    #[error("{} does not hold a JSON object", .0.display())]
    NoObject(PathBuf),
    /// The setting is no text.
    #[error(
        "{}:{line}: Upscaler:PreferredGpuBackend must be a text, one of \"Auto\", \"CUDA\", \"ROCm\", \"CPU\"",
        path.display()
    )]
    NotText {
        /// The file.
        path: PathBuf,
        /// The line of the value, from 1.
        line: usize,
    },
}

/// A value and the line that it stands on, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) value: String,
    pub(super) line: usize,
}

/// Reads the preferred backend from `path`, as text; `None` where the file or the setting is absent or empty.
pub(super) fn read(path: &Path, must_exist: bool) -> Result<Option<Setting>, AppSettingsError> {
    let Some(bytes) = read_if_exists(path)? else {
        return if must_exist {
            Err(AppSettingsError::Missing(path.to_owned()))
        } else {
            Ok(None)
        };
    };
    let text = String::from_utf8(bytes).map_err(|_| AppSettingsError::Encoding(path.to_owned()))?;
    parse(text.strip_prefix('\u{feff}').unwrap_or(&text), path)
}

fn parse(text: &str, path: &Path) -> Result<Option<Setting>, AppSettingsError> {
    // Exactly the leniency of .NET's reader, not that of JSON5.
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    let document =
        parse_to_ast(text, &CollectOptions::default(), &options).map_err(|source| AppSettingsError::Syntax {
            path: path.to_owned(),
            source,
        })?;
    let Some(root @ Value::Object(_)) = document.value else {
        return Err(AppSettingsError::NoObject(path.to_owned()));
    };
    let mut found = None;
    find(&root, "", &mut found);
    let Some((value, offset)) = found else {
        return Ok(None);
    };
    let line = 1 + text[..offset].matches('\n').count();
    match value {
        Value::NullKeyword(_) => Ok(None),
        Value::StringLit(text) if text.value.is_empty() => Ok(None),
        Value::StringLit(text) => Ok(Some(Setting {
            value: text.value.clone().into_owned(),
            line,
        })),
        _ => Err(AppSettingsError::NotText {
            path: path.to_owned(),
            line,
        }),
    }
}

/// Walks towards the setting through nested objects and joined names; the last one found stays in `found`.
fn find<'a, 'text>(value: &'a Value<'text>, name: &str, found: &mut Option<(&'a Value<'text>, usize)>) {
    use jsonc_parser::common::Ranged as _;

    if name == SETTING {
        *found = Some((value, value.range().start));
    } else if let Value::Object(object) = value
        && (name.is_empty() || SETTING.strip_prefix(name).is_some_and(|rest| rest.starts_with(':')))
    {
        for property in &object.properties {
            let key = property.name.as_str().to_ascii_lowercase();
            let name = if name.is_empty() { key } else { format!("{name}:{key}") };
            find(&property.value, &name, found);
        }
    }
}

/// Whether the environment variable `name` is the setting: `Ingest_Upscaler__PreferredGpuBackend` without regard to
/// case, with `__` or `:` between the sections.
pub(super) fn is_variable(name: &str) -> bool {
    name.replace("__", ":").eq_ignore_ascii_case(VARIABLE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> Result<Option<String>, String> {
        parse(text, Path::new("appsettings.json"))
            .map(|setting| setting.map(|setting| format!("{}@{}", setting.value, setting.line)))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_rules_of_dotnet() {
        let rows = [
            (r#"{"Upscaler": {"PreferredGpuBackend": "CUDA"}}"#, Some("CUDA@1")),
            (
                "{\n // c\n \"upscaler\": { /* d */ \"PREFERREDGPUBACKEND\": \"rocm\", },\n}",
                Some("rocm@3"),
            ),
            (r#"{"Upscaler:PreferredGpuBackend": "CPU"}"#, Some("CPU@1")),
            (
                r#"{"Upscaler": {"PreferredGpuBackend": "CPU"}, "upscaler:preferredgpubackend": "Auto"}"#,
                Some("Auto@1"),
            ),
            (r#"{"Upscaler": {"PreferredGpuBackend": ""}}"#, None),
            (r#"{"Upscaler": {"PreferredGpuBackend": null}}"#, None),
            (
                r#"{"Upscaler": {"PreferredGpuBackend": "CUDA", "preferredGpuBackend": null}}"#,
                None,
            ),
            (r#"{"Upscaler": "text", "Logging": {"PreferredGpuBackend": 1}}"#, None),
            (r#"{"UpscalerX": {"PreferredGpuBackend": "CPU"}}"#, None),
            ("{}", None),
        ];
        for (text, expected) in rows {
            assert_eq!(value(text), Ok(expected.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn what_is_refused() {
        for (text, expected) in [
            (
                r#"{"Upscaler": {"PreferredGpuBackend": true}}"#,
                "appsettings.json:1: Upscaler:PreferredGpuBackend must be a text",
            ),
            (
                "{\"Upscaler\":\n{\"PreferredGpuBackend\": {\"x\": 1}}}",
                "appsettings.json:2: Upscaler:PreferredGpuBackend must be a text",
            ),
            ("[]", "appsettings.json does not hold a JSON object"),
            ("", "appsettings.json does not hold a JSON object"),
            (r"{'Upscaler': {}}", "appsettings.json is not valid JSON"),
            (r#"{"Upscaler": {}"#, "appsettings.json is not valid JSON"),
            (r#"{"a": 1 "b": 2}"#, "appsettings.json is not valid JSON"),
        ] {
            let error = value(text).expect_err(text);
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_byte_order_mark_is_allowed() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("appsettings.json");
        std::fs::write(&path, "\u{feff}{\"Upscaler\": {\"PreferredGpuBackend\": \"CPU\"}}").expect("written");
        assert_eq!(read(&path, false).expect("readable").expect("set").value, "CPU");
        assert!(read(&folder.path().join("none"), false).expect("absent").is_none());
        assert!(matches!(
            read(&folder.path().join("none"), true),
            Err(AppSettingsError::Missing(_))
        ));
    }

    #[test]
    fn variable_names_ignore_case() {
        for name in [
            "Ingest_Upscaler__PreferredGpuBackend",
            "INGEST_UPSCALER__PREFERREDGPUBACKEND",
            "Ingest_Upscaler:PreferredGpuBackend",
        ] {
            assert!(is_variable(name), "{name}");
        }
        for name in ["Ingest_Upscaler_PreferredGpuBackend", "Upscaler__PreferredGpuBackend"] {
            assert!(!is_variable(name), "{name}");
        }
    }
}
