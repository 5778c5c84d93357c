//! `detect`, on recorded machines and on this one with fake tools, and the script that looks for itself.

use serde_json::{Value, json};

use crate::steps::{assert_error, names, skip};
use crate::support::world::{Output, World};

const SMI: [&str; 3] = [
    "nvidia-smi",
    "--query-gpu=name,driver_version,compute_cap,memory.total",
    "--format=csv,noheader",
];
const RTX4090: &str = "NVIDIA GeForce RTX 4090, 550.54.14, 8.9, 24564 MiB\n";
const OLD_DRIVER: &str = "NVIDIA GeForce RTX 4090, 410.48, 8.9, 24564 MiB\n";

/// A recorded machine with this answer of nvidia-smi.
fn nvidia(answer: &str) -> Value {
    json!({
        "schema": 1, "os": "linux", "arch": "x86_64", "kernel": "6.8.0",
        "commands": [{"argv": SMI, "exit": 0, "stdout": answer, "stderr": ""}],
        "files": {
            "/sys/bus/pci/devices/0000:01:00.0/class": "0x030000\n",
            "/sys/bus/pci/devices/0000:01:00.0/vendor": "0x10de\n",
            "/sys/bus/pci/devices/0000:01:00.0/device": "0x2684\n",
        },
        "links": {"/sys/bus/pci/devices/0000:01:00.0/driver": "../../../bus/pci/drivers/nvidia"},
    })
}

/// A recorded machine with one AMD GPU.
fn amd() -> Value {
    let node = "/sys/class/kfd/kfd/topology/nodes/1/properties";
    json!({
        "schema": 1, "os": "linux", "arch": "x86_64", "kernel": "6.8.0",
        "files": {
            "/sys/bus/pci/devices/0000:03:00.0/class": "0x030000\n",
            "/sys/bus/pci/devices/0000:03:00.0/vendor": "0x1002\n",
            "/sys/bus/pci/devices/0000:03:00.0/device": "0x744c\n",
            node: "cpu_cores_count 0\nsimd_count 192\ngfx_target_version 110000\nvendor_id 4098\ndevice_id 29772\n",
        },
        "links": {"/sys/bus/pci/devices/0000:03:00.0/driver": "../../../bus/pci/drivers/amdgpu"},
        "open": {"/dev/kfd": "ok"},
    })
}

fn nothing() -> Value {
    json!({"schema": 1, "os": "linux", "arch": "x86_64", "kernel": "6.8.0"})
}

/// Runs `detect` on a recorded machine.
fn replay(world: &World, machine: &Value, arguments: &[&str]) -> Output {
    world.write("machine.json", machine.to_string());
    world.flambeau(&[&["detect", "--replay", "machine.json"], arguments].concat())
}

#[test]
fn the_document_has_the_fields_that_programs_rely_on() {
    let world = World::new();
    for (machine, backend, channel, reason, vendor) in [
        (nvidia(RTX4090), "CUDA", "cu118", "nvidia_usable", Some("NVIDIA")),
        (
            nvidia(OLD_DRIVER),
            "CPU",
            "cpu",
            "nvidia_driver_too_old",
            Some("NVIDIA"),
        ),
        (amd(), "ROCm", "rocm6.3", "amd_usable", Some("AMD")),
        (nothing(), "CPU", "cpu", "no_gpu", None),
    ] {
        let output = replay(&world, &machine, &["--json"]).ok();
        let document = output.json();
        assert_eq!(document["schema"], 1);
        let answer = [&document["backend"], &document["channel"], &document["reason"]];
        assert_eq!(answer, [backend, channel, reason], "{output}");
        assert!(
            document["message"].as_str().is_some_and(|text| text.len() > 10),
            "{output}"
        );
        for list in ["accelerators", "probes", "warnings"] {
            assert!(document[list].is_array(), "{list}: {output}");
        }
        assert!(document["env"].is_object(), "{output}");
        let accelerators = document["accelerators"].as_array().expect("a list");
        assert_eq!(
            accelerators.first().map(|first| &first["vendor"]),
            vendor.map(Value::from).as_ref(),
            "{output}"
        );
        assert!(
            document["probes"].as_array().is_some_and(|probes| !probes.is_empty()),
            "{output}"
        );
        // The text says the same.
        let text = replay(&world, &machine, &[]).ok();
        assert!(
            text.stdout
                .starts_with(&format!("{backend} on channel {channel} ({reason})\n")),
            "{text}"
        );
    }
    world.server().assert_no_requests();
    assert!(names(&world.store()).is_empty());
}

