//! What binds an environment changes: the next command that makes one active binds it anew.

use std::fs;
use std::path::Path;

use super::{manifest, program, project, says, site, version};
use crate::bundle::Elsewhere;
use crate::steps::{active, names, shelf};
use crate::support::world::{World, text, tree_snapshot};
use crate::verify::inside;

#[test]
fn a_folder_that_moved_is_bound_again() {
    let Some(world) = project(&[]) else { return };
    world.flambeau(&["build"]).ok();
    let (before, trees) = (active(&world), shelf(&world, "wheels"));
    let moved = world.path("moved");
    fs::rename(world.project(), &moved).expect("moved");
    world.server().clear_log();
    let shown = moved.display().to_string();
    let run = |verb: &[&str]| {
        let mut command = world.flambeau_command(verb);
        command.current_dir(&moved);
        world.run(command).ok()
    };
    let output = run(&["run", "--", "python", "-c", "import own; print(own.__file__)"]);
    assert_eq!(output.text(), format!("{shown}/own/__init__.py"));
    let after = fs::read_link(moved.join(".venv")).expect("a link");
    assert_ne!(after, before);
    world.server().assert_no_requests();
    trees.assert_same(&shelf(&world, "wheels"));
    run(&["verify"]);
    // And by its other name, which a link gives it, it is the same folder.
    std::os::unix::fs::symlink(&moved, world.project()).expect("the name is free");
    world.flambeau(&["build"]).ok();
    assert_eq!(fs::read_link(moved.join(".venv")).expect("a link"), after);
}

#[test]
fn every_way_to_make_an_environment_active_binds_it_anew() {
    let Some(world) = project(&[]) else { return };
    world.flambeau(&["build"]).ok();
    let trees = shelf(&world, "wheels");
    let mut number = 10;
    let mut changed = |verb: &[&str]| {
        number += 1;
        let wanted = format!("1.2.{number}");
        manifest(&world, &format!("version = \"{wanted}\""), &[]);
        let status = world.flambeau(&["status"]).ok();
        assert!(status.stderr.contains("the project's own packages changed"), "{status}");
        world.flambeau(verb).ok();
        assert_eq!(version(&world), wanted, "{verb:?}");
        let status = world.flambeau(&["status"]).ok();
        assert!(!status.stderr.contains("own packages changed"), "{status}");
    };
    for verb in [
        &["build"][..],
        &["run", "--", "python", "-c", ""],
        &["activate"],
        &["activate", "cpu"],
        &["activate", "1"],
        // From here on the environment is held.
        &["run", "--", "python", "-c", ""],
        &["build"],
        &["rollback"],
        &["rollback", "--to", "1"],
    ] {
        changed(verb);
    }
    trees.assert_same(&shelf(&world, "wheels"));
    world.flambeau(&["verify", "--all"]).ok();
    world.flambeau(&["generations"]).ok();

    // A script that is added is there, one that is taken away is not; the change is told like that of a package.
    let text = world.read("pyproject.toml");
    world.write(
        "pyproject.toml",
        text.replace("own-run", "own-other").replace("1.2.19", "2.0"),
    );
    let output = world.flambeau(&["build"]).ok();
    assert!(
        output.stderr.contains("own") && output.stderr.contains("2.0"),
        "{output}"
    );
    assert_eq!(program(&world, "own-other", &[]).ok().text(), "own");
    assert!(!world.has(".venv/bin/own-run"));
}

