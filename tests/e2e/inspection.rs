//! `diff`, `why` and `tree`: what differs, who needs what, of environments and of lockfiles.

use serde_json::Value;

use crate::support::family::Shelf;
use crate::support::wheel::Wheel;
use crate::support::world::{World, hints, text};

fn world() -> Option<(World, Value, Value)> {
    let world = World::new();
    world.any_python()?;
    let cuda = world.build(&["--backend", "cuda"]);
    let cpu = world.build(&["--backend", "cpu"]);
    world.server().clear_log();
    Some((world, cuda, cpu))
}

fn change<'a>(document: &'a Value, name: &str) -> &'a Value {
    let changes = document["changes"].as_array().expect("a list");
    changes.iter().find(|change| change["name"] == name).expect(name)
}

#[test]
fn diff_compares_generations_keys_and_lockfiles() {
    let Some((world, cuda, cpu)) = world() else { return };
    let cuda_key = &text(&cuda, "key")[..16];
    for sides in [
        &["1", "2"][..],
        &["1"],
        &["cuda", "cpu"],
        &["cu118", "2"],
        &[cuda_key, "cpu"],
        &[cuda_key, text(&cpu, "key")],
    ] {
        let document = world.flambeau_json("diff", sides);
        assert_eq!(
            (&document["from"]["key"], &document["to"]["key"], &document["same"]),
            (&cuda["key"], &cpu["key"], &false.into()),
            "{sides:?}"
        );
        let torch = change(&document, "torch");
        assert_eq!(
            (&torch["from"], &torch["to"]),
            (&"2.7.0+cu118".into(), &"2.7.0+cpu".into())
        );
        assert!(change(&document, "triton")["to"].is_null(), "{sides:?}");
        let both_built = sides.iter().all(|side| !["cuda", "cpu", "cu118"].contains(side));
        assert_eq!(document["size_change_bytes"].is_i64(), both_built, "{sides:?}");
    }
    let said = world.flambeau(&["diff", "1", "2"]).ok();
    assert!(said.stdout.contains("torch 2.7.0+cu118 → 2.7.0+cpu"), "{said}");
    let same = world.flambeau_json("diff", &["2", "cpu"]);
    assert_eq!((&same["same"], &same["changes"]), (&true.into(), &Value::Array(vec![])));
    for (words, part) in [
        (&["9", "1"][..], "there is no generation 9"),
        (&["nonsense"], "nonsense"),
        (&["1", "rocm"], "rocm"),
    ] {
        let error = world.flambeau_error(1, &[&["diff"], words].concat());
        assert!(
            text(&error, "message").contains(part) && !hints(&error).is_empty(),
            "{error:#}"
        );
    }
    world.server().assert_no_requests();
}

#[test]
fn why_names_who_needs_a_package_and_the_way_to_it() {
    let Some((world, ..)) = world() else { return };
    let document = world.flambeau_json("why", &["Mpmath"]);
    assert_eq!(
        (&document["package"], &document["required"]),
        (&"mpmath".into(), &false.into())
    );
    let demands = document["demanded_by"].as_array().expect("a list");
    assert_eq!(demands.len(), 1, "{document:#}");
    assert_eq!(demands[0]["name"], "sympy");
    assert_eq!(demands[0]["requirement"], "mpmath>=1.1.0,<1.4");
    assert_eq!(demands[0]["path"], Value::from(vec!["torch", "sympy"]));
    let torch = world.flambeau_json("why", &["torch"]);
    assert_eq!(
        (&torch["required"], &torch["requirement"]),
        (&true.into(), &"torch==2.7.0".into())
    );
    assert_eq!(torch["demanded_by"][0]["name"], "torchvision");
    let said = world.flambeau(&["why", "mpmath"]).ok();
    assert!(
        said.stdout
            .contains("sympy 1.14.0 needs mpmath>=1.1.0,<1.4  (torch → sympy)"),
        "{said}"
    );
    // What only another backend needs is not here, and is there.
    let error = world.flambeau_error(1, &["why", "triton"]);
    assert!(text(&error, "message").contains("triton is not in"), "{error:#}");
    let locked = world.flambeau_json("why", &["triton", "--of", "cuda"]);
    assert_eq!(
        (
            &locked["demanded_by"][0]["name"],
            &locked["demanded_by"][0]["requirement"]
        ),
        (&"torch".into(), &Value::Null)
    );
    assert_eq!(
        world.flambeau_json("why", &["triton", "--of", "1"])["demanded_by"][0]["requirement"],
        "triton==3.3.0"
    );
    world.flambeau_error(2, &["why", "not a name"]);
    world.server().assert_no_requests();
}

#[test]
fn tree_draws_environment_and_lockfile_and_ends_in_circles() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    world.server().offer(
        Shelf::Index,
        Wheel::new("ring", "1.0")
            .file("ring.py", "")
            .requires("gem[cut]>=1")
            .extra("none", &["absent"]),
    );
    world.server().offer(
        Shelf::Index,
        Wheel::new("gem", "1.5")
            .file("gem.py", "")
            .requires("ring")
            .extra("cut", &["typing-extensions"]),
    );
    world.write("pyproject.toml", "[tool.flambeau]\nrequirements = ['ring']\n");
    // Nothing is built yet: the lockfile tells.
    world.flambeau(&["lock", "--channel", "cpu"]).ok();
    let locked = world.flambeau(&["tree", "--of", "cpu"]).ok();
    assert_eq!(
        locked.filtered_stdout(),
        "ring 1.0\n  gem 1.5\n    ring 1.0 (*)\n    typing-extensions 4.13.2\n",
        "{locked}"
    );
    world.build(&["--channel", "cpu"]);
    let built = world.flambeau(&["tree"]).ok();
    insta::assert_snapshot!(built.filtered_stdout(), @r"
    ring 1.0
      gem 1.5  (gem[cut]>=1)
        ring 1.0 (*)
        typing-extensions 4.13.2
    ");
    let document = world.flambeau_json("tree", &[]);
    assert_eq!(document["roots"][0]["name"], "ring");
    assert_eq!(document["packages"].as_array().map(Vec::len), Some(3));
}
