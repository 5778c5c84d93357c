//! The commands of `docs/offline.md` and `docs/ci.md`, the steps of `action.yml` and those of the recipes, run as they stand.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::bundle::Elsewhere;
use crate::steps::{in_own_network, names, skip, tool};
use crate::support::world::{Output, World, text};

/// Tools that scripts of documents use beside those of every world.
const TOOLS: [&str; 4] = ["bash", "sed", "grep", "find"];

fn repository(file: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A world in which scripts find flambeau; none without a Python that the documents lock for.
fn world() -> Option<World> {
    let mut world = World::new();
    let python = world.python("3.11").or_else(|| world.python("3.12"))?;
    world.set("UV_PYTHON", python.path.display().to_string());
    let link = |target: &Path, name: &str| {
        std::os::unix::fs::symlink(target, world.path("bin").join(name)).expect("the name is free");
    };
    link(Path::new(env!("CARGO_BIN_EXE_flambeau")), "flambeau");
    for name in TOOLS {
        link(&tool(name)?, name);
    }
    Some(world)
}

fn script(mut command: Command, text: &str, world: &World) -> Output {
    command.args(["-eu", "-c", text]);
    world.run(command)
}

/// The blocks whose language is `sh`, with the words behind it.
fn blocks(document: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut lines = document.lines();
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            continue;
        };
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        if let Some(place) = language.strip_prefix("sh") {
            blocks.push((place.trim().to_owned(), body.join("\n")));
        }
    }
    blocks
}

/// Runs every block of a document in its order.
fn run_document(file: &str, least: usize) {
    let Some(world) = world() else {
        return skip(file, "a tool or a Python 3.11 or 3.12 is missing");
    };
    fs::create_dir(world.path("media")).expect("a new folder");
    let other = Elsewhere::new(&world, "elsewhere");
    let blocks = blocks(&repository(file));
    assert!(blocks.len() >= least, "{} blocks", blocks.len());
    for (place, text) in blocks {
        let command = match place.as_str() {
            "" => world.command(world.path("tools/sh")),
            "other side" => {
                let mut command = world.command(world.path("tools/sh"));
                let like = other.command(&[]);
                for (name, value) in like.get_envs() {
                    match value {
                        Some(value) => command.env(name, value),
                        None => command.env_remove(name),
                    };
                }
                command.current_dir(other.path("project"));
                command
            }
            other => panic!("{file}: `sh {other}` is no place"),
        };
        let output = script(command, &text, &world);
        assert!(output.status.success(), "{file}:\n{text}\n{output}");
    }
}

#[test]
fn commands_of_offline_md_work() {
    run_document("docs/offline.md", 7);
}

#[test]
fn commands_of_ci_md_work() {
    run_document("docs/ci.md", 3);
}

/// The bodies of `<key>: |` in a YAML file, in their order.
fn literals(yaml: &str, key: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = yaml.lines().peekable();
    while let Some(line) = lines.next() {
        if line.trim() != format!("{key}: |") {
            continue;
        }
        let indent = line.len() - line.trim_start().len();
        let mut body = Vec::new();
        while let Some(next) =
            lines.next_if(|next| next.trim().is_empty() || next.len() - next.trim_start().len() > indent)
        {
            body.push(next.trim_start().to_owned());
        }
        found.push(body.join("\n"));
    }
    found
}