#[test]
fn damage_is_found_and_mended() {
    let Some(world) = project(&[]) else { return };
    world.flambeau(&["build"]).ok();
    let before = tree_snapshot(&active(&world));
    let info = site(&world).join("own-1.2.3.dist-info");
    let damaged = |folder: &Path, change: &dyn Fn()| {
        inside(folder, change);
        let output = world.flambeau(&["verify"]).fails(3);
        assert!(output.stdout.contains("own"), "{output}");
        world.flambeau(&["verify", "--repair"]).ok();
        before.assert_same(&tree_snapshot(&active(&world)));
        world.flambeau(&["verify", "--all"]).ok();
        assert_eq!(version(&world), "1.2.3");
    };
    damaged(&info, &|| {
        fs::remove_file(info.join("METADATA")).expect("it was there");
        fs::write(info.join("METADATA"), "Name: own\nVersion: 9\n").expect("written");
    });
    damaged(&info, &|| fs::write(info.join("stranger"), "").expect("written"));
    let bin = active(&world).join("bin");
    damaged(&bin, &|| fs::remove_file(bin.join("own-run")).expect("it was there"));
    damaged(&site(&world), &|| {
        fs::remove_file(site(&world).join("__editable__.own-1.2.3.pth")).expect("it was there");
    });
    // What is written is what was, even where the project says something else by now.
    inside(&bin, || fs::remove_file(bin.join("own-run")).expect("it was there"));
    manifest(&world, "version = \"3\"", &[]);
    world.flambeau(&["verify", "--repair"]).ok();
    before.assert_same(&tree_snapshot(&active(&world)));

    // Without its record nobody knows the texts: that is damage, and the next build composes it.
    manifest(&world, "version = \"1.2.3\"", &[]);
    let name = active(&world)
        .file_name()
        .expect("a name")
        .to_string_lossy()
        .into_owned();
    let records = world.store().join("records");
    let record = names(&records).into_iter().find(|file| file.contains(&name));
    let record = record.unwrap_or_else(|| panic!("no record of {name} in {:?}", names(&records)));
    fs::remove_file(records.join(record)).expect("ours");
    world.flambeau(&["verify"]).fails(3);
    world.flambeau(&["build"]).ok();
    world.flambeau(&["verify", "--all"]).ok();
}

#[test]
fn what_nothing_is_bound_to_any_more_is_collected() {
    let Some(world) = project(&[]) else { return };
    world.flambeau(&["build"]).ok();
    let first = active(&world);
    let trees = shelf(&world, "wheels");
    manifest(&world, "version = \"2\"", &[]);
    world.flambeau(&["build"]).ok();
    world.flambeau(&["generations", "--delete", "old"]).ok();
    world.flambeau(&["gc", "--older-than", "0s"]).ok();
    assert!(!first.exists());
    trees.assert_same(&shelf(&world, "wheels"));
    assert_eq!(version(&world), "2");
    world.flambeau(&["list"]).ok();
    world.flambeau(&["verify", "--all"]).ok();
}

#[test]
fn bundles_carry_no_packages_of_the_project_s_own() {
    let Some(world) = project(&[]) else { return };
    world.flambeau(&["build"]).ok();
    let out = world.path("bundle");
    let shown = out.display().to_string();
    world.flambeau(&["export", "--trees", &shown]).ok();
    let all = tree_snapshot(&out).to_string();
    assert!(!all.contains("own-1.2.3") && !all.contains("__editable__"), "{all}");
    let other = Elsewhere::new(&world, "there");
    fs::write(
        other.path("project/pyproject.toml"),
        world.read("pyproject.toml").replace("1.2.3", "7"),
    )
    .expect("written");
    other.json(&["import", &shown]);
    let built = other.build("cpu");
    let python = Path::new(text(&built, "path")).join("bin/python");
    let mut command = world.command(python);
    command.args(["-c", "import importlib.metadata as m; print(m.version('own'))"]);
    command.current_dir(world.path("tmp"));
    assert_eq!(world.run(command).ok().text(), "7");
}

#[test]
fn one_s_own_code_is_bound_to_what_a_file_of_another_tool_pins() {
    let Some(world) = project(&[]) else { return };
    world
        .flambeau(&["export", "--format", "pylock", "-o", "pylock.toml"])
        .ok();
    world.flambeau(&["build", "--from", "pylock.toml"]).ok();
    assert_eq!(says(&world, "import own; print(own.__version__)"), "1.2.3");
    assert_world_verifies(&world);
}

fn assert_world_verifies(world: &World) {
    world.flambeau(&["verify", "--all"]).ok();
}
