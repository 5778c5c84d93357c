//! A recorded machine: one JSON document with everything that the probes saw.
//!
//! Form: `{"schema":1,"os":…,"arch":…,"kernel":…,"env":{…},"commands":[{"argv":[…],"exit":0,"stdout":"","stderr":""}],
//! "files":{path: text},"links":{path: target},"dirs":{path: [names]},"open":{path: "ok" or the error's name}}`. A
//! command that is not listed is not there (`argv` is compared exactly), nor is a file; `"timeout": true` means that
//! it hung; folders follow from the paths, `dirs` adds names.
//! Refuses: documents of another schema.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use serde::Deserialize;

use super::host::{CommandOutcome, Host};

/// A document that is no recording.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It is no JSON of this form.
    #[error("this is not a recording of a machine")]
    Form(#[source] serde_json::Error),
    /// Another schema.
    #[error("the recording has schema {0}; this flambeau reads schema 1")]
    Schema(u64),
}

/// A recorded machine.
#[derive(Debug, Clone, Deserialize)]
pub struct ReplayHost {
    schema: u64,
    #[serde(default = "linux")]
    os: String,
    #[serde(default = "x86_64")]
    arch: String,
    #[serde(default)]
    kernel: String,
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    commands: Vec<Recorded>,
    #[serde(default)]
    files: BTreeMap<String, String>,
    #[serde(default)]
    links: BTreeMap<String, String>,
    #[serde(default)]
    dirs: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    open: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Recorded {
    argv: Vec<String>,
    #[serde(default)]
    exit: Option<i32>,
    #[serde(default)]
    stdout: String,
    #[serde(default)]
    stderr: String,
    #[serde(default)]
    timeout: bool,
}

fn linux() -> String {
    "linux".to_owned()
}

fn x86_64() -> String {
    "x86_64".to_owned()
}

impl ReplayHost {
    /// Reads a recording.
    pub fn parse(document: &[u8]) -> Result<Self, ReplayError> {
        let host: Self = serde_json::from_slice(document).map_err(ReplayError::Form)?;
        if host.schema == 1 {
            Ok(host)
        } else {
            Err(ReplayError::Schema(host.schema))
        }
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
            Some("ok") => Ok(()),
            Some(error) => Err(error.to_owned()),
            None => Err("ENOENT".to_owned()),
        }
    }

    fn run(&self, argv: &[&str]) -> CommandOutcome {
        match self.commands.iter().find(|command| command.argv == argv) {
            None => CommandOutcome::NotFound,
            Some(command) if command.timeout => CommandOutcome::TimedOut { abandoned: false },
            Some(command) => CommandOutcome::Finished {
                exit: command.exit.unwrap_or(0),
                stdout: command.stdout.clone(),
                stderr: command.stderr.clone(),
            },
        }
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
        assert!(matches!(
            ReplayHost::parse(br#"{"schema":2}"#),
            Err(ReplayError::Schema(2))
        ));
        assert!(matches!(ReplayHost::parse(b"[]"), Err(ReplayError::Form(_))));
    }
}
