//! Choosing: preferences, lists of channels, overrides, masks, sentences.

use serde_json::json;

use super::*;

#[test]
fn the_first_channel_that_runs_is_taken() {
    let list = ["cu118", "cu126", "cu128"];
    let rows: &[(&str, &[&str], &str)] = &[
        (RTX5090, &list, "cu128 nvidia_usable"),
        (RTX4090, &list, "cu118 nvidia_usable"),
        (RTX4090, &["cu128", "cu118"], "cu128 nvidia_usable"),
        (
            "NVIDIA GeForce GTX 1080, 550.1, 6.1, 8192 MiB\n",
            &["cu128", "cu118"],
            "cu118 nvidia_usable",
        ),
        (
            "NVIDIA GeForce RTX 4090, 470.1, 8.9, 1 MiB\n",
            &["cu128", "cu118"],
            "cu118 nvidia_usable",
        ),
        (
            "NVIDIA GeForce RTX 4090, 470.1, 8.9, 1 MiB\n",
            &["cu128"],
            "cpu nvidia_driver_too_old",
        ),
        (RTX4090, &["cu999"], "cu999 nvidia_usable"),
    ];
    for (smi, tags, expected) in rows {
        assert_eq!(
            answer(&Machine::new().smi(0, smi).decide(&cuda(tags))),
            *expected,
            "{smi} {tags:?}"
        );
    }
    let both = format!("{RTX4090}{RTX5090}");
    assert_eq!(
        answer(&Machine::new().smi(0, &both).decide(&cuda(&list))),
        "cu128 nvidia_usable"
    );

    let mut wanted = cuda(&list);
    wanted.channels.unlocked = ["cu118", "cu126"]
        .iter()
        .map(|tag| tag.parse().expect("a channel"))
        .collect();
    assert_eq!(
        answer(&Machine::new().smi(0, RTX4090).decide(&wanted)),
        "cu128 nvidia_usable"
    );
}

#[test]
fn the_remedy_is_in_the_sentence() {
    let message = |machine: Machine| machine.decide(&auto()).message;
    assert_eq!(
        message(Machine::new().smi(0, RTX5090)),
        "NVIDIA GeForce RTX 5090 has compute capability 12.0, for which the wheels of cu118 hold no kernels; \
         the channel cu128 has them: `--channel cu128`, or list it in [tool.flambeau.backends] cuda"
    );
    assert_eq!(
        message(Machine::new().smi(0, "TITAN Xp, 384.66, 6.1, 12188 MiB\n")),
        "the NVIDIA driver 384.66 is older than 450.80.02, which cu118 needs; update the driver"
    );
    assert_eq!(
        message(Machine::new().smi(0, "GRID K520, 470.1, 3.0, 4096 MiB\n")),
        "GRID K520 has compute capability 3.0, for which the wheels of cu118 hold no kernels; no channel of this torch has them"
    );
    assert_eq!(
        message(Machine::new().lspci("-nn", "lspci-nn_rembrandt-apu.txt")),
        "Advanced Micro Devices, Inc. [AMD/ATI] Rembrandt [Radeon 680M] is gfx1035, for which the wheels of rocm6.3 hold no kernels; \
         use the CPU, or a GPU that ROCm's wheels are built for"
    );
}

#[test]
fn gpus_that_the_wheels_do_not_run_on_are_masked() {
    let two = Machine::new()
        .kfd(1, &gpu_node(100_306, 0x164e))
        .kfd(10, &gpu_node(110_000, 0x744c))
        .opens("ok");
    let decision = two.decide(&auto());
    assert_eq!(answer(&decision), "rocm6.3 amd_usable");
    assert_eq!(
        decision.env.get("HIP_VISIBLE_DEVICES").map(String::as_str),
        Some("1"),
        "{decision:#?}"
    );
    assert!(decision.warnings[0].contains("gfx1036"), "{decision:#?}");
    let set = two.set("env", "HIP_VISIBLE_DEVICES", "1").decide(&auto());
    assert!(
        set.env.is_empty()
            && set
                .warnings
                .iter()
                .any(|it| it.starts_with("HIP_VISIBLE_DEVICES is set"))
    );

    let mixed = Machine::new().smi(0, &format!("{RTX5090}{RTX4090}")).decide(&auto());
    let env: Vec<_> = mixed
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    assert_eq!(env, ["CUDA_DEVICE_ORDER=PCI_BUS_ID", "CUDA_VISIBLE_DEVICES=1"]);
    assert!(
        mixed.warnings[0].starts_with("NVIDIA GeForce RTX 5090 is left out"),
        "{mixed:#?}"
    );
}

