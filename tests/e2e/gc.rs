//! `gc`, `pin`, `unpin` and out-links: what lives, and what goes.

mod lives;
mod races;
mod space;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::steps::names;
use crate::support::world::{World, text};

/// A small requirement, so that an environment is made quickly.
pub(crate) const SMALL: &str = "typing-extensions==4.13.2";

/// A world whose project wants one small package on the channel `cpu`.
pub(crate) fn small() -> Option<World> {
    let world = World::new();
    let python = world.any_python()?;
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version, SMALL])
        .ok();
    Some(world)
}

/// Makes the project want another set of packages, and so another key.
pub(crate) fn want(world: &World, requirements: &[&str]) {
    world
        .flambeau(&[&["lock", "--channel", "cpu"], requirements].concat())
        .ok();
}

/// Everything in the store was built and last used so long ago, in an earlier boot.
pub(crate) fn age(world: &World, days: u64) {
    let folder = world.store().join("times");
    for name in names(&folder) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let time = now.expect("after 1970").as_secs() - days * 86_400;
        let stamp = format!("{{\"schema\":1,\"time\":{time},\"boot\":\"earlier\",\"uptime\":0}}");
        fs::write(folder.join(name), stamp).expect("it is ours");
    }
}

/// Forgets the project: its folder goes, and nothing remembers it.
pub(crate) fn forget(world: &World) {
    for file in [".venv", "environment_state.json"] {
        let _absent = fs::remove_file(world.project().join(file));
    }
    let _absent = fs::remove_dir_all(world.project().join(".flambeau"));
    for name in names(&world.store().join("roots")) {
        let _folders_stay = fs::remove_file(world.store().join("roots").join(name));
    }
}

/// The names of what a document says was, or would be, deleted.
pub(crate) fn deleted(document: &Value) -> BTreeSet<String> {
    let items = document["deleted"].as_array().expect("a list");
    let names = items.iter().map(|item| {
        let path = Path::new(text(item, "path"));
        path.file_name().expect("a name").to_string_lossy().into_owned()
    });
    names.collect()
}

/// The paths of what a document says was, or would be, deleted.
pub(crate) fn paths(document: &Value, kind: &str) -> Vec<PathBuf> {
    let items = document["deleted"].as_array().expect("a list");
    let of_kind = items.iter().filter(|item| item["kind"] == kind);
    of_kind.map(|item| PathBuf::from(text(item, "path"))).collect()
}

/// The kinds of reasons for which an environment lives.
#[track_caller]
pub(crate) fn reasons(world: &World, path: &Path) -> Vec<String> {
    let document = world.flambeau_json("gc", &["--print-roots", "--older-than", "0s"]);
    let all = document["environments"].as_array().expect("a list");
    let row = all.iter().find(|row| Path::new(text(row, "path")) == path);
    let row = row.unwrap_or_else(|| panic!("{} is not in {document:#}", path.display()));
    let reasons = row["reasons"].as_array().expect("a list");
    reasons.iter().map(|reason| text(reason, "kind").to_owned()).collect()
}