#[test]
fn preferences_are_obeyed_strongest_first() {
    let mut world = World::new();
    let machine = nvidia(RTX4090);
    let backend = |world: &World, arguments: &[&str]| {
        let document = replay(world, &machine, &[&["--json"], arguments].concat()).ok().json();
        document["backend"].as_str().expect("a backend").to_owned()
    };
    assert_eq!(backend(&world, &[]), "CUDA");
    world.write("pyproject.toml", "[tool.flambeau]\nbackend = \"cpu\"\n");
    assert_eq!(backend(&world, &[]), "CPU");
    world.write(
        "appsettings.json",
        "{ // of the seed\n \"upscaler\": { \"PREFERREDGPUBACKEND\": \"rocm\", }, }\n",
    );
    assert_eq!(backend(&world, &[]), "ROCm");
    world.set("Ingest_Upscaler__PreferredGpuBackend", "CUDA");
    assert_eq!(backend(&world, &[]), "CUDA");
    world.set("FLAMBEAU_BACKEND", "cpu");
    assert_eq!(backend(&world, &[]), "CPU");
    assert_eq!(backend(&world, &["--backend", "rocm"]), "ROCm");
    assert_eq!(backend(&world, &["--backend", "auto"]), "CUDA");
    world.set("FLAMBEAU_BACKEND", "");
    world.set("Ingest_Upscaler__PreferredGpuBackend", "");
    assert_eq!(backend(&world, &[]), "ROCm");
    world.write(
        "appsettings.json",
        "{\"Upscaler\": {\"PreferredGpuBackend\": \"Auto\"}}",
    );
    assert_eq!(backend(&world, &[]), "CUDA");
}

#[test]
fn settings_that_cannot_be_used_are_refused_by_their_place() {
    let mut world = World::new();
    for (text, told) in [
        ("{\"Upscaler\": {\"PreferredGpuBackend\": \"Vulkan\"}}", "Vulkan"),
        ("{\"Upscaler\": {\"PreferredGpuBackend\": ", "appsettings.json"),
    ] {
        world.write("appsettings.json", text);
        let output = world.flambeau(&["detect"]).fails(1);
        assert!(
            output.stderr.contains("appsettings.json") && output.stderr.contains(told),
            "{output}"
        );
    }
    world.write("appsettings.json", "{}");
    world.set("FLAMBEAU_BACKEND", "metal");
    let output = world.flambeau(&["detect", "--json"]).fails(1);
    let message = output.json()["error"]["message"]
        .as_str()
        .expect("a message")
        .to_owned();
    for part in ["FLAMBEAU_BACKEND", "metal", "CUDA", "ROCm", "CPU", "Auto"] {
        assert!(message.contains(part), "{part}: {output}");
    }
    world.unset("FLAMBEAU_BACKEND");
    world.flambeau(&["detect", "--backend", "opencl"]).fails(2);
    world.flambeau(&["detect", "--config", "nowhere.json"]).fails(1);
}

#[test]
fn a_gpu_may_be_required() {
    let world = World::new();
    replay(&world, &nvidia(RTX4090), &["--require-gpu"]).ok();
    assert_error(replay(&world, &nothing(), &["--require-gpu"]), 1, &["no GPU"]);
    assert_error(replay(&world, &nvidia(OLD_DRIVER), &["--require-gpu"]), 1, &["410.48"]);
}

