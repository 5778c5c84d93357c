//! Real interpreters for tests: any CPython of 3.9 to 3.13 that the machine has.
//!
//! Owns: where tests look (`PATH`, pyenv's folders, the system's) and asking each once a process. Refuses: other
//! implementations, virtual environments, and shims that stand for no version at present.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The versions to look for, those with reproducible bytecode first.
const VERSIONS: [&str; 5] = ["3.11", "3.12", "3.13", "3.10", "3.9"];

/// An interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Python {
    /// The real file, free of links.
    pub(crate) path: PathBuf,
    /// `3.11`
    pub(crate) version: String,
    /// `3.11.7`
    pub(crate) full_version: String,
}

impl Python {
    /// `cp311`
    pub(crate) fn tag(&self) -> String {
        format!("cp{}", self.version.replace('.', ""))
    }
}

static FOUND: Mutex<Vec<(&'static str, Option<Python>)>> = Mutex::new(Vec::new());

/// The interpreter of a minor version.
pub(super) fn of_version(version: &str) -> Option<Python> {
    let version = *VERSIONS.iter().find(|known| **known == version)?;
    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, python)) = found.iter().find(|(known, _)| *known == version) {
        return python.clone();
    }
    let python = candidates(version).iter().find_map(|path| ask(path, version));
    found.push((version, python.clone()));
    python
}

/// Some interpreter.
pub(super) fn any() -> Option<Python> {
    VERSIONS.into_iter().find_map(of_version)
}

/// Those that were found so far.
pub(super) fn known() -> Vec<Python> {
    let found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    found.iter().filter_map(|(_, python)| python.clone()).collect()
}

/// A program on the `PATH` of the test itself.
pub(super) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
}

fn candidates(version: &str) -> Vec<PathBuf> {
    let name = format!("python{version}");
    let mut candidates: Vec<_> = pyenv_versions(version)
        .into_iter()
        .map(|folder| folder.join("bin").join(&name))
        .collect();
    candidates.extend(on_path(&name));
    candidates.extend(["/usr/bin", "/usr/local/bin"].map(|folder| Path::new(folder).join(&name)));
    // A machine may have it under the plain name alone.
    candidates.extend(on_path("python3"));
    candidates
}

fn pyenv_versions(version: &str) -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv")));
    let Some(entries) = root.and_then(|root| fs::read_dir(root.join("versions")).ok()) else {
        return Vec::new();
    };
    let prefix = format!("{version}.");
    let ours = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(&prefix))
    };
    let mut folders: Vec<_> = entries.flatten().map(|entry| entry.path()).filter(ours).collect();
    folders.sort();
    folders
}

fn ask(path: &Path, version: &str) -> Option<Python> {
    const QUESTION: &str = "import os, platform, sys\n\
        print(platform.python_implementation(), platform.python_version(), sys.prefix == sys.base_prefix,\n\
        hasattr(sys, 'abiflags') and sys.abiflags == '', os.path.realpath(sys.executable), sep='\\n')";
    let answer = Command::new(path).args(["-I", "-S", "-c", QUESTION]).output().ok()?;
    let text = String::from_utf8(answer.stdout).ok()?;
    let lines: Vec<_> = text.lines().collect();
    let [implementation, full_version, own_prefix, plain_abi, real] = lines[..] else {
        return None;
    };
    let right = implementation == "CPython" && own_prefix == "True" && plain_abi == "True";
    (right && full_version.starts_with(&format!("{version}."))).then(|| Python {
        path: PathBuf::from(real),
        version: version.to_owned(),
        full_version: full_version.to_owned(),
    })
}
