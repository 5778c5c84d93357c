//! `entry_points.txt` (the entry points specification) and the scripts that flambeau writes for it.
//!
//! Scripts start the environment's own Python through a relative `/bin/sh` line, so that a tree does not depend on
//! where the store is, and a script that is started through `.venv` starts `.venv/bin/python`.
//! Refuses: script names that are no file names, or that would shadow the interpreter; references that are not
//! `module:attribute`.

use crate::relpath::RelPath;

/// A console or gui script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// The file name under `bin/`.
    pub name: String,
    module: String,
    attribute: String,
}

/// An entry point that is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryPointError {
    /// A line that is neither a section, an assignment, a comment nor empty.
    #[error("entry_points.txt line {line} is not understood: `{}`", text.escape_debug())]
    Line {
        /// Line number, from 1.
        line: usize,
        /// The line.
        text: String,
    },
    /// A name that may not stand under `bin/`.
    #[error("entry point `{}` cannot be a script: {reason}", name.escape_debug())]
    Name {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// A reference that cannot be imported.
    #[error("entry point `{name}` refers to `{}`, which is no `module:attribute`", reference.escape_debug())]
    Reference {
        /// The script's name.
        name: String,
        /// The text.
        reference: String,
    },
    /// One name twice.
    #[error("entry point `{0}` stands there twice")]
    Twice(String),
}

/// Reads the console and gui scripts, sorted by name.
pub fn parse(text: &str) -> Result<Vec<Script>, EntryPointError> {
    let mut scripts: Vec<Script> = Vec::new();
    let mut wanted = false;
    for (index, raw) in text.lines().enumerate() {
        let line = raw.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            wanted = matches!(section.trim(), "console_scripts" | "gui_scripts");
            continue;
        }
        if !wanted {
            continue;
        }
        let (name, reference) = line.split_once('=').ok_or_else(|| EntryPointError::Line {
            line: index + 1,
            text: line.chars().take(120).collect(),
        })?;
        let script = script(name.trim(), reference.trim())?;
        if scripts.iter().any(|other| other.name == script.name) {
            return Err(EntryPointError::Twice(script.name));
        }
        scripts.push(script);
    }
    scripts.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(scripts)
}

fn script(name: &str, reference: &str) -> Result<Script, EntryPointError> {
    check_name(name)?;
    let bad = || EntryPointError::Reference {
        name: name.to_owned(),
        reference: reference.to_owned(),
    };
    // `module:attribute [extra1, extra2]`: the extras say when it is useful, not when it is installed.
    let object = reference.split_once('[').map_or(reference, |(object, _)| object).trim();
    let (module, attribute) = object.split_once(':').ok_or_else(bad)?;
    let (module, attribute) = (module.trim(), attribute.trim());
    let dotted = |text: &str| text.split('.').all(is_identifier);
    if !dotted(module) || !dotted(attribute) {
        return Err(bad());
    }
    Ok(Script {
        name: name.to_owned(),
        module: module.to_owned(),
        attribute: attribute.to_owned(),
    })
}

pub(crate) fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && chars.all(|other| other.is_alphanumeric() || other == '_')
}

/// Checks a name that is to stand under `bin/`.
pub fn check_name(name: &str) -> Result<(), EntryPointError> {
    let refuse = |reason| {
        Err(EntryPointError::Name {
            name: name.to_owned(),
            reason,
        })
    };
    if RelPath::new(name).is_err() || name.contains('/') {
        return refuse("it is no file name");
    }
    let lower = name.to_ascii_lowercase();
    let versioned = lower.strip_prefix("python").is_some_and(|rest| {
        rest.chars()
            .all(|digit| digit.is_ascii_digit() || matches!(digit, '.' | 't' | 'w'))
    });
    if versioned {
        return refuse("it would shadow the interpreter");
    }
    Ok(())
}

/// The first lines of every script: a `/bin/sh` program that is a string to Python. It follows links to the script
/// itself (a link to it in another folder) until it is in an environment, where it may be a link into a wheel tree;
/// starts the `python` beside it, and runs no other program on the way.
/// `.venv` is left unresolved, so that the process finds its project; the start-up hook resolves it once.
pub const SCRIPT_HEAD: &str = r#"#!/bin/sh
'''':
s=$0
case $s in */*) ;; *) s=./$s ;; esac
while [ -h "$s" ] && [ ! -e "${s%/*}/../pyvenv.cfg" ]; do
t=$(readlink "$s")
case $t in /*) s=$t ;; *) s=${s%/*}/$t ;; esac
done
exec "${s%/*}/python" "$0" "$@"
'''
"#;

