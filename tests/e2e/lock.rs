//! `lock`: what is asked for, what is written, and which places are asked on the way.

#[path = "lock/document.rs"]
mod document;
#[path = "lock/places.rs"]
mod places;

use crate::support::world::{Output, World};

const CPU: &str = "lockfiles/pylock.cpu.toml";

/// The lockfile of a channel, parsed.
fn document(world: &World, channel: &str) -> toml::Table {
    world
        .read(format!("lockfiles/pylock.{channel}.toml"))
        .parse()
        .unwrap_or_else(|error| panic!("the lockfile of {channel} is no TOML: {error}"))
}

/// `name==version` of every package.
fn pins(world: &World, channel: &str) -> Vec<String> {
    let document = document(world, channel);
    let packages = document["packages"].as_array().expect("packages");
    packages
        .iter()
        .map(|package| format!("{}=={}", text(&package["name"]), text(&package["version"])))
        .collect()
}

fn text(value: &toml::Value) -> &str {
    value.as_str().expect("a text")
}

/// The requirements and targets that a lockfile holds.
fn held(world: &World, channel: &str) -> (Vec<String>, Vec<String>) {
    let document = document(world, channel);
    let ours = &document["tool"]["flambeau"];
    let list = |value: &toml::Value| value.as_array().expect("a list").clone();
    let requirements = list(&ours["requirements"])
        .iter()
        .map(|one| text(one).to_owned())
        .collect();
    let targets = list(&ours["targets"])
        .iter()
        .map(|one| text(&one["target"]).to_owned())
        .collect();
    (requirements, targets)
}

fn lock(world: &World, arguments: &[&str]) -> Output {
    world.flambeau(&[&["lock"], arguments].concat())
}
