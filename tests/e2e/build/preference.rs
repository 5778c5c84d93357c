//! Who decides which backend is built: flags, variables, appsettings.json, pyproject.toml, the hardware.

use std::io::Write as _;

use crate::support::world::{World, hints, text};

const RTX3090: &str = "NVIDIA GeForce RTX 3090, 535.183.01, 8.6, 24576 MiB";
const MI250: &str =
    r#"{"card0": {"Card Series": "AMD INSTINCT MI250", "Card Model": "0x740c", "GFX Version": "gfx90a"}}"#;
const VARIABLE: &str = "Ingest_Upscaler__PreferredGpuBackend";

/// Builds; the backend that is then active.
#[track_caller]
fn built(world: &World, flags: &[&str]) -> String {
    let document = world.build(flags);
    let backend = text(&document, "backend").to_owned();
    assert_eq!(text(&world.state(), "InstalledBackend"), backend);
    assert_eq!(world.active().to_str(), document["path"].as_str());
    backend
}

/// A world on a machine without GPUs, whatever this one has; nothing where that cannot be had.
fn without_gpu() -> Option<World> {
    let world = World::new();
    world.any_python()?;
    // These stand before the machine's own in the search.
    world.fake_script(
        "nvidia-smi",
        "#!/bin/sh\necho 'NVIDIA-SMI has failed because it could not communicate'\nexit 9\n",
    );
    world.fake_script(
        "rocm-smi",
        "#!/bin/sh\necho 'ERROR:root:Driver not initialized (amdgpu not found in modules)'\n",
    );
    if std::path::Path::new("/dev/kfd").exists() {
        let _written = writeln!(std::io::stderr(), "SKIPPED: this machine has an AMD GPU");
        return None;
    }
    Some(world)
}