#[test]
fn preferences_are_obeyed_without_hardware() {
    let wish = |backend| Wanted {
        preference: Preference::Backend(backend),
        ..auto()
    };
    for (backend, expected) in [
        (Backend::Cuda, "cu118"),
        (Backend::Rocm, "rocm6.3"),
        (Backend::Cpu, "cpu"),
    ] {
        let quick = obey(&wish(backend)).expect("needs no look");
        assert_eq!(answer(&quick), format!("{expected} forced"));
        let looked = Machine::new().decide(&wish(backend));
        assert_eq!(
            (looked.backend, &looked.channel, looked.reason),
            (quick.backend, &quick.channel, quick.reason)
        );
        assert_eq!(looked.warnings.is_empty(), backend == Backend::Cpu, "{looked:#?}");
    }
    let blackwell = Machine::new().smi(0, RTX5090).decide(&wish(Backend::Cuda));
    assert_eq!(answer(&blackwell), "cu118 forced");
    assert!(blackwell.warnings[0].contains("12.0"), "{blackwell:#?}");
    // With several channels the hardware chooses among them, in every verb alike.
    let list = Wanted {
        preference: Preference::Backend(Backend::Cuda),
        ..cuda(&["cu118", "cu128"])
    };
    assert_eq!(obey(&list), None);
    assert_eq!(answer(&Machine::new().smi(0, RTX5090).decide(&list)), "cu128 forced");
    assert_eq!(answer(&Machine::new().decide(&list)), "cu118 forced");
    // A channel named outright is a preference too.
    let named = Wanted {
        channel: Some(("cu126".parse().expect("a channel"), Some(Backend::Cuda))),
        ..auto()
    };
    assert_eq!(answer(&obey(&named).expect("needs no look")), "cu126 forced");
    let pip = Wanted {
        channel: Some((Channel::pip(), None)),
        ..auto()
    };
    assert_eq!(answer(&Machine::new().decide(&pip)), "pip no_gpu");
    assert_eq!(
        answer(&Machine::new().smi(0, RTX4090).decide(&pip)),
        "pip nvidia_usable"
    );
}

#[test]
fn overrides_stand_in_for_hardware() {
    let with = |name: &str, value: &str| Machine::new().set("env", name, value);
    let rows = [
        (with("FLAMBEAU_CUDA_ARCH", "8.9"), "cu118 nvidia_usable"),
        (with("FLAMBEAU_CUDA_ARCH", "sm_120"), "cpu nvidia_arch_unsupported"),
        (with("FLAMBEAU_CUDA_DRIVER", "440.33"), "cpu nvidia_driver_too_old"),
        (with("FLAMBEAU_CUDA_DRIVER", "570"), "cu118 nvidia_usable"),
        (
            with("FLAMBEAU_CUDA_DRIVER", "").set("env", "FLAMBEAU_CUDA_ARCH", ""),
            "cpu no_gpu",
        ),
        (with("FLAMBEAU_CUDA_ARCH", "new"), "cpu no_gpu"),
        (with("FLAMBEAU_AMD_GFX", "gfx1100"), "rocm6.3 amd_usable"),
        (with("FLAMBEAU_AMD_GFX", "gfx1036"), "cpu amd_gfx_unsupported"),
        (
            with("HSA_OVERRIDE_GFX_VERSION", "10.3.0")
                .kfd(1, &gpu_node(100_301, 0x73df))
                .opens("ok"),
            "rocm6.3 amd_usable",
        ),
    ];
    for (machine, expected) in rows {
        let decision = machine.decide(&auto());
        assert_eq!(answer(&decision), expected, "{decision:#?}");
    }
    let bad = with("FLAMBEAU_CUDA_ARCH", "new").decide(&auto());
    assert!(
        bad.warnings[0].starts_with("FLAMBEAU_CUDA_ARCH holds `new`"),
        "{bad:#?}"
    );
    let hidden = Machine::new()
        .smi(0, RTX4090)
        .set("env", "CUDA_VISIBLE_DEVICES", "")
        .decide(&auto());
    assert_eq!(answer(&hidden), "cu118 nvidia_usable");
    assert!(hidden.warnings[0].contains("hides every GPU"), "{hidden:#?}");
}

