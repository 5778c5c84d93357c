//! Worlds: what the program under test can see, and what a test can see of it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use crate::support::world::{World, tree_snapshot};

#[test]
fn a_command_sees_nothing_of_the_machine() {
    let mut world = World::new();
    world.set("EXTRA", "yes");
    world.unset("LANG");
    let output = world.run(world.command("env")).ok();
    let names: Vec<_> = output
        .stdout
        .lines()
        .filter_map(|line| line.split('=').next())
        .collect();
    for name in ["HOME", "PATH", "FLAMBEAU_STORE_DIR", "PIP_INDEX_URL", "EXTRA"] {
        assert!(names.contains(&name), "{name}: {output}");
    }
    for name in ["LANG", "CARGO", "VIRTUAL_ENV"] {
        assert!(!names.contains(&name), "{name}: {output}");
    }
    let home = output
        .stdout
        .lines()
        .find(|line| line.starts_with("HOME="))
        .expect("HOME is set");
    assert_eq!(home, format!("HOME={}", world.path("home").display()));
}

#[test]
fn fake_tools_answer_and_real_ones_are_hidden() {
    let world = World::new();
    let which = |tool: &str| {
        let mut command = world.command("sh");
        command.args(["-c", &format!("{tool} --query")]);
        world.run(command)
    };
    which("nvidia-smi").fails(127);
    world.fake_tool("nvidia-smi", "GPU 0: Fake $HOME `date`", 9);
    let output = which("nvidia-smi").fails(9);
    assert_eq!(output.stdout, "GPU 0: Fake $HOME `date`\n");
    world.remove_tool("nvidia-smi");
    which("nvidia-smi").fails(127);
}

#[test]
fn the_one_python_on_the_path_is_real() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    assert_eq!(world.python(&python.version).as_ref(), Some(&python));
    assert_eq!(world.python("2.7"), None);
    let mut command = world.command("sh");
    command.args([
        "-c",
        &format!(
            "python{} -c 'import platform; print(platform.python_version())'",
            python.version
        ),
    ]);
    assert_eq!(world.run(command).ok().text(), python.full_version);
}

#[test]
fn the_program_runs_in_its_project() {
    let world = World::new();
    world.write("deep/er/file.txt", "text");
    assert_eq!(world.read("deep/er/file.txt"), "text");
    assert!(world.has("deep") && !world.has("shallow"));
    let command = world.flambeau_command(&["--version"]);
    assert_eq!(command.get_current_dir(), Some(world.project().as_path()));
    world.run(command).ok();
}

#[test]
fn output_prints_whole_and_filters_what_differs() {
    let world = World::new();
    let mut command = world.command("sh");
    let digest = "0123456789abcdef".repeat(4);
    let folder = format!("{}-torch-2.7.0-cu118-{}", &digest[..40], &digest[..8]);
    command.args([
        "-c",
        "printf '%s\\n' \"$0\" \"$1\" \"$PWD/x\" \"$PIP_INDEX_URL\" 'in 12.5 ms at 2025-04-23T14:32:01Z'; echo bad >&2; printf end; exit 3",
        &digest,
        &folder,
    ]);
    let output = world.run(command).fails(3);
    insta::assert_snapshot!(output.filtered(), @r"
    [SHA256]
    [KEY40]-torch-2.7.0-cu118-[I8]
    [WORLD]/project/x
    [SERVER]/simple/
    in [TIME] at [TIMESTAMP]
    end[no newline]
    ------- stderr -------
    bad
    [exit status: 3]
    ");
    assert!(output.filtered_stdout().ends_with("end"));
}

#[test]
fn a_tree_snapshot_sees_every_kind_of_change() {
    let world = World::new();
    world.write("tree/a/file", "one");
    let tree = world.project().join("tree");
    symlink("a/file", tree.join("link")).expect("the name is free");
    let before = tree_snapshot(&tree);
    assert_eq!(before.lines().len(), 3);
    before.assert_same(&tree_snapshot(&tree));

    let changes: [&dyn Fn(); 4] = [
        &|| world.write("tree/a/file", "two"),
        &|| fs::set_permissions(tree.join("a/file"), fs::Permissions::from_mode(0o444)).expect("our file"),
        &|| fs::create_dir(tree.join("b")).expect("the name is free"),
        &|| {
            fs::remove_file(tree.join("link")).expect("it is there");
            symlink("b", tree.join("link")).expect("the name is free");
        },
    ];
    let mut last = before;
    for change in changes {
        change();
        let now = tree_snapshot(&tree);
        assert_ne!(now, last);
        last = now;
    }
}

#[test]
fn a_read_only_store_is_removed_with_its_world() {
    let world = World::new();
    let (root, tree) = (world.path(""), world.store().join("wheels/tree"));
    fs::create_dir_all(&tree).expect("a writable store");
    fs::write(tree.join("file"), "x").expect("a writable tree");
    fs::set_permissions(&tree, fs::Permissions::from_mode(0o555)).expect("our folder");
    drop(world);
    assert!(!root.exists());
}
