//! A recorded machine: one JSON document with everything that the probes saw.
//!
//! Form: `{"schema":1,"os":…,"arch":…,"kernel":…,"env":{…},"commands":[{"argv":[…],"exit":0,"stdout":"","stderr":""}],
//! "files":{path: text},"links":{path: target},"dirs":{path: [names]},"open":{path: "ok" or the error's name}}`. A
//! command that is not listed is not there (`argv` is compared exactly), nor is a file; `"timeout": true` means that
//! it hung (`"unkillable": true`: and could not even be killed); folders follow from the paths, `dirs` adds names.
//! What is missing is empty, what is unknown is ignored, and a member of the wrong sort counts as missing: recordings
//! come from other people's machines and hands.
//! Refuses: text that is no JSON object, and documents of another schema.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde_json::{Map, Value};

use crate::document::DocumentError;

use super::host::{CommandOutcome, Host, shown};

/// A document that is no recording.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It is no JSON.
    #[error("this is not a recording of a machine")]
    Form(#[source] DocumentError),
    /// It is JSON of another sort.
    #[error("this is not a recording of a machine: it is JSON, and no object")]
    NoObject,
    /// Another schema.
    #[error("the recording has schema {0}; this flambeau reads schema 1")]
    Schema(String),
}

/// A recorded machine.
#[derive(Debug, Clone, Default)]
pub struct ReplayHost {
    os: String,
    arch: String,
    kernel: String,
    env: BTreeMap<String, String>,
    commands: Vec<Recorded>,
    files: BTreeMap<String, String>,
    links: BTreeMap<String, String>,
    dirs: BTreeMap<String, Vec<String>>,
    open: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
struct Recorded {
    argv: Vec<String>,
    outcome: CommandOutcome,
}

impl Recorded {
    fn parse(value: &Value) -> Option<Self> {
        let argv: Option<Vec<String>> = value.get("argv")?.as_array()?.iter().map(text).collect();
        let flag = |name: &str| value.get(name).and_then(Value::as_bool).unwrap_or(false);
        let output = |name: &str| value.get(name).and_then(text).unwrap_or_default();
        let outcome = if flag("timeout") {
            CommandOutcome::TimedOut {
                abandoned: flag("unkillable"),
            }
        } else {
            CommandOutcome::Finished {
                exit: value
                    .get("exit")
                    .and_then(Value::as_i64)
                    .and_then(|exit| i32::try_from(exit).ok())
                    .unwrap_or(0),
                stdout: output("stdout"),
                stderr: output("stderr"),
            }
        };
        Some(Self { argv: argv?, outcome })
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// The members of an object whose values are text.
fn texts(document: &Map<String, Value>, name: &str) -> BTreeMap<String, String> {
    let members = document.get(name).and_then(Value::as_object).into_iter().flatten();
    members
        .filter_map(|(key, value)| Some((key.clone(), text(value)?)))
        .collect()
}

/// The names that Rust gives to systems and processors; recordings may have those of Python or of Windows.
fn normal(name: &str) -> String {
    let name = shown(name).to_ascii_lowercase();
    match name.as_str() {
        "darwin" => "macos".to_owned(),
        "win32" => "windows".to_owned(),
        "amd64" | "x64" | "x86-64" => "x86_64".to_owned(),
        "arm64" => "aarch64".to_owned(),
        _ => name,
    }
}

impl ReplayHost {
    /// Reads a recording.
    pub fn parse(document: &[u8]) -> Result<Self, ReplayError> {
        let document = String::from_utf8_lossy(document);
        let document = document.trim_start_matches('\u{feff}');
        let value: Value = serde_json::from_str(document)
            .map_err(|error| ReplayError::Form(DocumentError::json(document.as_bytes(), &error)))?;
        let Value::Object(document) = value else {
            return Err(ReplayError::NoObject);
        };
        match document.get("schema") {
            None => {}
            Some(schema) if schema.as_f64() == Some(1.0) => {}
            Some(schema) => return Err(ReplayError::Schema(schema.to_string().chars().take(40).collect())),
        }
        let word = |name: &str| document.get(name).and_then(text);
        let dirs = document.get("dirs").and_then(Value::as_object).into_iter().flatten();
        let names = |value: &Value| Some(value.as_array()?.iter().filter_map(text).collect());
        let commands = document.get("commands").and_then(Value::as_array).into_iter().flatten();
        Ok(Self {
            os: word("os").map_or_else(|| "linux".to_owned(), |os| normal(&os)),
            arch: word("arch").map_or_else(|| "x86_64".to_owned(), |arch| normal(&arch)),
            kernel: word("kernel").unwrap_or_default(),
            env: texts(&document, "env"),
            commands: commands.filter_map(Recorded::parse).collect(),
            files: texts(&document, "files"),
            links: texts(&document, "links"),
            dirs: dirs
                .filter_map(|(path, value)| Some((path.trim_end_matches('/').to_owned(), names(value)?)))
                .collect(),
            open: texts(&document, "open"),
        })
    }

    fn paths(&self) -> impl Iterator<Item = &String> {
        let present = self
            .open
            .iter()
            .filter(|(_, result)| *result != "ENOENT")
            .map(|(path, _)| path);
        self.files.keys().chain(self.links.keys()).chain(present)
    }
}

fn absent() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Host for ReplayHost {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        self.files
            .get(path)
            .map(|text| text.clone().into_bytes())
            .ok_or_else(absent)
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let folder = format!("{}/", path.trim_end_matches('/'));
        let implied = self
            .paths()
            .chain(self.dirs.keys())
            .filter_map(|path| path.strip_prefix(&folder)?.split('/').next());
        let listed = self.dirs.get(path);
        let names: BTreeSet<&str> = implied
            .chain(listed.into_iter().flatten().map(String::as_str))
            .collect();
        if names.is_empty() && listed.is_none() {
            return Err(absent());
        }
        Ok(names
            .into_iter()
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect())
    }

    fn link(&self, path: &str) -> io::Result<String> {
        self.links.get(path).cloned().ok_or_else(absent)
    }

    fn open_rw(&self, path: &str) -> Result<(), String> {
        match self.open.get(path).map(String::as_str) {
            Some(result) if result.eq_ignore_ascii_case("ok") => Ok(()),
            Some(error) => Err(error.chars().take(40).collect()),
            None => Err("ENOENT".to_owned()),
        }
    }

    fn run(&self, argv: &[&str]) -> CommandOutcome {
        self.commands
            .iter()
            .find(|command| command.argv == argv)
            .map_or(CommandOutcome::NotFound, |command| command.outcome.clone())
    }

    fn var(&self, name: &str) -> Option<String> {
        self.env.get(name).cloned()
    }

    fn os(&self) -> &str {
        &self.os
    }

    fn arch(&self) -> &str {
        &self.arch
    }

    fn kernel(&self) -> &str {
        &self.kernel
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_is_not_there() {
        let host = ReplayHost::parse(
            br#"{"schema":1,"kernel":"6.8","env":{"A":""},
                "commands":[{"argv":["a","b"],"exit":2,"stdout":"x"},{"argv":["h"],"timeout":true}],
                "files":{"/sys/d/0/class":"0x03"},"links":{"/sys/d/0/driver":"../nvidia"},
                "dirs":{"/dev":["dri"]},"open":{"/dev/kfd":"EACCES","/dev/none":"ENOENT"}}"#,
        )
        .expect("a recording");
        assert_eq!(
            host.run(&["a", "b"]),
            CommandOutcome::Finished {
                exit: 2,
                stdout: "x".to_owned(),
                stderr: String::new()
            }
        );
        assert_eq!(host.run(&["a"]), CommandOutcome::NotFound);
        assert_eq!(host.run(&["h"]), CommandOutcome::TimedOut { abandoned: false });
        assert_eq!(host.list("/sys/d").expect("implied"), ["0"]);
        assert_eq!(host.list("/sys/d/0").expect("implied"), ["class", "driver"]);
        assert_eq!(host.list("/dev").expect("named"), ["dri", "kfd"]);
        assert!(host.list("/proc").is_err() && host.read("/proc").is_err() && host.link("/sys/d").is_err());
        assert_eq!(host.open_rw("/dev/kfd"), Err("EACCES".to_owned()));
        assert_eq!(host.open_rw("/dev/x"), Err("ENOENT".to_owned()));
        assert_eq!(
            (host.os(), host.arch(), host.var("A").as_deref()),
            ("linux", "x86_64", Some(""))
        );
    }

    #[test]
    fn other_documents_are_refused() {
        let refused = |text: &[u8]| ReplayHost::parse(text).expect_err("no recording").to_string();
        assert_eq!(
            refused(br#"{"schema":2}"#),
            "the recording has schema 2; this flambeau reads schema 1"
        );
        for schema in ["0", "\"1\"", "null", "1.5"] {
            assert!(refused(format!("{{\"schema\":{schema}}}").as_bytes()).contains(schema));
        }
        assert!(matches!(ReplayHost::parse(b"[]"), Err(ReplayError::NoObject)));
        let deep = "[".repeat(100_000);
        for text in ["", "{", "\u{0}", "nonsense", &deep] {
            assert!(matches!(ReplayHost::parse(text.as_bytes()), Err(ReplayError::Form(_))));
        }
    }

    #[test]
    fn what_is_of_the_wrong_sort_counts_as_missing() {
        for text in [
            "{}",
            r#"{"schema":1.0,"os":null,"env":7,"commands":{"argv":1},"files":[],"links":"x","dirs":{"/dev":3},"open":null}"#,
            r#"{"commands":[null,7,{},{"argv":"a"},{"argv":[1]}],"files":{"/a":5,"/b":null}}"#,
        ] {
            let host = ReplayHost::parse(text.as_bytes()).expect("a recording");
            assert_eq!((host.os(), host.arch(), host.kernel()), ("linux", "x86_64", ""));
            assert_eq!(host.run(&["a"]), CommandOutcome::NotFound);
            assert!(host.read("/a").is_err() && host.list("/dev").is_err());
        }
        let other = ReplayHost::parse(
            b"\xef\xbb\xbf{\"os\":\"Darwin\",\"arch\":\"ARM64\",\"new\":[1],\"files\":{\"/a\":\"\xff\"}}",
        );
        let other = other.expect("a recording");
        assert_eq!((other.os(), other.arch()), ("macos", "aarch64"));
        assert_eq!(other.read("/a").expect("a file"), "\u{fffd}".as_bytes());
        let odd = ReplayHost::parse(br#"{"commands":[{"argv":["a"],"exit":99999999999,"stdout":3}]}"#);
        assert_eq!(
            odd.expect("a recording").run(&["a"]),
            CommandOutcome::Finished {
                exit: 0,
                stdout: String::new(),
                stderr: String::new()
            }
        );
    }
}