#[test]
fn a_tool_in_trouble_is_never_passed_over_in_silence() {
    let intel = || Machine::new().sysfs("sysfs-pci_intel-i7-1270p.tsv");
    let failing = intel()
        .smi(9, "NVIDIA-SMI has failed because it couldn't communicate\n")
        .decide(&auto());
    assert!(
        failing.warnings[0].ends_with("NVIDIA-SMI has failed because it couldn't communicate"),
        "{failing:#?}"
    );
    let hung = intel().hangs(&["nvidia-smi", SMI, CSV]).decide(&auto());
    assert_eq!(answer(&hung), "cpu nvidia_probe_hung");
}

#[test]
fn the_configuration_says_what_is_wanted() {
    let folder = tempfile::tempdir().expect("a folder");
    let text =
        "[tool.flambeau.backends]\ncuda = [\"cu126\", \"mine\"]\n[tool.flambeau.channels.mine]\nbackend = \"cuda\"\n";
    std::fs::write(folder.path().join("pyproject.toml"), text).expect("written");
    let load = |channel: &str| {
        let overrides = crate::config::Overrides {
            channel: channel.parse().ok(),
            ..Default::default()
        };
        crate::config::Config::load(&overrides, &crate::config::Vars::default(), folder.path()).expect("configured")
    };
    let wanted = Wanted::new(&load(""), std::collections::BTreeSet::new(), None);
    assert_eq!(wanted.channels, cuda(&["cu126", "mine"]).channels);
    assert_eq!((wanted.preference, wanted.channel), (Preference::Auto, None));
    let named = Wanted::new(&load("mine"), std::collections::BTreeSet::new(), None);
    assert_eq!(answer(&obey(&named).expect("needs no look")), "mine forced");
    assert_eq!(obey(&named).expect("needs no look").backend, Backend::Cuda);
}

#[test]
fn the_document_has_the_promised_fields() {
    let decision = Machine::new()
        .pci("0000:01:00.0", "0300", "10de:2684", "nvidia")
        .smi(0, RTX4090)
        .decide(&auto());
    let value = serde_json::to_value(&decision).expect("JSON");
    for field in [
        "backend",
        "channel",
        "reason",
        "message",
        "accelerators",
        "probes",
        "warnings",
        "env",
        "would_change",
    ] {
        assert!(value.get(field).is_some(), "{field}");
    }
    assert_eq!(value["backend"], "CUDA");
    assert_eq!(value["reason"], "nvidia_usable");
    assert_eq!(
        value["accelerators"][0],
        json!({"vendor": "NVIDIA", "model": "NVIDIA GeForce RTX 4090", "slot": "0000:01:00.0", "driver": "550.54.14",
               "compute_capability": "8.9", "memory_mib": 24564, "usable": true})
    );
    let probe = &value["probes"].as_array().expect("a list")[1];
    assert_eq!(
        (&probe["name"], &probe["exit"], &probe["outcome"]),
        (&json!("nvidia-smi"), &json!(0), &json!("found"))
    );
    let codes: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(codes.len(), 19);
}
