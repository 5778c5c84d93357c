//! Writing down what the probes see, so that another machine can decide from it ([`super::ReplayHost`]).
//!
//! A [`Recorder`] stands between the probes and a machine. It hands on what it writes down, scrubbed, so that the
//! decision that is printed and the one that a replay makes rest on the same bytes. Beyond what the probes happened to
//! ask it asks once for everything else that a later flambeau may want to know.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};

use super::host::{CommandOutcome, Host};
use super::{amd, nvidia, pci, scrub};

/// A machine that is being recorded.
pub struct Recorder<'a> {
    host: &'a dyn Host,
    words: Vec<String>,
    kernel: String,
    seen: RefCell<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    env: BTreeMap<String, String>,
    commands: Vec<(Vec<String>, CommandOutcome)>,
    files: BTreeMap<String, String>,
    links: BTreeMap<String, String>,
    dirs: BTreeMap<String, Vec<String>>,
    open: BTreeMap<String, String>,
}

impl<'a> Recorder<'a> {
    /// Records `host`. `words` are names that must not appear (the user's, the machine's); short ones are left alone,
    /// since they would be found in the names of GPUs.
    #[must_use]
    pub fn new(host: &'a dyn Host, words: impl IntoIterator<Item = String>) -> Self {
        Self {
            host,
            words: words.into_iter().filter(|word| word.len() >= 4).collect(),
            kernel: scrub::kernel(host.kernel()),
            seen: RefCell::default(),
        }
    }

    /// Asks for what the probes had no need of: every command and file of the form that is still unasked.
    pub fn complete(&self) {
        let hung = |tool: &str| {
            let seen = self.seen.borrow();
            let mut asked = seen
                .commands
                .iter()
                .filter(|(argv, _)| argv.first().is_some_and(|it| it == tool));
            asked.any(|(_, outcome)| matches!(outcome, CommandOutcome::TimedOut { .. }))
        };
        for argv in nvidia::COMMANDS.iter().chain(amd::COMMANDS).chain(pci::COMMANDS) {
            if !hung(argv[0]) {
                self.run(argv);
            }
        }
        for path in nvidia::FILES {
            self.read(path).ok();
        }
        for folder in ["/dev", "/sys/module"] {
            self.list(folder).ok();
        }
    }

    /// The document. Commands are in the order in which they were first run.
    #[must_use]
    pub fn document(&self) -> Value {
        let seen = self.seen.borrow();
        let commands: Vec<Value> = seen
            .commands
            .iter()
            .filter_map(|(argv, outcome)| match outcome {
                CommandOutcome::NotFound | CommandOutcome::Failed(_) => None,
                CommandOutcome::TimedOut { abandoned: false } => Some(json!({"argv": argv, "timeout": true})),
                CommandOutcome::TimedOut { abandoned: true } => {
                    Some(json!({"argv": argv, "timeout": true, "unkillable": true}))
                }
                CommandOutcome::Finished { exit, stdout, stderr } => {
                    Some(json!({"argv": argv, "exit": exit, "stdout": stdout, "stderr": stderr}))
                }
            })
            .collect();
        json!({
            "schema": 1,
            "os": self.host.os(),
            "arch": self.host.arch(),
            "kernel": self.kernel,
            "env": seen.env,
            "commands": commands,
            "files": seen.files,
            "links": seen.links,
            "dirs": seen.dirs,
            "open": seen.open,
        })
    }

    fn scrubbed(&self, text: &str) -> String {
        scrub::text(text, &self.words)
    }
}

impl Host for Recorder<'_> {
    fn read(&self, path: &str) -> io::Result<Vec<u8>> {
        let bytes = self.host.read(path)?;
        let text = self.scrubbed(&String::from_utf8_lossy(&bytes));
        self.seen.borrow_mut().files.insert(path.to_owned(), text.clone());
        Ok(text.into_bytes())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = self.host.list(path)?;
        names.retain(|name| scrub::keeps(path, name));
        names.sort();
        self.seen.borrow_mut().dirs.insert(path.to_owned(), names.clone());
        Ok(names)
    }

    fn link(&self, path: &str) -> io::Result<String> {
        let target = self.scrubbed(&self.host.link(path)?);
        self.seen.borrow_mut().links.insert(path.to_owned(), target.clone());
        Ok(target)
    }

    fn open_rw(&self, path: &str) -> Result<(), String> {
        let result = self.host.open_rw(path);
        let word = result.as_ref().map_or_else(Clone::clone, |()| "ok".to_owned());
        self.seen.borrow_mut().open.insert(path.to_owned(), word);
        result
    }

    /// Runs each command once: a second answer could differ, and a hung tool is not waited for twice.
    fn run(&self, argv: &[&str]) -> CommandOutcome {
        let known = |seen: &Seen| seen.commands.iter().find(|(asked, _)| asked == argv).cloned();
        if let Some((_, outcome)) = known(&self.seen.borrow()) {
            return outcome;
        }
        let outcome = match self.host.run(argv) {
            CommandOutcome::Finished { exit, stdout, stderr } => CommandOutcome::Finished {
                exit,
                stdout: self.scrubbed(&stdout),
                stderr: self.scrubbed(&stderr),
            },
            // A tool that cannot be started is there and fails; shells have 126 for it.
            CommandOutcome::Failed(why) => CommandOutcome::Finished {
                exit: 126,
                stdout: String::new(),
                stderr: self.scrubbed(&why),
            },
            other => other,
        };
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        self.seen.borrow_mut().commands.push((argv, outcome.clone()));
        outcome
    }

    fn var(&self, name: &str) -> Option<String> {
        let value = self.scrubbed(&self.host.var(name)?);
        self.seen.borrow_mut().env.insert(name.to_owned(), value.clone());
        Some(value)
    }

    fn os(&self) -> &str {
        self.host.os()
    }

    fn arch(&self) -> &str {
        self.host.arch()
    }

    fn kernel(&self) -> &str {
        &self.kernel
    }
}