#[test]
fn appsettings_decides_and_going_back_is_a_key_hit() {
    let Some(world) = without_gpu() else { return };
    assert_eq!(built(&world, &[]), "CPU");
    for (settings, backend) in [
        (r#"{"Upscaler": {"PreferredGpuBackend": "CUDA"}}"#, "CUDA"),
        (
            "{\n  // which GPU\n  \"upscaler\": { /* any case */ \"preferredGPUBackend\": \"rocm\", },\n}\n",
            "ROCm",
        ),
        (r#"{"Upscaler:PreferredGpuBackend": "cpu"}"#, "CPU"),
        (r#"{"Upscaler": {"PreferredGpuBackend": "Auto"}}"#, "CPU"),
        (r#"{"Upscaler": {"PreferredGpuBackend": ""}, "Other": [1, 2,],}"#, "CPU"),
    ] {
        world.write("appsettings.json", settings);
        assert_eq!(built(&world, &[]), backend, "{settings}");
    }
    world.server().clear_log();
    let mut generations = Vec::new();
    for value in ["CUDA", "ROCm", "CPU", "CUDA"] {
        world.write(
            "appsettings.json",
            format!("{{\"Upscaler\": {{\"PreferredGpuBackend\": \"{value}\"}}}}"),
        );
        let document = world.build(&[]);
        assert_eq!(
            (&document["backend"], &document["reused"]),
            (&value.into(), &true.into())
        );
        assert_eq!(text(&world.state(), "InstalledBackend"), value);
        generations.push(document["generation"].as_u64().expect("a number"));
    }
    assert!(generations.windows(2).all(|pair| pair[0] < pair[1]), "{generations:?}");
    world.server().assert_no_requests();
    // Another file in its place.
    world.write("other.json", r#"{"Upscaler": {"PreferredGpuBackend": "ROCm"}}"#);
    assert_eq!(built(&world, &["--config", "other.json"]), "ROCm");
    world.flambeau_error(1, &["build", "--config", "none.json"]);
}

#[test]
fn the_stronger_place_wins() {
    let Some(mut world) = without_gpu() else { return };
    assert_eq!(built(&world, &[]), "CPU");
    world.write("pyproject.toml", "[tool.flambeau]\nbackend = 'rocm'\n");
    assert_eq!(built(&world, &[]), "ROCm");
    world.write("appsettings.json", r#"{"Upscaler": {"PreferredGpuBackend": "CUDA"}}"#);
    assert_eq!(built(&world, &[]), "CUDA");
    world.set("INGEST_upscaler__PREFERREDGPUBACKEND", "cpu");
    assert_eq!(built(&world, &[]), "CPU");
    world.set("FLAMBEAU_BACKEND", "rocm");
    assert_eq!(built(&world, &[]), "ROCm");
    assert_eq!(built(&world, &["--backend", "CUDA"]), "CUDA");
    // Empty is unset.
    world.set("FLAMBEAU_BACKEND", "");
    assert_eq!(built(&world, &[]), "CPU");
    world.unset("INGEST_upscaler__PREFERREDGPUBACKEND");
    world.set("Ingest_Upscaler:PreferredGpuBackend", "RoCm");
    assert_eq!(built(&world, &[]), "ROCm");
    world.unset("Ingest_Upscaler:PreferredGpuBackend");
    assert_eq!(built(&world, &[]), "CUDA");
}

#[test]
fn unknown_values_are_errors_that_name_the_four_and_the_place() {
    let mut world = World::new();
    world.write(
        "appsettings.json",
        "{\n  \"Upscaler\": {\n    \"PreferredGpuBackend\": \"Vulkan\"\n  }\n}\n",
    );
    let names_all = |message: &str| {
        ["Vulkan", "Auto", "CUDA", "ROCm", "CPU"]
            .iter()
            .all(|word| message.contains(word))
    };
    let error = world.flambeau_error(1, &["build"]);
    let message = text(&error, "message");
    assert!(
        names_all(message) && message.contains("appsettings.json:3"),
        "{message}"
    );
    world.set(VARIABLE, "Vulkan");
    let error = world.flambeau_error(1, &["build"]);
    let message = text(&error, "message");
    assert!(names_all(message) && message.contains(VARIABLE), "{message}");
    world.set("FLAMBEAU_BACKEND", "Vulkan");
    let error = world.flambeau_error(1, &["build"]);
    let message = text(&error, "message");
    assert!(names_all(message) && message.contains("FLAMBEAU_BACKEND"), "{message}");
    let error = world.flambeau_error(2, &["build", "--backend", "Vulkan"]);
    let message = text(&error, "message");
    assert!(names_all(message) && message.contains("--backend"), "{message}");
    world.server().assert_no_requests();
    assert!(!world.has(".venv") && !world.has("lockfiles"));
}

#[test]
fn the_hardware_decides_where_nobody_else_does() {
    let Some(world) = without_gpu() else { return };
    assert_eq!(built(&world, &[]), "CPU");
    assert_ne!(world.flambeau_json("detect", &[])["reason"], "forced");
    world.fake_tool("rocm-smi", MI250, 0);
    assert_eq!(world.flambeau_json("detect", &[])["reason"], "amd_usable");
    assert_eq!(built(&world, &[]), "ROCm");
    world.fake_tool("nvidia-smi", RTX3090, 0);
    let detected = world.flambeau_json("detect", &[]);
    assert_eq!(
        (&detected["reason"], &detected["backend"], &detected["channel"]),
        (&"nvidia_usable".into(), &"CUDA".into(), &"cu118".into())
    );
    assert_eq!(detected["accelerators"][0]["model"], "NVIDIA GeForce RTX 3090");
    assert_eq!(built(&world, &[]), "CUDA");
    // What is too old for the wheels is refused for a reason that can be read.
    world.remove_tool("rocm-smi");
    world.fake_tool("nvidia-smi", "NVIDIA GeForce RTX 3090, 390.157, 8.6, 24576 MiB", 0);
    assert_eq!(world.flambeau_json("detect", &[])["reason"], "nvidia_driver_too_old");
    assert_eq!(built(&world, &[]), "CPU");
}

#[test]
fn an_explicit_choice_holds_until_the_configuration_changes() {
    let Some(mut world) = without_gpu() else { return };
    world.fake_tool("nvidia-smi", RTX3090, 0);
    let torch = |world: &World| {
        let command = ["run", "--", "python", "-c", "import torch; print(torch.__version__)"];
        world.flambeau(&command).ok().text().to_owned()
    };
    assert_eq!(built(&world, &[]), "CUDA");
    assert_eq!(built(&world, &["--backend", "cpu"]), "CPU");
    assert_eq!(built(&world, &[]), "CPU");
    assert_eq!(torch(&world), "2.7.0+cpu");
    assert_eq!(built(&world, &[]), "CPU");
    // The machine changes its mind; the user did not.
    world.fake_tool("nvidia-smi", "NVIDIA GeForce RTX 4090, 550.54.14, 8.9, 24564 MiB", 0);
    assert_eq!(built(&world, &[]), "CPU");
    world.set(VARIABLE, "ROCm");
    assert_eq!(torch(&world), "2.7.0+rocm6.3");
    assert_eq!(built(&world, &[]), "ROCm");
    world.unset(VARIABLE);
    assert_eq!(built(&world, &[]), "CUDA");
    // So does `activate`, and `--backend auto` ends it.
    world.flambeau_json("activate", &["cpu"]);
    assert_eq!(built(&world, &[]), "CPU");
    assert_eq!(built(&world, &["--backend", "auto"]), "CUDA");
    assert_eq!(built(&world, &[]), "CUDA");
    // A channel is a choice too.
    assert_eq!(world.build(&["--channel", "pip"])["channel"], "pip");
    assert_eq!(world.build(&[])["channel"], "pip");
    world.write("appsettings.json", r#"{"Upscaler": {"PreferredGpuBackend": "CPU"}}"#);
    assert_eq!(built(&world, &[]), "CPU");
}

#[test]
fn a_channel_that_contradicts_the_backend_is_an_error() {
    let world = World::new();
    let error = world.flambeau_error(1, &["build", "--backend", "cuda", "--channel", "cpu"]);
    let message = text(&error, "message");
    assert!(message.contains("cpu") && message.contains("CUDA"), "{message}");
    assert!(!hints(&error).contains("internal"), "{error:#}");
    world.server().assert_no_requests();
    if world.any_python().is_some() {
        // The backend of `pip` is known only when its torch is.
        let error = world.flambeau_error(1, &["build", "--backend", "cpu", "--channel", "pip"]);
        let message = text(&error, "message");
        assert!(
            message.contains("pip") && message.contains("CUDA") && message.contains("CPU"),
            "{message}"
        );
        assert!(!world.has(".venv"));
        assert_eq!(
            world.build(&["--backend", "cuda", "--channel", "pip"])["channel"],
            "pip"
        );
    }
}
