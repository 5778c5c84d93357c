//! From trees to a visible environment.
//!
//! Adds to the composed trees what binds them to one interpreter (`bin/python*`, `pyvenv.cfg`), the state file, and
//! the lease file outside; then commits. Nothing here depends on where the store is or who builds.

use std::collections::BTreeSet;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Python;
use serde::{Deserialize, Serialize};

use super::compose::{ComposeError, Conflict, Layout, LinkMode, compose, layout};
use super::editable::Editables;
use super::state::{self, EnvironmentState};
use super::tree::Tree;
use crate::backend::{Backend, Channel};
use crate::checkpoint;
use crate::digest::{EnvironmentKey, FileDigest, LockfileDigest};
use crate::fsx::{self, PathContext as _, PathError};
use crate::store::{Shelf, Staging, Store, StoreError, Sync, set_mode};
use crate::target::Target;

/// Why an environment could not be made visible.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Laying the trees over each other.
    #[error("cannot compose the environment")]
    Compose(#[from] ComposeError),
    /// The interpreter's path cannot stand in `pyvenv.cfg`.
    #[error("the interpreter's path {} cannot be written into pyvenv.cfg", .0.display())]
    Interpreter(PathBuf),
}

/// What an environment is, apart from its trees.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The key.
    pub key: EnvironmentKey,
    /// The backend of its torch.
    pub backend: Backend,
    /// The channel.
    pub channel: Channel,
    /// The target.
    pub target: Target,
    /// The lockfile it comes from.
    pub lockfile: LockfileDigest,
    /// Name and version of every package, sorted by name.
    pub packages: Vec<(String, String)>,
}

/// The first eight hex digits of SHA-256 over the interpreter's real path, a zero byte and its full version: two
/// interpreters never share a folder, and the key stays free of them.
fn interpreter_tag(python: &Python) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let bytes = [python.program.as_os_str().as_bytes(), &[0], python.version.as_bytes()].concat();
    let mut text = FileDigest::of(&bytes).to_string();
    text.truncate(8);
    text
}

impl Identity {
    /// The folder's name: `<key40>-torch-2.7.0-cu118-<i8>`.
    #[must_use]
    pub fn folder(&self, python: &Python) -> String {
        format!("{}-{}-{}", self.key.short(), self.label(), interpreter_tag(python))
    }

    /// `torch-2.7.0-cu118`; `env-cpu` without torch.
    fn label(&self) -> String {
        let torch = self.packages.iter().find(|(name, _)| name == "torch");
        match torch.map(|(_, version)| version.split('+').next().unwrap_or(version)) {
            Some(version) => format!("torch-{version}-{}", self.channel),
            None => format!("env-{}", self.channel),
        }
    }
}

/// What an environment is made of: kept by its commit record, so that it can be compared with that and made again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Composition {
    /// The names of its wheel trees, flambeau's own among them.
    pub trees: Vec<String>,
    /// How its files relate to them.
    pub link_mode: LinkMode,
    /// Those of lower stores whose bytecode is in this store.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bytecode_here: Vec<String>,
    /// Its state file.
    pub state: EnvironmentState,
    /// The project's own packages.
    #[serde(default, skip_serializing_if = "Editables::is_empty")]
    pub editables: Editables,
}

/// An environment that was made visible.
#[derive(Debug)]
pub struct Built {
    /// Its state.
    pub state: EnvironmentState,
    /// Paths that two packages wanted.
    pub conflicts: Vec<Conflict>,
    /// How files were linked, where not in the way that comes first, in one sentence.
    pub linked: Option<String>,
}