#[test]
fn the_steps_of_the_action_build_what_keys_json_pins() {
    let Some(mut world) = world() else {
        return skip("action.yml", "a tool or a Python 3.11 or 3.12 is missing");
    };
    world
        .flambeau(&["lock", "--backend", "cpu", "--python", "3.11,3.12"])
        .ok();
    let steps = literals(&repository("action.yml"), "run");
    assert_eq!(steps.len(), 3);
    for name in ["OUTPUT", "PATH", "ENV"] {
        world.set(&format!("GITHUB_{name}"), world.path(name).display().to_string());
    }
    for (name, value) in [
        ("BACKEND", "cpu"),
        ("CHANNEL", ""),
        ("PYTHON", ""),
        ("PROJECT", "."),
        ("ACTION_PATH", "/nowhere"),
    ] {
        world.set(name, value);
    }
    let run = |world: &World, step: &str| {
        let mut command = world.command(tool("bash").expect("the world has it"));
        // As a runner starts `shell: bash`.
        command.args(["--noprofile", "--norc", "-eo", "pipefail", "-c", step]);
        world.run(command)
    };
    run(&world, &steps[0]).ok();
    run(&world, &steps[1]).ok();
    let key = world.flambeau(&["hash", "--backend", "cpu"]).ok().text().to_owned();
    let output = |name: &str| fs::read_to_string(world.path(name)).unwrap_or_default();
    assert_eq!(output("OUTPUT"), format!("key={key}\n"));
    world.set("EXPECT", &key);
    run(&world, &steps[2]).ok();
    let output = |name: &str| fs::read_to_string(world.path(name)).unwrap_or_default();
    assert!(output("OUTPUT").contains(&format!("path={}", world.active().display())));
    let bin = output("PATH").trim().to_owned();
    let mut python = world.command(Path::new(&bin).join("python"));
    python.args(["-c", "import torch; print(torch.answer())"]);
    assert_eq!(world.run(python).ok().text(), "0");
    assert!(output("ENV").contains("FLAMBEAU_CACHE_DIR="));

    // What was not reviewed is not built.
    world.set("EXPECT", "a".repeat(64));
    run(&world, &steps[2]).fails(3);
    let keys = world.read("lockfiles/keys.json").replace(&key, &"b".repeat(64));
    world.write("lockfiles/keys.json", keys);
    run(&world, &steps[1]).fails(3);
}

/// The words of a recipe that are commands of flambeau, `\`-joined lines as one.
fn commands(recipe: &str) -> Vec<String> {
    let joined = recipe.replace("\\\n", " ");
    let lines = joined
        .lines()
        .map(|line| line.trim().trim_start_matches("- ").trim_start_matches("RUN "));
    let own = lines.filter(|line| !line.starts_with(['#', '/']) && line.contains("flambeau "));
    own.map(str::to_owned).collect()
}

#[test]
fn commands_of_the_gitlab_and_jenkins_recipes_work() {
    let Some(mut world) = world() else {
        return skip("recipes", "a tool or a Python 3.11 or 3.12 is missing");
    };
    world.set("FLAMBEAU_BACKEND", "cpu");
    world.flambeau(&["lock", "--python", "3.11,3.12"]).ok();
    for (file, count) in [("docs/recipes/gitlab-ci.yml", 3), ("docs/recipes/Jenkinsfile", 5)] {
        let commands: Vec<String> = commands(&repository(file));
        let commands: Vec<&String> = commands
            .iter()
            .filter(|line| line.contains("flambeau ") && !line.contains("extends"))
            .collect();
        assert_eq!(commands.len(), count, "{commands:#?}");
        let text = commands
            .iter()
            .flat_map(|line| [line.as_str(), "\n"])
            .collect::<String>();
        script(world.command(world.path("tools/sh")), &text, &world).ok();
    }
}

#[test]
fn the_slurm_prolog_brings_a_bundle_onto_a_node() {
    let Some(mut world) = world() else {
        return skip("the Slurm prolog", "a tool or a Python 3.11 or 3.12 is missing");
    };
    world
        .flambeau(&["lock", "--backend", "cpu", "--python", "3.11,3.12"])
        .ok();
    let kit = world.path("kit.tar.zst");
    world
        .flambeau(&["export", crate::bundle::arg(&kit), "--backend", "cpu"])
        .ok();
    world.server().clear_log();
    for (name, value) in [("STORE_DIR", "node/store"), ("CACHE_DIR", "node/cache")] {
        world.set(&format!("FLAMBEAU_{name}"), world.path(value).display().to_string());
    }
    world.set("TORCH_KIT", kit.display().to_string());
    world.set("TORCH_BACKEND", "cpu");
    let prolog = repository("docs/recipes/slurm-prolog.sh");
    let start = |job: &str| {
        let mut command = world.command(world.path("tools/sh"));
        command
            .env("TORCH_PROJECT", world.path("jobs").join(job))
            .args(["-c", &prolog]);
        command.stdout(std::process::Stdio::piped()).spawn().expect("started")
    };
    // Several jobs start on one node at once.
    let children: Vec<_> = ["1", "2", "3"].map(start).into();
    for child in children {
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success());
        let said = String::from_utf8(output.stdout).expect("text");
        let said = said.trim();
        assert!(said.starts_with("export PATH=") && said.lines().count() == 1, "{said}");
        let text = format!("{said}\npython -c 'import torch; print(torch.answer())'");
        assert_eq!(
            script(world.command(world.path("tools/sh")), &text, &world).ok().text(),
            "0"
        );
    }
    world.server().assert_no_requests();
}

