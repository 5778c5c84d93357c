//! Interrupted imports go on; several machines import into one store at once.

use std::process::Stdio;

use super::{Elsewhere, arg, built, export, same_environment};
use crate::steps::names;

#[test]
fn f01_a_killed_import_shows_nothing_half_and_goes_on() {
    let Some((world, first)) = built() else { return };
    let (wheels, _) = export(&world, "b.tar.zst", &[]);
    let (trees, _) = export(&world, "trees.tar", &["--trees"]);
    let elsewhere = Elsewhere::new(&world, "wheels");
    for number in [1, 3] {
        let mut command = elsewhere.command(&["import", arg(&wheels)]);
        command.env("FLAMBEAU_CHECKPOINT", format!("import.wheel#{number}=kill"));
        assert!(world.run(command).status.code().is_none(), "killed");
        assert!(names(&elsewhere.path("project/lockfiles")).is_empty());
    }
    // The first run brought none, the second two; what is there is not read again.
    assert_eq!(elsewhere.wheels().len(), 2);
    let rest = elsewhere.json(&["import", arg(&wheels)]);
    assert_eq!(rest["new_wheels"].as_u64(), rest["wheels"].as_u64().map(|all| all - 2));
    same_environment(&elsewhere.build("cpu"), &first);

    let elsewhere = Elsewhere::new(&world, "trees");
    let mut command = elsewhere.command(&["import", arg(&trees)]);
    command.env("FLAMBEAU_CHECKPOINT", "import.tree#3=kill");
    assert!(world.run(command).status.code().is_none(), "killed");
    assert_eq!(names(&elsewhere.path("store/wheels")).len(), 2);
    let rest = elsewhere.json(&["import", arg(&trees)]);
    assert_eq!(rest["new_trees"].as_u64(), rest["trees"].as_u64().map(|all| all - 2));
    same_environment(&elsewhere.build("cpu"), &first);
}

#[test]
fn f09_several_hosts_import_into_one_store_at_once() {
    let Some((world, first)) = built() else { return };
    let (folder, _) = export(&world, "folder", &[]);
    let (trees, _) = export(&world, "trees.tar.zst", &["--trees"]);
    let hosts: Vec<Elsewhere<'_>> = (0..6)
        .map(|host| Elsewhere::new(&world, &format!("host{host}")))
        .collect();
    let shared = Elsewhere::new(&world, "shared");
    let mut children = Vec::new();
    for (number, host) in hosts.iter().enumerate() {
        let bundle = if number % 2 == 0 { &folder } else { &trees };
        let mut command = host.command(&["import", arg(bundle)]);
        command
            .env("FLAMBEAU_STORE_DIR", shared.path("store"))
            .env("FLAMBEAU_CACHE_DIR", shared.path("cache"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        children.push(command.spawn().expect("started"));
    }
    for mut child in children {
        assert!(child.wait().expect("it ends").success());
    }
    assert!(names(&shared.path("store/tmp")).is_empty() && names(&shared.path("cache/partial")).is_empty());
    let project = hosts[0].path("project");
    let built = shared.json(&["--project", arg(&project), "build", "--locked", "--channel", "cpu"]);
    same_environment(&built, &first);
    assert_eq!(built["downloaded_bytes"], 0);
}
