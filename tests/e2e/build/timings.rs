//! `build --timings`: a page with what each wheel took the time for.

use crate::support::world::World;

#[test]
fn the_page_names_every_wheel_and_stands_alone() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world.offer_python(&python);
    let output = world
        .flambeau(&["build", "--backend", "cpu", "--timings=spent.html"])
        .ok();
    assert!(output.stderr.contains("spent.html"), "{}", output.stderr);
    let page = world.read("spent.html");
    for part in [
        "torch-2.7.0",
        "class=\"fetch\"",
        "class=\"unpack\"",
        "class=\"compile\"",
        "the environment",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<script") && !page.contains("src=") && !page.contains("href="));
    // A build that fails has taken its time too, and a page that cannot be written is told.
    world
        .flambeau(&[
            "build",
            "--backend",
            "cpu",
            "--expect",
            &"0".repeat(64),
            "--timings=failed.html",
        ])
        .fails(3);
    assert!(world.read("failed.html").contains("<table>"));
    world
        .flambeau(&["build", "--backend", "cpu", "--timings=none/page.html"])
        .fails(1);
}