#[test]
fn what_is_no_recording_is_refused() {
    let world = World::new();
    assert_error(
        world.flambeau(&["detect", "--replay", "nowhere.json"]),
        1,
        &["nowhere.json"],
    );
    for (machine, told) in [(json!({"schema": 2}), "schema 2"), (json!([]), "recording")] {
        let output = replay(&world, &machine, &[]).fails(1);
        assert!(output.stderr.contains(told), "{output}");
    }
}

#[test]
fn a_live_probe_decides_what_is_built() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world
        .flambeau(&[
            "lock",
            "--channel",
            "cu118,cpu",
            "--python",
            &python.version,
            "torch==2.7.0",
        ])
        .ok();
    if world.flambeau(&["detect", "--json"]).ok().json()["backend"] != "CPU" {
        return skip("a live probe", "this machine has a GPU of its own");
    }
    world.fake_tool("nvidia-smi", RTX4090.trim(), 0);
    let document = world.flambeau(&["detect", "--json"]).ok().json();
    assert_eq!([&document["backend"], &document["reason"]], ["CUDA", "nvidia_usable"]);
    assert_eq!(world.flambeau(&["build", "--json"]).ok().json()["channel"], "cu118");
    // The GPU leaves, and the next build takes the CPU and says why.
    world.fake_tool("nvidia-smi", OLD_DRIVER.trim(), 0);
    let output = world.flambeau(&["build", "--json"]).ok();
    assert_eq!(output.json()["channel"], "cpu", "{output}");
    assert!(output.stderr.contains("410.48"), "{output}");
    assert!(output.json()["warnings"].to_string().contains("410.48"), "{output}");
    assert_eq!(
        world
            .venv_python(&["-c", "import torch; print(torch.__version__)"])
            .ok()
            .text(),
        "2.7.0+cpu"
    );
}

/// Runs the repository's own script.
fn script(world: &World, arguments: &[&str]) -> Option<Output> {
    let python = world.any_python()?;
    let mut command = world.command(python.path);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/test_gpu_backend.py"));
    command
        .args(["--flambeau", env!("CARGO_BIN_EXE_flambeau")])
        .args(arguments);
    Some(world.run(command))
}

#[test]
fn the_script_agrees_on_this_machine_with_and_without_an_environment() {
    let world = World::new();
    let Some(output) = script(&world, &[]) else { return };
    let output = output.ok();
    assert!(output.stdout.ends_with("\nAll agree.\n"), "{output}");
    assert!(output.stdout.contains("does not exist"), "{output}");
    if !output.stdout.contains("CPU (channel cpu)") {
        return skip("the script with an environment for the CPU", "this machine has a GPU");
    }
    let python = world.any_python().expect("it ran the script");
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version, "torch==2.7.0"])
        .ok();
    world.flambeau(&["build"]).ok();
    let output = script(&world, &[]).expect("it ran before").ok();
    for line in [
        "torch         2.7.0+cpu (built for CPU)",
        "environment_state.json says CPU",
        "a matrix product on cpu",
    ] {
        assert!(output.stdout.contains(line), "{line}: {output}");
    }
    assert!(!output.stdout.contains("DISAGREE"), "{output}");
}

