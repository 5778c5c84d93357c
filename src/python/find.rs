//! Where interpreters are looked for, and which of them is taken.
//!
//! In order: PATH, pyenv's versions, uv's managed Pythons, the system's folders. Folders named `shims` are never
//! asked: what a shim starts depends on the folder it is started in, and it may fail.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::{Error, Interpreter, Request, RequiredPython, base, facts};
use crate::config::Vars;

/// Minor versions whose executables are looked for by name.
const MINORS: std::ops::RangeInclusive<u8> = 8..=20;

/// An interpreter that was found and not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passed {
    /// The executable.
    pub path: PathBuf,
    /// Why not.
    pub why: String,
}

/// `; passed over: …`, or nothing.
pub(super) fn passed_over(passed: &[Passed]) -> String {
    if passed.is_empty() {
        return String::new();
    }
    let items: Vec<_> = passed
        .iter()
        .map(|item| format!("{} ({})", item.path.display(), item.why))
        .collect();
    format!("; passed over: {}", items.join(", "))
}

/// Finds interpreters.
#[derive(Debug, Clone)]
pub struct Finder {
    cache_dir: Option<PathBuf>,
    /// Whether new facts are remembered there.
    remembers: bool,
    path: Vec<PathBuf>,
    pyenv: Option<PathBuf>,
    uv: Option<PathBuf>,
    system: Vec<PathBuf>,
    required: Vec<RequiredPython>,
}

impl Finder {
    /// Looks in the places that `vars` names and in the system's; facts are remembered under `cache_dir`.
    #[must_use]
    pub fn new(vars: &Vars, cache_dir: Option<&Path>) -> Self {
        let home = vars.home();
        let uv_data = vars
            .path("XDG_DATA_HOME")
            .filter(|path| path.is_absolute())
            .or_else(|| Some(home.as_ref()?.join(".local/share")));
        Self {
            cache_dir: cache_dir.map(Path::to_owned),
            remembers: true,
            path: vars
                .os("PATH")
                .map(|path| std::env::split_paths(path).collect())
                .unwrap_or_default(),
            pyenv: vars.path("PYENV_ROOT").or_else(|| Some(home.as_ref()?.join(".pyenv"))),
            uv: vars
                .path("UV_PYTHON_INSTALL_DIR")
                .or_else(|| Some(uv_data?.join("uv/python"))),
            system: ["/usr/bin", "/usr/local/bin"]
                .iter()
                .map(PathBuf::from)
                .chain(folders(Path::new("/opt/python")))
                .collect(),
            required: Vec::new(),
        }
    }

    /// The same for a command that only looks: known facts are used, and no new ones are remembered.
    #[must_use]
    pub fn forgetful(self) -> Self {
        Self {
            remembers: false,
            ..self
        }
    }

    /// From now on [`Self::find`] takes only what `required` allows.
    #[must_use]
    pub fn requiring(mut self, required: Option<RequiredPython>) -> Self {
        self.required.extend(required);
        self
    }

    /// Forgets the system's folders, so that a test sees its own interpreters alone.
    #[cfg(test)]
    pub(super) fn without_system(&mut self) {
        self.system.clear();
    }

    /// The interpreter at `path`: an executable, or the folder of an installation or virtual environment.
    pub fn at(&self, path: &Path) -> Result<Interpreter, Error> {
        let executable = if path.is_dir() {
            ["bin/python3", "bin/python"]
                .iter()
                .map(|name| path.join(name))
                .find(|inner| inner.exists())
        } else {
            Some(path.to_owned())
        };
        let missing = || Error::Missing(path.to_owned());
        let executable = executable.ok_or_else(missing)?;
        let ask = |source| Error::Ask {
            path: executable.clone(),
            source,
        };
        let found = base::resolve(&executable).map_err(|error| ask(facts::AskError::Start(error)))?;
        let real = found.canonicalize().map_err(|_| {
            if found == executable {
                missing()
            } else {
                Error::Missing(found.clone())
            }
        })?;
        let facts = facts::facts(&real, self.cache_dir.as_deref(), self.remembers).map_err(ask)?;
        Interpreter::new(found, &real, facts).map_err(|source| Error::Unsupported {
            path: executable.clone(),
            source,
        })
    }

    /// The interpreter that `request` means. A path means exactly that; a name the first of that name; a version the
    /// newest patch level of it; a range, or nothing, the newest for which `wanted` holds (the lockfile has wheels
    /// for it), with the GIL and no pre-release where there is a choice. What is excluded is an error where it is asked
    /// for, and else passed over.
    pub fn find(&self, request: Option<&Request>, wanted: &dyn Fn(&Interpreter) -> bool) -> Result<Interpreter, Error> {
        match request {
            Some(Request::Path(path)) => return self.allowed(self.at(path)?),
            Some(Request::Name(name)) => {
                let path = self.named(name).ok_or_else(|| self.not_found(request, Vec::new()))?;
                return self.allowed(self.at(&path)?);
            }
            _ => {}
        }
        let check = !matches!(request, Some(Request::Version { .. }));
        let mut passed = Vec::new();
        let mut best: Option<Interpreter> = None;
        let mut excluded: Option<Error> = None;
        for candidate in self.candidates(request) {
            let why = match self.at(&candidate) {
                // The system's refusal says nothing about the interpreter.
                Err(error) if error.is_refusal() => return Err(error),
                Err(error) => reason(&error),
                Ok(found)
                    if request.is_some_and(|request| !request.matches(&found.version, found.python.freethreaded)) =>
                {
                    format!(
                        "Python {}{}",
                        found.version,
                        if found.python.freethreaded { "t" } else { "" }
                    )
                }
                Ok(found) if found.debug => format!("a debug build of {}", found.version),
                Ok(found) if self.excluding(&found).is_some() => {
                    let why = self
                        .excluding(&found)
                        .map(|required| format!("{required} excludes {}", found.version));
                    excluded = excluded.or(self.allowed(found).err());
                    why.unwrap_or_default()
                }
                Ok(found) if check && !wanted(&found) => format!("nothing is locked for Python {}", found.python),
                Ok(found) => {
                    // Equal ranks keep the earlier place.
                    if best.as_ref().is_none_or(|best| rank(&found) > rank(best)) {
                        best = Some(found);
                    }
                    continue;
                }
            };
            passed.push(Passed { path: candidate, why });
        }
        match (best, excluded) {
            (Some(best), _) => Ok(best),
            (None, Some(excluded)) if !check => Err(excluded),
            (None, _) => Err(self.not_found(request, passed)),
        }
    }

