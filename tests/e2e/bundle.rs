//! `export DIR|FILE` and `import`: what one machine packs, another one builds from without a network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::world::{Output, World, text};

mod hostile;
mod places;
mod round_trip;
mod together;

/// Another machine's project, store and cache, in the same world; no index is configured there.
pub(crate) struct Elsewhere<'a> {
    world: &'a World,
    root: PathBuf,
}

impl<'a> Elsewhere<'a> {
    pub(crate) fn new(world: &'a World, name: &str) -> Self {
        let root = world.path(name);
        fs::create_dir_all(root.join("project")).expect("a writable world");
        Self { world, root }
    }

    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.world.flambeau_command(arguments);
        command
            .env("FLAMBEAU_STORE_DIR", self.path("store"))
            .env("FLAMBEAU_CACHE_DIR", self.path("cache"))
            .env("FLAMBEAU_OFFLINE", "1")
            .env_remove("PIP_INDEX_URL")
            .env_remove("FLAMBEAU_PYTORCH_MIRROR")
            .current_dir(self.path("project"));
        command
    }

    pub(crate) fn flambeau(&self, arguments: &[&str]) -> Output {
        self.world.run(self.command(arguments))
    }

    #[track_caller]
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        self.flambeau(&[&["--json"], arguments].concat()).fails(0).json()
    }

    /// What a build without a network gives.
    #[track_caller]
    pub(crate) fn build(&self, channel: &str) -> Value {
        self.json(&["build", "--locked", "--channel", channel])
    }

    /// Wheels that are visible in the cache.
    pub(crate) fn wheels(&self) -> Vec<String> {
        let mut found = Vec::new();
        for digest in crate::steps::names(&self.path("cache/wheels")) {
            found.extend(crate::steps::names(&self.path("cache/wheels").join(digest)));
        }
        found.sort();
        found
    }
}

/// A world with an environment on the channel `cpu`, and what its build said.
pub(crate) fn built() -> Option<(World, Value)> {
    let world = World::new();
    let python = world.any_python()?;
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version])
        .ok();
    let built = world.build(&["--channel", "cpu"]);
    Some((world, built))
}

#[track_caller]
pub(crate) fn same_environment(one: &Value, other: &Value) {
    for member in ["key", "tree_digest", "packages", "target", "python"] {
        assert_eq!(one[member], other[member], "{member}");
    }
}

/// A path as an argument.
pub(crate) fn arg(path: &Path) -> &str {
    path.to_str().expect("test paths are text")
}

/// Exports to a path below the world; returns the path and the document.
#[track_caller]
pub(crate) fn export(world: &World, name: &str, flags: &[&str]) -> (PathBuf, Value) {
    let path = world.path(name);
    let arguments = [&[arg(&path), "--channel", "cpu"], flags].concat();
    let document = world.flambeau_json("export", &arguments);
    assert_eq!(text(&document, "digest").len(), 64);
    (path, document)
}