/// Composes and publishes. The caller holds the environment's guard. One
/// that is visible already is replaced: the caller has found that it cannot be trusted.
pub fn build(
    store: &Store,
    identity: &Identity,
    python: &Python,
    (trees, editables): (&[Tree], &Editables),
    (mode, sync): (LinkMode, Sync),
) -> Result<Built, BuildError> {
    let staging = store.stage()?;
    let prefix = staging.path();
    let (composed, linked) = lay(store, (trees, editables), prefix, mode)?;
    checkpoint::reach("env.composed");
    let conflicts = composed.conflicts.clone();
    let state = EnvironmentState {
        installed_backend: identity.backend,
        created_at: state::now(),
        python_version: python.version.clone(),
        installed_packages: identity
            .packages
            .iter()
            .map(|(name, version)| format!("{name}=={version}"))
            .collect(),
        channel: identity.channel.clone(),
        environment_key: identity.key,
        tree_digest: composed.digest,
        lockfile_digest: identity.lockfile,
        target: identity.target,
        interpreter: python.program.clone(),
        flambeau_version: env!("CARGO_PKG_VERSION").to_owned(),
        size_bytes: composed.bytes,
        conflicts: composed.conflicts.into_iter().map(Into::into).collect(),
        trees: {
            let mut names: Vec<String> = trees.iter().map(|tree| tree.name.clone()).collect();
            names.sort();
            names
        },
        lower_stores: lower_stores(store, trees),
        editables: editables.packages.clone(),
    };
    bind(prefix, &state, editables)?;
    checkpoint::reach("env.bound");
    let name = identity.folder(python) + &editables.suffix();
    create_lease(&store.lease_path(&name))?;
    checkpoint::reach("env.leased");
    let composition = Composition {
        trees: trees.iter().map(|tree| tree.name.clone()).collect(),
        link_mode: mode,
        bytecode_here: bytecode_here(store, trees),
        state: state.clone(),
        editables: editables.clone(),
    };
    publish(store, staging, &name, &composition, sync)?;
    Ok(Built {
        state,
        conflicts,
        linked,
    })
}

/// Lays trees over each other, but for those that the project's own packages replace. The digest is that of all of them.
fn lay(
    store: &Store,
    (trees, editables): (&[Tree], &Editables),
    prefix: &Path,
    mode: LinkMode,
) -> Result<(Layout, Option<String>), ComposeError> {
    let laid = editables.without_replaced(trees);
    let (mut composed, linked) = compose(store, &laid, prefix, mode)?;
    composed.conflicts.extend(editables.conflicts(&composed, &laid)?);
    if laid.len() < trees.len() {
        composed.digest = layout(store, trees, mode)?.digest;
    }
    Ok((composed, linked))
}

/// What [`build`] lays of a composition, without laying it.
/// The places name trees of `laid`: all but those that are replaced.
pub(crate) fn planned(
    store: &Store,
    composition: &Composition,
    (trees, laid): (&[Tree], &[Tree]),
) -> Result<Layout, ComposeError> {
    let mut planned = layout(store, laid, composition.link_mode)?;
    if laid.len() < trees.len() {
        planned.digest = layout(store, trees, composition.link_mode)?.digest;
    }
    Ok(planned)
}

/// The stores of others that trees are in.
fn lower_stores(store: &Store, trees: &[Tree]) -> Vec<PathBuf> {
    let lower: BTreeSet<PathBuf> = trees.iter().filter_map(|tree| tree.lower(store)).collect();
    lower.into_iter().collect()
}

/// The trees of lower stores whose bytecode is in this store.
fn bytecode_here(store: &Store, trees: &[Tree]) -> Vec<String> {
    let here = |tree: &&Tree| tree.lower(store).is_some() && tree.bytecode_is_in(store);
    trees.iter().filter(here).map(|tree| tree.name.clone()).collect()
}

/// Composes what is in an environment once more under another name, with other packages of the project's own. The caller
/// holds the guard of that name.
pub fn rebind(
    store: &Store,
    name: &str,
    (composition, trees): (&Composition, &[Tree]),
    editables: &Editables,
) -> Result<EnvironmentState, BuildError> {
    let staging = store.stage()?;
    let (prefix, mode) = (staging.path(), composition.link_mode);
    let (composed, _) = lay(store, (trees, editables), prefix, mode)?;
    let state = EnvironmentState {
        created_at: state::now(),
        flambeau_version: env!("CARGO_PKG_VERSION").to_owned(),
        size_bytes: composed.bytes,
        conflicts: composed.conflicts.into_iter().map(Into::into).collect(),
        lower_stores: lower_stores(store, trees),
        editables: editables.packages.clone(),
        ..composition.state.clone()
    };
    bind(prefix, &state, editables)?;
    create_lease(&store.lease_path(name))?;
    let composition = Composition {
        trees: composition.trees.clone(),
        link_mode: mode,
        bytecode_here: bytecode_here(store, trees),
        state: state.clone(),
        editables: editables.clone(),
    };
    publish(store, staging, name, &composition, Sync::Lazy)?;
    Ok(state)
}

/// Makes a staged environment visible. One that is visible already is swapped, so that it is never missing.
fn publish(
    store: &Store,
    mut staging: Staging,
    name: &str,
    composition: &Composition,
    sync: Sync,
) -> Result<(), BuildError> {
    // Names, text and numbers: turning them into JSON never fails.
    staging.describe(serde_json::to_value(composition).unwrap_or_default());
    staging.mark_sealed();
    Ok(store.publish(staging, Shelf::Envs, name, sync)?)
}