#[test]
fn the_script_agrees_with_a_gpu_in_an_environment_for_it() {
    let mut world = World::new();
    let Some(python) = world.any_python() else { return };
    world.fake_tool("nvidia-smi", RTX4090.trim(), 0);
    world.set("FAKE_TORCH_GPU", "1");
    world
        .flambeau(&[
            "lock",
            "--channel",
            "cu118",
            "--python",
            &python.version,
            "torch==2.7.0",
        ])
        .ok();
    world.flambeau(&["build"]).ok();
    let output = script(&world, &[]).expect("there is a Python").ok();
    for line in [
        "NVIDIA GeForce RTX 4090",
        "torch.cuda.is_available() is True",
        "All agree.",
    ] {
        assert!(output.stdout.contains(line), "{line}: {output}");
    }
    // Torch that sees no GPU beside a detector that does: somebody is wrong.
    world.set("FAKE_TORCH_GPU", "0");
    let output = script(&world, &[]).expect("there is a Python").fails(1);
    assert!(
        output.stdout.contains("DISAGREE") && output.stdout.contains("is_available() is False"),
        "{output}"
    );
    assert!(output.stdout.ends_with("\nNot all agree.\n"), "{output}");
}

#[test]
fn the_script_disagrees_with_a_wrong_answer() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    world.write("machine.json", nvidia(RTX4090).to_string());
    let replayed = script(&world, &["--replay", "machine.json"])
        .expect("there is a Python")
        .ok();
    assert!(
        replayed.stdout.contains("agree         this script takes CUDA"),
        "{replayed}"
    );
    // A flambeau that always says CPU, and one that says nothing.
    let answer =
        json!({"schema": 1, "backend": "CPU", "channel": "cpu", "reason": "no_gpu", "message": "none", "warnings": []});
    for answer in [answer.to_string(), "Segmentation fault".to_owned()] {
        world.fake_tool("wrong-flambeau", &answer, 0);
        let path = world.path("bin/wrong-flambeau").display().to_string();
        let mut command = world.command(&python.path);
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/test_gpu_backend.py"));
        command.args(["--flambeau", &path, "--replay", "machine.json"]);
        let output = world.run(command).fails(1);
        assert!(output.stdout.contains("DISAGREE"), "{output}");
    }
}

/// A machine with an integrated GPU beside a good card: the mask is one of its answers.
fn beside_an_integrated_gpu() -> Value {
    let mut machine = amd();
    let node = "/sys/class/kfd/kfd/topology/nodes/2/properties";
    let files = machine["files"].as_object_mut().expect("files");
    for (name, text) in [("class", "0x030000\n"), ("vendor", "0x1002\n"), ("device", "0x164e\n")] {
        files.insert(format!("/sys/bus/pci/devices/0000:0e:00.0/{name}"), text.into());
    }
    files.insert(
        node.to_owned(),
        "cpu_cores_count 0\nsimd_count 4\ngfx_target_version 100306\nvendor_id 4098\ndevice_id 5710\n".into(),
    );
    machine
}

#[test]
fn a_recording_decides_as_the_machine_did_and_names_nobody() {
    let mut world = World::new();
    world.fake_tool("nvidia-smi", RTX4090.trim(), 0);
    world.set("USER", "a.person");
    let live = world.flambeau(&["detect", "--json"]).ok().json();
    let recorded = world.flambeau(&["detect", "--record", "machine.json", "--json"]).ok();
    for field in ["backend", "channel", "reason", "message"] {
        assert_eq!(recorded.json()[field], live[field], "{field}");
    }
    let text = world.read("machine.json");
    assert!(!text.contains("a.person"), "{text}");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(document["schema"], 1);
    let replayed = world.flambeau(&["detect", "--replay", "machine.json", "--json"]).ok();
    assert_eq!(replayed.json(), recorded.json());
    world
        .flambeau(&["detect", "--record", "a", "--replay", "machine.json"])
        .fails(2);
    assert_error(
        world.flambeau(&["detect", "--record", "no/such/folder/file"]),
        1,
        &["no/such/folder"],
    );
}