impl Script {
    /// A launcher of flambeau's own.
    pub(crate) fn of(name: &str, module: &str, attribute: &str) -> Self {
        Self {
            name: name.to_owned(),
            module: module.to_owned(),
            attribute: attribute.to_owned(),
        }
    }

    /// The script file.
    #[must_use]
    pub fn contents(&self) -> Vec<u8> {
        let Self { module, attribute, .. } = self;
        let top = attribute.split('.').next().unwrap_or(attribute);
        format!(
            "{SCRIPT_HEAD}import sys\nfrom {module} import {top}\nif __name__ == \"__main__\":\n    \
             sys.exit({attribute}())\n"
        )
        .into_bytes()
    }
}

/// The first line of a Python script that a wheel brings (`.data/scripts`). It is one line, so that everything below
/// stays where it was: a coding line in line 2, a docstring, `from __future__`. It starts the `python` beside the
/// script, or beside what a link to the script leads to. Every system with glibc 2.28 has an `env` that knows `-S`, and
/// the line is shorter than the 127 bytes that older kernels read.
pub const SCRIPT_LINE: &str = concat!(
    "#!/usr/bin/env -S sh -c 'p=$0;[ -e \"${p%/*}/../pyvenv.cfg\" ]||p=$(readlink -f \"$p\");",
    "exec \"${p%/*}/python\" \"$0\" \"$@\"'\n"
);

/// How many bytes of a script [`is_python_script`] needs.
pub const SCRIPT_START: usize = "#!python".len();

/// Whether a `.data/scripts` file asks for the environment's Python (PEP 427: `#!python`, `#!pythonw`).
#[must_use]
pub fn is_python_script(start: &[u8]) -> bool {
    start.starts_with(b"#!python")
}

/// The installed form of such a script: its first line is replaced by [`SCRIPT_LINE`], the rest is kept to the byte.
#[must_use]
pub fn rewrite_script(contents: &[u8]) -> Vec<u8> {
    let end = contents
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(contents.len(), |newline| newline + 1);
    [SCRIPT_LINE.as_bytes(), &contents[end..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_are_read() {
        let text =
            "# c\n[console_scripts]\ntorchrun = torch.distributed.run:main\nx=a.b:C.d [extra]\n\n[other]\nz = 1\n";
        let scripts = parse(text).expect("good");
        assert_eq!(
            scripts.iter().map(|script| script.name.as_str()).collect::<Vec<_>>(),
            ["torchrun", "x"]
        );
        let body = String::from_utf8(scripts[1].contents()).expect("text");
        assert!(
            body.contains("from a.b import C\n") && body.contains("sys.exit(C.d())"),
            "{body}"
        );
    }

    #[test]
    fn bad_entry_points_are_refused() {
        for line in [
            "../x = a:b",
            "python3.11 = a:b",
            "a/b = a:b",
            "x = a",
            "x = a;import os:b",
            "x = a:b()",
            "x",
            "PYTHON = a:b",
        ] {
            assert!(parse(&format!("[console_scripts]\n{line}\n")).is_err(), "{line}");
        }
        assert!(parse("[console_scripts]\na = b:c\na = b:d\n").is_err(), "twice");
        assert!(check_name("python-argcomplete-check-easy-install-script").is_ok());
    }

    #[test]
    fn only_the_first_line_of_python_scripts_changes() {
        assert!(is_python_script(b"#!python -u\n") && is_python_script(b"#!pythonw"));
        assert!(!is_python_script(b"#!/bin/sh\n") && !is_python_script(b""));
        let body = rewrite_script(b"#!python -u\n# -*- coding: latin-1 -*-\nprint(1)\n");
        assert_eq!(
            body,
            [SCRIPT_LINE.as_bytes(), b"# -*- coding: latin-1 -*-\nprint(1)\n"].concat()
        );
        assert_eq!(rewrite_script(b"#!pythonw"), SCRIPT_LINE.as_bytes());
        assert!(SCRIPT_LINE.len() <= 127, "{}", SCRIPT_LINE.len());
    }
}