/// What the offline Dockerfile and the Apptainer recipe do, in a root folder of its own without a network: the kit's own
/// program imports and builds there, and another user runs it.
#[test]
fn a_kit_builds_in_a_container_without_a_network() {
    let Some(world) = world() else {
        return skip("a container", "a tool or a Python 3.11 or 3.12 is missing");
    };
    world
        .flambeau(&["lock", "--backend", "cpu", "--python", "3.11,3.12"])
        .ok();
    let kit = world.path("kit");
    world
        .flambeau(&["export", crate::bundle::arg(&kit), "--backend", "cpu", "--with-program"])
        .ok();
    let dockerfile = repository("docs/recipes/Dockerfile.offline");
    let apptainer = repository("docs/recipes/apptainer.def");
    for recipe in [&dockerfile, &apptainer] {
        assert!(
            recipe.contains("/kit/bin/flambeau import /kit") && recipe.contains("/kit/bin/flambeau build --locked")
        );
    }
    let root = world.path("root");
    let Some(output) = in_container(&world, &root) else {
        return skip(
            "a container",
            "no mount and network namespace with a root of its own can be made here",
        );
    };
    let output = output.ok();
    assert!(output.stdout.contains("torch says 0"), "{output}");
    let elsewhere = text(&world.flambeau_json("hash", &["--backend", "cpu"]), "key").to_owned();
    assert!(
        names(&root.join("opt/flambeau/envs"))
            .iter()
            .any(|name| elsewhere.starts_with(&name[..40]))
    );
}

/// Runs the `RUN` of the offline Dockerfile in a root of its own: the machine's system folders bound read-only, the kit, and
/// nothing else; then the `CMD` as a user who owns nothing.
fn in_container(world: &World, root: &Path) -> Option<Output> {
    in_own_network(world, &["--version"])?;
    let (unshare, chroot, mount) = (tool("unshare")?, tool("chroot")?, tool("mount")?);
    let python = world.python("3.11").or_else(|| world.python("3.12"))?;
    let dockerfile = repository("docs/recipes/Dockerfile.offline");
    let joined = dockerfile.replace("\\\n", " ");
    let run = joined
        .lines()
        .find_map(|line| line.strip_prefix("RUN --mount=type=bind,source=kit,target=/kit "))?;
    let script = format!(
        "set -eu\n\
         for folder in kit app opt tmp proc dev; do mkdir -p \"$ROOT/$folder\"; done\n\
         for folder in usr bin sbin lib lib64 etc \"$PYTHON_HOME\"; do\n\
           [ -d \"/$folder\" ] || continue\n\
           mkdir -p \"$ROOT/$folder\"; \"$MOUNT\" --rbind \"/$folder\" \"$ROOT/$folder\"\n\
         done\n\
         \"$MOUNT\" --bind \"$KIT\" \"$ROOT/kit\"; \"$MOUNT\" --rbind /proc \"$ROOT/proc\"; \"$MOUNT\" --rbind /dev \"$ROOT/dev\"\n\
         exec \"$CHROOT\" \"$ROOT\" /bin/sh -euc 'cd /app; export FLAMBEAU_STORE_DIR=/opt/flambeau FLAMBEAU_OFFLINE=1 \
         FLAMBEAU_BACKEND=cpu UV_PYTHON=\"$PYTHON\" HOME=/tmp PATH=/usr/bin:/bin\n{run}\n\
         run=\"/app/.venv/bin/python -c\"; if command -v setpriv > /dev/null && [ \"$ASROOT\" = 1 ]; then \
         run=\"setpriv --reuid 1234 --regid 1234 --clear-groups $run\"; fi\n\
         $run \"import torch; print(\\\"torch says\\\", torch.answer())\"'\n"
    );
    let mut command = world.command(&unshare);
    if !crate::steps::is_root() {
        command.arg("--map-root-user");
    }
    let home = python.path.parent()?.parent()?.display().to_string();
    command
        .args(["--mount", "--net", "/bin/sh", "-c", &script])
        .env("ROOT", root)
        .env("KIT", world.path("kit"))
        .env("MOUNT", mount)
        .env("CHROOT", chroot)
        .env("PYTHON", &python.path)
        .env("PYTHON_HOME", home.trim_start_matches('/'))
        .env("ASROOT", if crate::steps::is_root() { "1" } else { "0" });
    Some(world.run(command))
}
