//! Threads and processes that the system refuses: fewer do the work, or it is said; nothing hangs and nothing panics.

use std::process::Command;

use crate::steps::{skip, tool};
use crate::support::world::World;

/// The command, ended after two minutes with exit code 124: one that hangs fails its test.
pub(crate) fn bounded(world: &World, command: &Command) -> Option<Command> {
    let mut bounded = world.command(tool("timeout")?);
    bounded
        .args(["--kill-after=5", "120"])
        .arg(command.get_program())
        .args(command.get_args());
    bounded.current_dir(command.get_current_dir()?);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(name, value),
            None => bounded.env_remove(name),
        };
    }
    Some(bounded)
}

#[test]
fn f80_every_verb_works_with_however_few_threads() {
    let mut world = World::new();
    let Some(python) = world.any_python() else { return };
    for threads in [0, 1, 2, 3, 5, 8, 13] {
        world.set("FLAMBEAU_THREADS", threads.to_string());
        let (store, cache) = (
            world.path(format!("store{threads}")),
            world.path(format!("cache{threads}")),
        );
        let (store, cache) = (store.display().to_string(), cache.display().to_string());
        for verb in [
            &["lock", "--channel", "cpu", "--python", &python.version][..],
            &["build", "--channel", "cpu"],
            &["verify", "--all"],
            &["fetch", "--channel", "cpu", "--check"],
            &["list"],
            &["gc"],
        ] {
            let arguments = [&["--store-dir", &store, "--cache-dir", &cache][..], verb].concat();
            let Some(command) = bounded(&world, &world.flambeau_command(&arguments)) else {
                return skip("few threads", "there is no timeout");
            };
            let output = world.run(command);
            assert_eq!(output.status.code(), Some(0), "{threads} threads, {verb:?}: {output}");
        }
        let torch = world.venv_python(&["-c", "import torch, torchvision; print(torch.__version__)"]);
        assert_eq!(torch.ok().text(), "2.7.0+cpu");
    }
}