    fn excluding(&self, found: &Interpreter) -> Option<&RequiredPython> {
        self.required.iter().find(|required| !required.allows(&found.version))
    }

    fn allowed(&self, found: Interpreter) -> Result<Interpreter, Error> {
        match self.excluding(&found) {
            None => Ok(found),
            Some(required) => Err(Error::Excluded {
                path: found.path,
                version: found.version,
                required: required.clone(),
            }),
        }
    }

    /// The failure to find something: with what was passed over, or else with all that is here.
    fn not_found(&self, request: Option<&Request>, mut passed: Vec<Passed>) -> Error {
        if passed.is_empty() {
            passed = self
                .list()
                .into_iter()
                .map(|found| Passed {
                    why: format!("Python {}", found.version),
                    path: found.path,
                })
                .collect();
        }
        Error::NotFound {
            wanted: request.map(ToString::to_string),
            passed,
        }
    }

    /// Every usable interpreter, in the order of the places, each once.
    #[must_use]
    pub fn list(&self) -> Vec<Interpreter> {
        self.candidates(None)
            .iter()
            .filter_map(|path| self.at(path).ok())
            .collect()
    }

    /// The executables that may be meant, one for each real file, virtual environments followed to their base.
    fn candidates(&self, request: Option<&Request>) -> Vec<PathBuf> {
        let mut seen = BTreeSet::new();
        let mut found = Vec::new();
        for folder in self.folders() {
            for name in names(request) {
                let path = folder.join(name);
                // Most names are absent: one look, no more.
                if !is_program(&path) {
                    continue;
                }
                let Some(real) = base::resolve(&path).and_then(|base| base.canonicalize()).ok() else {
                    continue;
                };
                let possible = match named_minor(&real) {
                    Some((2, ..)) => false,
                    Some((_, minor, free)) => request.is_none_or(|request| request.may_match_minor(minor, free)),
                    None => true,
                };
                if possible && seen.insert(real) {
                    found.push(path);
                }
            }
        }
        found
    }

    fn folders(&self) -> Vec<PathBuf> {
        let pyenv = self.pyenv.iter().flat_map(|root| folders(&root.join("versions")));
        let uv = self.uv.iter().flat_map(|root| folders(root));
        let mut seen = BTreeSet::new();
        self.path
            .iter()
            .cloned()
            .chain(pyenv)
            .chain(uv)
            .chain(self.system.iter().cloned())
            .filter(|folder| folder.is_absolute() && folder.file_name().is_none_or(|name| name != "shims"))
            .filter(|folder| seen.insert(folder.clone()))
            .collect()
    }

    fn named(&self, name: &str) -> Option<PathBuf> {
        let commands = self.folders().into_iter().map(|folder| folder.join(name));
        let pyenv = self
            .pyenv
            .iter()
            .map(|root| root.join("versions").join(name).join("bin/python"));
        commands.chain(pyenv).find(|path| is_program(path))
    }
}

/// `*/bin` under `root`, in the order of their names.
fn folders(root: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(root)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
        .collect();
    found.sort();
    found
}

/// The names to look for: the ones that fit a known minor version first.
fn names(request: Option<&Request>) -> Vec<String> {
    let fits = |minor: u8, free: bool| request.is_none_or(|request| request.may_match_minor(minor, free));
    MINORS
        .rev()
        .flat_map(|minor| [(minor, false), (minor, true)])
        .filter(|(minor, free)| fits(*minor, *free) && (!free || *minor >= 13))
        .map(|(minor, free)| format!("python3.{minor}{}", if free { "t" } else { "" }))
        .chain(["python3".to_owned(), "python".to_owned()])
        .collect()
}

/// The version in the name of an executable: `python3.13t` is 3.13 without the GIL.
fn named_minor(path: &Path) -> Option<(u8, u8, bool)> {
    let (major, minor) = path.file_name()?.to_str()?.strip_prefix("python")?.split_once('.')?;
    let (minor, free) = minor.strip_suffix('t').map_or((minor, false), |minor| (minor, true));
    Some((major.parse().ok()?, minor.parse().ok()?, free))
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// What makes one interpreter better than another when nothing names one.
fn rank(interpreter: &Interpreter) -> (bool, bool, &crate::pep::Version) {
    (
        !interpreter.python.freethreaded,
        !interpreter.version.any_prerelease(),
        &interpreter.version,
    )
}

/// The innermost cause, which is what a list of passed-over interpreters has room for.
fn reason(error: &Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
