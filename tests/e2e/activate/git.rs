//! `.venv` and `environment_state.json` are not committed by accident, wherever git keeps its lists.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::steps::{skip, tool};
use crate::support::world::World;

fn git(world: &World, folder: &Path, arguments: &[&str]) -> String {
    let mut command = world.command("git");
    command
        .args(["-c", "user.name=a", "-c", "user.email=a@b"])
        .args(arguments);
    command.current_dir(folder).env("GIT_CONFIG_NOSYSTEM", "1");
    world.run(command).ok().stdout
}

fn added(world: &World, folder: &Path) -> Vec<String> {
    git(world, folder, &["add", "-A"]);
    let names = git(world, folder, &["diff", "--cached", "--name-only"]);
    names.lines().map(str::to_owned).collect()
}

/// A world with git on its PATH; none, said, where the machine has none.
fn world() -> Option<World> {
    let world = World::new();
    world.any_python()?;
    let Some(program) = tool("git") else {
        skip("git and the links", "there is no git");
        return None;
    };
    std::os::unix::fs::symlink(program, world.path("tools/git")).ok();
    if Command::new("git").arg("--version").output().is_err() {
        skip("git and the links", "git does not start");
        return None;
    }
    Some(world)
}

fn build(world: &World, folder: &Path) -> String {
    let mut command = world.flambeau_command(&["build", "--channel", "cpu"]);
    command.current_dir(folder);
    world.run(command).ok().stderr
}

#[test]
fn links_are_excluded_once_in_a_repository_a_worktree_and_a_folder_of_one() {
    let Some(world) = world() else { return };
    let repository = world.path("repository");
    fs::create_dir_all(repository.join("sub dir")).expect("new folders");
    git(&world, &repository, &["init", "-q"]);
    fs::write(repository.join("file"), "x").expect("ours");
    git(&world, &repository, &["add", "-A"]);
    git(&world, &repository, &["commit", "-q", "-m", "one"]);
    let tree = world.path("worktree");
    git(
        &world,
        &repository,
        &["worktree", "add", "-q", tree.to_str().expect("UTF-8")],
    );
    let list = repository.join(".git/info/exclude");
    for folder in [repository.join("sub dir"), tree.clone(), repository.clone()] {
        let said = build(&world, &folder);
        let expected = folder != repository;
        // The worktree has the repository's list, and its root the same patterns.
        assert_eq!(said.contains("so that git passes over them"), expected, "{said}");
        assert!(folder.join(".venv").is_symlink());
        let before = fs::read_to_string(&list).expect("a list");
        fs::remove_file(folder.join(".venv")).expect("ours");
        fs::remove_file(folder.join("environment_state.json")).expect("ours");
        build(&world, &folder);
        assert_eq!(fs::read_to_string(&list).expect("a list"), before, "once");
        let names = added(&world, &folder);
        assert!(
            !names
                .iter()
                .any(|name| name.contains(".venv") || name.contains("environment_state")),
            "{names:?}"
        );
        assert!(names.iter().any(|name| name.contains("pylock.cpu.toml")), "{names:?}");
    }
}

#[test]
fn what_git_passes_over_already_is_left_alone_and_so_is_who_wants_none() {
    let Some(world) = world() else { return };
    for (name, ignored, wanted) in [
        ("a", ".venv\nenvironment_state.json\n", ""),
        ("b", "", "git-exclude = false\n"),
    ] {
        let folder = world.path(name);
        fs::create_dir_all(&folder).expect("a new folder");
        git(&world, &folder, &["init", "-q"]);
        fs::write(folder.join(".gitignore"), ignored).expect("ours");
        fs::write(folder.join("pyproject.toml"), format!("[tool.flambeau]\n{wanted}")).expect("ours");
        let list = folder.join(".git/info/exclude");
        let before = fs::read(&list).ok();
        let said = build(&world, &folder);
        assert!(!said.contains("git passes over"), "{said}");
        assert_eq!(fs::read(&list).ok(), before);
        let names = added(&world, &folder);
        assert_eq!(names.contains(&".venv".to_owned()), ignored.is_empty(), "{names:?}");
    }
}

#[test]
fn a_list_that_cannot_be_written_is_said_and_nothing_fails() {
    let Some(world) = world() else { return };
    let folder = world.path("c");
    fs::create_dir_all(&folder).expect("a new folder");
    git(&world, &folder, &["init", "-q"]);
    let info = folder.join(".git/info");
    fs::remove_dir_all(&info).ok();
    fs::write(&info, "a file").expect("ours");
    let said = build(&world, &folder);
    assert!(said.contains("`git add` would commit .venv"), "{said}");
    assert!(folder.join(".venv").is_symlink());
}

#[test]
fn a_list_that_is_a_link_stays_one_and_a_folder_s_name_may_have_a_line_break() {
    let Some(world) = world() else { return };
    let repository = world.path("d");
    let odd = repository.join("line\nbreak");
    fs::create_dir_all(&odd).expect("new folders");
    git(&world, &repository, &["init", "-q"]);
    let list = repository.join(".git/info/exclude");
    let elsewhere = world.path("my-list");
    fs::write(&elsewhere, "*.mine\n").expect("ours");
    fs::create_dir_all(repository.join(".git/info")).expect("a folder");
    fs::remove_file(&list).ok();
    std::os::unix::fs::symlink(&elsewhere, &list).expect("ours");
    let said = build(&world, &odd);
    assert!(said.contains("so that git passes over them"), "{said}");
    assert!(!added(&world, &odd).iter().any(|name| name.contains(".venv")));
    build(&world, &repository);
    assert!(list.is_symlink());
    let text = fs::read_to_string(&elsewhere).expect("a list");
    assert_eq!(
        text,
        [
            "*.mine",
            "/line?break/.venv",
            "/line?break/environment_state.json",
            "/.venv",
            "/environment_state.json\n",
        ]
        .join("\n")
    );
}
