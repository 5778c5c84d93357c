//! What cannot be a package of an environment, and leaves everything as it was.

use std::fs;

use super::{manifest, project};
use crate::steps::{assert_error, shelf};
use crate::support::family::Shelf;
use crate::support::wheel::Wheel;
use crate::support::world::{World, tree_snapshot};

#[test]
fn extension_modules_have_to_be_built() {
    let Some(world) = project(&[]) else { return };
    let whole = world.read("pyproject.toml");
    let build = |text: &str| world.write("pyproject.toml", format!("{whole}{text}"));
    let refused = |how: &str| {
        let before = [tree_snapshot(&world.project()), tree_snapshot(&world.store())];
        for verb in [
            &["build"][..],
            &["run", "--", "python"],
            &["build", "--dry-run"],
            &["activate"],
        ] {
            let wheel = "`pip wheel --no-deps -w dist \"";
            assert_error(
                world.flambeau(verb),
                1,
                &["cannot be editable", how, wheel, "flambeau add ./dist/", "--overlay"],
            );
        }
        for (before, folder) in before.iter().zip([world.project(), world.store()]) {
            before.assert_same(&tree_snapshot(&folder));
        }
        // The key does not depend on it.
        world.flambeau(&["hash"]).ok();
    };
    build("[build-system]\nrequires = [\"maturin\"]\nbuild-backend = \"maturin\"\n");
    refused("its build backend is `maturin`");
    build("[[tool.setuptools.ext-modules]]\nname = \"own.x\"\n");
    refused("`tool.setuptools.ext-modules`");
    build("");
    world.write("setup.py", "from torch.utils.cpp_extension import CUDAExtension\n");
    refused("its setup.py has `CUDAExtension`");
    fs::remove_file(world.project().join("setup.py")).expect("it was there");
    world.flambeau(&["build"]).ok();
}

#[test]
fn two_folders_cannot_be_one_package_or_have_one_script() {
    let Some(world) = project(&[]) else { return };
    let whole = world.read("pyproject.toml");
    world.write("pyproject.toml", whole.replace("[\".\"]", "[\".\", \"b\"]"));
    world.write("b/pyproject.toml", "[project]\nname = \"OWN\"\nversion = \"2\"\n");
    assert_error(
        world.flambeau(&["build"]),
        1,
        &["are both the package `own`", "editable"],
    );
    world.write(
        "b/pyproject.toml",
        "[project]\nname = \"b\"\nversion = \"2\"\nscripts = { own-show = \"b:main\" }\n",
    );
    assert_error(
        world.flambeau(&["build"]),
        1,
        &["`own` and `b` both have the script `own-show`"],
    );
}

/// Whatever a manifest says, nothing is written but the environment's own folder.
#[test]
fn hostile_manifests_write_nowhere() {
    let Some(world) = project(&[]) else { return };
    world.flambeau(&["build"]).ok();
    let store = shelf(&world, "envs");
    let whole = world.read("pyproject.toml");
    for (from, to, told) in [
        ("name = \"Own\"", "name = \"../../own\"", "is not a valid package name"),
        ("name = \"Own\"", "name = \"own\\nX: y\"", "is not a valid package name"),
        ("\"1.2.3\"", "\"1/../../../x\"", "is not a valid version"),
        ("own-run =", "\"../../x\" =", "cannot be a script"),
        ("own-run =", "\"a\\nb\" =", "is not a valid name of an entry point"),
        (
            "own-run =",
            "\"\\u001b[31mred\" =",
            "is not a valid name of an entry point",
        ),
        ("own-run =", "python3 =", "would shadow the interpreter"),
        ("own-run =", "activate =", "would replace one of the environment itself"),
        ("\"own:main\"", "\"own:main\\nimport os\"", "entry point"),
        ("pytest11 =", "\"x]\\n[console_scripts\" =", "is not a valid group"),
        (
            "mine =",
            "\"[console_scripts]\" =",
            "is not a valid name of an entry point",
        ),
    ] {
        world.write("pyproject.toml", whole.replacen(from, to, 1));
        let output = world.flambeau(&["build"]);
        assert!(!output.stderr.contains('\u{1b}'), "{output}");
        assert_error(output, 1, &[told, "pyproject.toml:"]);
        store.assert_same(&shelf(&world, "envs"));
    }
    // A folder whose path would be two lines is refused, however it is named.
    let odd = world.path("two\nlines");
    fs::create_dir(&odd).expect("a new folder");
    fs::write(
        odd.join("pyproject.toml"),
        "[project]\nname = \"odd\"\nversion = \"1\"\n",
    )
    .expect("written");
    world.write("pyproject.toml", whole.replace("[\".\"]", "[\"../two\\nlines\"]"));
    assert_error(world.flambeau(&["build"]), 1, &["cannot stand in a .pth file"]);
    store.assert_same(&shelf(&world, "envs"));
}

#[test]
fn a_wheel_cannot_bring_files_of_the_project_s_own_package() {
    let world = World::new();
    world.server().offer(
        Shelf::Index,
        Wheel::new("intruder", "1.0")
            .file("intruder.py", "")
            .file("__editable__.own-1.2.3.pth", "/elsewhere\n"),
    );
    let Some(python) = world.any_python() else { return };
    manifest(&world, "version = \"1.2.3\"", &["intruder"]);
    world.write("own.py", "");
    world.flambeau(&["lock", "--python", &python.version]).ok();
    assert_error(
        world.flambeau(&["build"]),
        3,
        &["__editable__.own-1.2.3.pth`, which belongs to the project's own package"],
    );
}