#[test]
fn the_script_agrees_on_every_recorded_machine() {
    let world = World::new();
    if world.any_python().is_none() {
        return;
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/gpu/captures");
    let captures = std::fs::read_dir(folder).expect("captures");
    let mut seen = 0;
    for path in captures.map(|entry| entry.expect("a capture").path()) {
        if path.extension().is_some_and(|extension| extension == "json") {
            let path = path.display().to_string();
            let output = script(&world, &["--replay", &path]).expect("there is a Python").ok();
            assert!(output.stdout.ends_with("\nAll agree.\n"), "{path}: {output}");
            // Where a variable stands in for the hardware there is nothing to compare.
            seen += usize::from(output.stdout.contains("  agree  "));
        }
    }
    assert!(seen >= 75, "{seen} captures were compared");
}

#[test]
fn build_may_require_a_gpu_before_it_fetches_anything() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    if world.flambeau(&["detect", "--json"]).ok().json()["backend"] != "CPU" {
        return skip("build --require-gpu", "this machine has a GPU of its own");
    }
    world
        .flambeau(&[
            "lock",
            "--channel",
            "cu118",
            "--python",
            &python.version,
            "torch==2.7.0",
        ])
        .ok();
    world.server().clear_log();
    assert_error(
        world.flambeau(&["build", "--channel", "cu118", "--require-gpu"]),
        1,
        &["no GPU"],
    );
    world.fake_tool("nvidia-smi", OLD_DRIVER.trim(), 0);
    assert_error(
        world.flambeau(&["build", "--channel", "cu118", "--require-gpu"]),
        1,
        &["410.48"],
    );
    world.server().assert_no_requests();
    world.fake_tool("nvidia-smi", RTX4090.trim(), 0);
    world.flambeau(&["build", "--channel", "cu118", "--require-gpu"]).ok();
}

#[test]
fn a_mask_is_suggested_where_an_integrated_gpu_is_in_the_way() {
    let world = World::new();
    let document = replay(&world, &beside_an_integrated_gpu(), &["--json"]).ok().json();
    assert_eq!([&document["backend"], &document["reason"]], ["ROCm", "amd_usable"]);
    assert_eq!(document["env"], json!({"HIP_VISIBLE_DEVICES": "0"}));
}

#[test]
fn suggested_variables_reach_programs_unless_they_are_refused() {
    let mut world = World::new();
    let Some(python) = world.any_python() else { return };
    world
        .flambeau(&["lock", "--channel", "cpu", "--python", &python.version, "torch==2.7.0"])
        .ok();
    world.flambeau(&["build", "--channel", "cpu"]).ok();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let print = "import os; print(os.environ.get('HIP_VISIBLE_DEVICES'), os.environ.get('LD_PRELOAD'))";
    let run = |world: &World, flags: &[&str]| {
        let arguments = [&["run"], flags, &["--", "python", "-c", print]].concat();
        world.flambeau(&arguments).ok().text().to_owned()
    };
    let sourced = |world: &World, before: &str| {
        let mut command = world.command("/bin/sh");
        command
            .arg("-c")
            .arg(format!("{before} . .venv/bin/activate; python -c \"{print}\""));
        command.current_dir(world.project());
        world.run(command).ok().text().to_owned()
    };
    assert_eq!(run(&world, &[]), "None None");
    // Only the known variables of this very machine count.
    let file = |host: &str| format!("host={host}\nHIP_VISIBLE_DEVICES=0\nLD_PRELOAD=/evil.so\n");
    world.write(".flambeau/gpu/cpu.env", file("another-machine"));
    assert_eq!(
        (run(&world, &[]), sourced(&world, "")),
        ("None None".into(), "None None".into())
    );
    world.write(".flambeau/gpu/cpu.env", file(&host));
    assert_eq!(
        (run(&world, &[]), sourced(&world, "")),
        ("0 None".into(), "0 None".into())
    );
    assert_eq!(run(&world, &["--no-gpu-env"]), "None None");
    assert_eq!(sourced(&world, "FLAMBEAU_NO_GPU_ENV=1;"), "None None");
    world.set("HIP_VISIBLE_DEVICES", "3");
    assert_eq!(
        (run(&world, &[]), sourced(&world, "")),
        ("3 None".into(), "3 None".into())
    );
}