/// Composes an environment again from what it is made of and puts it in the place of the visible one. The caller holds
/// its guard.
pub fn recompose(store: &Store, name: &str, composition: &Composition, trees: &[Tree]) -> Result<(), BuildError> {
    let staging = store.stage()?;
    let (prefix, state) = (staging.path(), &composition.state);
    let editables = &composition.editables;
    lay(store, (trees, editables), prefix, composition.link_mode)?;
    bind(prefix, state, editables)?;
    create_lease(&store.lease_path(name))?;
    publish(store, staging, name, composition, Sync::Lazy)
}

/// The text of `pyvenv.cfg`, as PEP 405 has it; none where the interpreter's path cannot stand in it.
pub(crate) fn config_text(state: &EnvironmentState) -> Option<String> {
    let home = state.interpreter.parent().and_then(Path::to_str)?;
    (!home.contains(['\n', '\r'])).then(|| {
        format!(
            "home = {home}\nimplementation = CPython\nversion_info = {}\n\
             include-system-site-packages = false\nflambeau = {}\n",
            state.python_version, state.flambeau_version
        )
    })
}

/// The links that bind an environment to its interpreter: path below the prefix, and target.
pub(crate) fn binding_links(state: &EnvironmentState) -> [(String, PathBuf); 4] {
    [
        ("bin/python".to_owned(), state.interpreter.clone()),
        ("bin/python3".to_owned(), "python".into()),
        (format!("bin/{}", state.target.python.lib_folder()), "python".into()),
        // As venv does on 64-bit systems; some tools look there for extension modules.
        ("lib64".to_owned(), "lib".into()),
    ]
}

/// Ties the prefix to its interpreter, as PEP 405 has it, and to the project's own folders, and writes the state file.
fn bind(prefix: &Path, state: &EnvironmentState, editables: &Editables) -> Result<(), BuildError> {
    let config = config_text(state).ok_or_else(|| BuildError::Interpreter(state.interpreter.clone()))?;
    write(&prefix.join("pyvenv.cfg"), config.as_bytes())?;
    for (name, target) in binding_links(state) {
        let link = prefix.join(name);
        symlink(target, &link).at("create the symlink", &link)?;
    }
    editables.write(prefix)?;
    let bin = prefix.join("bin");
    set_mode(&bin, 0o555)?;
    write(&prefix.join(state::FILE_NAME), &state.to_bytes())?;
    // What was just written into made them newer.
    for folder in [&bin, prefix] {
        let open = std::fs::File::open(folder).at("open", folder)?;
        fsx::stamp(&open).at("set the time of", folder)?;
    }
    Ok(())
}

fn write(path: &Path, contents: &[u8]) -> Result<(), PathError> {
    use std::io::Write as _;
    let mut file = fsx::create_store_file(path, false)?;
    file.write_all(contents).at("write", path)?;
    fsx::stamp(&file).at("set the time of", path)
}

/// Processes open the lease file to hold a shared flock on it; any user may.
fn create_lease(path: &Path) -> Result<(), PathError> {
    use std::os::unix::fs::PermissionsExt as _;
    let file = std::fs::OpenOptions::new().append(true).create_new(true).open(path);
    match file {
        // Another user's lease file serves as well as ours.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).at("create", path),
        Ok(file) => {
            let mode = std::fs::Permissions::from_mode(0o644);
            file.set_permissions(mode).at("set the mode of", path)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::PythonMinor;

    #[test]
    fn folder_names_tell_key_torch_channel_and_interpreter() {
        let python = |program: &str, version: &str| Python {
            program: program.into(),
            version: version.to_owned(),
            minor: PythonMinor::new(11),
            cache_tag: "cpython-311".to_owned(),
        };
        let mut identity = Identity {
            key: EnvironmentKey::from_bytes([0xab; 32]),
            backend: Backend::Cuda,
            channel: "cu118".parse().expect("a channel"),
            target: "cp311-linux_x86_64".parse().expect("a target"),
            lockfile: LockfileDigest::of(b""),
            packages: vec![("torch".to_owned(), "2.7.0+cu118".to_owned())],
        };
        let name = identity.folder(&python("/usr/bin/python3.11", "3.11.7"));
        assert_eq!(name, format!("{}-torch-2.7.0-cu118-5e6d7ba7", "ab".repeat(20)));
        assert_ne!(identity.folder(&python("/usr/bin/python3.11", "3.11.8")), name);
        assert_ne!(identity.folder(&python("/opt/python3.11", "3.11.7")), name);
        identity.packages.clear();
        assert!(identity.folder(&python("/a", "1")).contains("-env-cu118-"));
    }
}
