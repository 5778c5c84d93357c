//! CUDA, ROCm, CPU and the channel `pip` side by side in one project.

use std::fs;

use regex::Regex;
use serde_json::Value;

use crate::support::encoding::sha256;
use crate::support::world::{World, text};

struct Expected {
    flags: [&'static str; 2],
    backend: &'static str,
    channel: &'static str,
    lockfile: &'static str,
    torch: &'static str,
    /// `torch.__version__`, `torch.version.cuda`, `torch.version.hip`
    stamps: &'static str,
    answer: &'static str,
    cudnn: &'static str,
    packages: usize,
}

const EXPECTED: [Expected; 4] = [
    Expected {
        flags: ["--backend", "cuda"],
        backend: "CUDA",
        channel: "cu118",
        lockfile: "cuda",
        torch: "2.7.0+cu118",
        stamps: "2.7.0+cu118 11.8 None",
        answer: "118",
        cudnn: "90100",
        packages: 25,
    },
    Expected {
        flags: ["--backend", "rocm"],
        backend: "ROCm",
        channel: "rocm6.3",
        lockfile: "rocm",
        torch: "2.7.0+rocm6.3",
        stamps: "2.7.0+rocm6.3 None 6.3.42131-fa1d09cbd",
        answer: "63",
        cudnn: "None",
        packages: 14,
    },
    Expected {
        flags: ["--backend", "cpu"],
        backend: "CPU",
        channel: "cpu",
        lockfile: "cpu",
        torch: "2.7.0+cpu",
        stamps: "2.7.0+cpu None None",
        answer: "0",
        cudnn: "None",
        packages: 12,
    },
    Expected {
        flags: ["--channel", "pip"],
        backend: "CUDA",
        channel: "pip",
        lockfile: "pip",
        torch: "2.7.0",
        stamps: "2.7.0+cu126 12.6 None",
        answer: "126",
        cudnn: "90501",
        packages: 28,
    },
];

#[test]
fn four_channels_side_by_side_each_work_and_say_what_they_are() {
    let world = World::new();
    let Some(python) = world.any_python() else { return };
    // From Python 3.12 on, torch needs setuptools everywhere; before, triton alone does.
    let setuptools = |expected: &Expected| match (python.version.as_str(), expected.channel) {
        ("3.12" | "3.13", "cpu") => 1,
        _ => 0,
    };
    let mut paths = Vec::new();
    for (number, expected) in (1..).zip(&EXPECTED) {
        let document = world.build(&expected.flags);
        assert_eq!(document["backend"], expected.backend);
        assert_eq!(document["channel"], expected.channel);
        assert_eq!(document["python"], python.full_version.as_str());
        assert_eq!(document["reused"], false);
        assert_eq!(document["activated"], true);
        assert_eq!(document["generation"], number);
        assert_eq!(document["packages"], expected.packages + setuptools(expected));
        assert!(document["downloaded_bytes"].as_u64() > Some(0), "{document:#}");
        works(&world, expected);
        links_lead_to(&world, &document);
        state_is_true(&world, &document, expected);
        paths.push(text(&document, "path").to_owned());
    }
    // Nothing was taken away or changed for the sake of the next one.
    for (path, expected) in paths.iter().zip(&EXPECTED) {
        let mut command = world.command(format!("{path}/bin/python"));
        command.args(["-c", "import torch; print(torch.answer())"]);
        assert_eq!(world.run(command).ok().text(), expected.answer);
    }
    assert_eq!(fs::read_dir(world.store().join("envs")).expect("a shelf").count(), 4);
    assert_eq!(fs::read_dir(world.store().join("tmp")).expect("a folder").count(), 0);
}

fn works(world: &World, expected: &Expected) {
    let says = |program: &str| world.python_says(program);
    assert_eq!(
        says("import torch, torchvision; print(torch.__version__, torch.version.cuda, torch.version.hip)"),
        expected.stamps
    );
    assert_eq!(says("import torch; print(torch.answer())"), expected.answer);
    assert_eq!(
        says("import torch; print(torch.backends.cudnn.version())"),
        expected.cudnn
    );
    assert_eq!(
        says(
            "import torch, torchvision; print(torchvision.ops.nms(None, None, 0), (torch.ones(2, 3) @ torch.ones(3, 2)).tolist())"
        ),
        "[7] [[3.0, 3.0], [3.0, 3.0]]"
    );
    let site = says("import torch, os; print(os.path.dirname(os.path.dirname(torch.__file__)))");
    let manager = world.command(format!("{site}/torch/bin/torch_shm_manager"));
    assert_eq!(world.run(manager).ok().text(), expected.answer);
    assert!(
        world
            .venv_tool("torchrun", &["--help"])
            .ok()
            .stdout
            .starts_with("usage: torchrun")
    );
    world.write(
        "train.py",
        "import sys, torch\nprint(sys.argv[1:], torch.answer(), sys.prefix)\n",
    );
    let trained = world.venv_tool("torchrun", &["train.py", "--epochs", "3"]).ok();
    let prefix = world.project().join(".venv");
    assert_eq!(
        trained.text(),
        format!("['--epochs', '3'] {} {}", expected.answer, prefix.display())
    );
}

fn links_lead_to(world: &World, document: &Value) {
    assert_eq!(world.active().to_str(), document["path"].as_str());
    let link = fs::read_link(world.project().join("environment_state.json")).expect("a link");
    assert_eq!(link.to_str(), Some(".venv/environment_state.json"));
    let key = text(document, "key");
    let name = world
        .active()
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let shape = Regex::new(r"^[0-9a-f]{40}-torch-2\.7\.0-[a-z0-9.]+-[0-9a-f]{8}$").expect("a pattern");
    let name = name.expect("a name");
    assert!(shape.is_match(&name) && name.starts_with(&key[..40]), "{name}");
    assert!(name.contains(&format!("-{}-", text(document, "channel"))), "{name}");
}

fn state_is_true(world: &World, document: &Value, expected: &Expected) {
    let written = world.read("environment_state.json");
    let member = Regex::new(r#"(?m)^  "(\w+)": "#).expect("a pattern");
    let members: Vec<_> = member
        .captures_iter(&written)
        .map(|found| found[1].to_owned())
        .collect();
    assert_eq!(
        members[..11],
        [
            "InstalledBackend",
            "CreatedAt",
            "PythonVersion",
            "InstalledPackages",
            "Channel",
            "EnvironmentKey",
            "TreeDigest",
            "LockfileDigest",
            "Target",
            "Interpreter",
            "FlambeauVersion"
        ]
    );
    let state = world.state();
    assert_eq!(state["InstalledBackend"], expected.backend);
    assert_eq!(state["Channel"], expected.channel);
    assert_eq!(state["PythonVersion"], document["python"]);
    assert_eq!(state["EnvironmentKey"], document["key"]);
    assert_eq!(state["TreeDigest"], document["tree_digest"]);
    assert_eq!(state["Target"], document["target"]);
    assert_eq!(state["FlambeauVersion"], env!("CARGO_PKG_VERSION"));
    let python = world.any_python().expect("it has just been used");
    assert_eq!(text(&state, "Interpreter"), python.path.display().to_string());
    let time = Regex::new(r"^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$").expect("a pattern");
    assert!(time.is_match(text(&state, "CreatedAt")), "{state:#}");
    let lockfile = world.read(format!("lockfiles/pylock.{}.toml", expected.lockfile));
    assert_eq!(text(&state, "LockfileDigest"), sha256(lockfile.as_bytes()));
    // What the state lists is what Python itself finds installed.
    let installed = world.python_says(
        "import importlib.metadata as m, re\n\
         names = [(re.sub('[-_.]+', '-', d.metadata['Name']).lower(), d.version) for d in m.distributions()]\n\
         print('\\n'.join('%s==%s' % name for name in sorted(names)))",
    );
    let installed: Vec<_> = installed.lines().map(Value::from).collect();
    assert_eq!(state["InstalledPackages"], Value::from(installed));
    let torch = format!("torch=={}", expected.torch);
    assert!(
        state["InstalledPackages"]
            .as_array()
            .is_some_and(|all| all.contains(&Value::from(torch)))
    );
}
