//! Modules that CPython cannot compile: they stay without bytecode, which is said, and the build goes on.

use crate::support::family::Shelf;
use crate::support::wheel::Wheel;
use crate::support::world::World;

/// CPython's parser raises `MemoryError` for what is nested too deep, whatever memory there is.
#[test]
fn f80_a_module_that_is_nested_too_deep_stays_uncompiled() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    let deep = [
        ("minus", format!("x = {}1\n", "-".repeat(6000))),
        ("not", format!("x = {}1\n", "not ".repeat(20_000))),
        ("fine", "x = 1\n".to_owned()),
    ];
    let wheel = deep.iter().fold(
        Wheel::new("deep", "1.0").file("deep/__init__.py", ""),
        |wheel, (name, text)| wheel.file(&format!("deep/{name}_.py"), text),
    );
    world.server().offer(Shelf::Index, wheel);
    let lock = ["lock", "--channel", "cpu", "--python", &python.version, "deep"];
    world.flambeau(&lock).ok();
    let output = world.flambeau(&["build", "--channel", "cpu"]).ok();
    let said = output
        .stderr
        .lines()
        .filter(|line| line.contains("has no bytecode"))
        .count();
    assert_eq!(said, 2, "{output}");
    let cached = "import deep.fine_, os; print(os.path.exists(deep.fine_.__cached__))";
    assert_eq!(world.venv_python(&["-c", cached]).ok().text(), "True");
}
