//! Whole machines, put together from recorded outputs, and what they must be decided to be.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::backend::Preference;

/// A recorded output under `tests/fixtures/gpu`.
pub(super) fn fixture(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/gpu")
        .join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

const SMI: &str = "--query-gpu=name,driver_version,compute_cap,memory.total";
const OLD_SMI: &str = "--query-gpu=name,driver_version,memory.total";
const CSV: &str = "--format=csv,noheader";
const NODES: &str = "/sys/class/kfd/kfd/topology/nodes";

/// A recording under construction.
#[derive(Clone)]
struct Machine(Value);

impl Machine {
    fn new() -> Self {
        Self(
            json!({"schema": 1, "os": "linux", "arch": "x86_64", "kernel": "6.8.0", "commands": [], "files": {}, "links": {}, "open": {}, "env": {}}),
        )
    }

    fn set(mut self, section: &str, key: &str, value: impl Into<Value>) -> Self {
        self.0[section][key] = value.into();
        self
    }

    fn is(mut self, key: &str, value: &str) -> Self {
        self.0[key] = value.into();
        self
    }

    fn command(mut self, argv: &[&str], exit: i32, stdout: &str) -> Self {
        let command = json!({"argv": argv, "exit": exit, "stdout": stdout, "stderr": ""});
        self.0["commands"].as_array_mut().expect("a list").push(command);
        self
    }

    fn hangs(mut self, argv: &[&str]) -> Self {
        self.0["commands"]
            .as_array_mut()
            .expect("a list")
            .push(json!({"argv": argv, "timeout": true}));
        self
    }

    /// A PCI function in sysfs: `class vendor:device`, its driver (or `-`) and its revision.
    fn pci(self, slot: &str, class: &str, ids: &str, driver: &str) -> Self {
        let (vendor, device) = ids.split_once(':').expect("ids");
        let folder = format!("/sys/bus/pci/devices/{slot}");
        let machine = self
            .set("files", &format!("{folder}/class"), format!("0x{class}00\n"))
            .set("files", &format!("{folder}/vendor"), format!("0x{vendor}\n"))
            .set("files", &format!("{folder}/device"), format!("0x{device}\n"));
        if driver == "-" {
            machine
        } else {
            machine.set(
                "links",
                &format!("{folder}/driver"),
                format!("../../../bus/pci/drivers/{driver}"),
            )
        }
    }

    /// Every row of a recorded inventory.
    fn sysfs(mut self, name: &str) -> Self {
        for line in fixture(name).lines() {
            let fields: Vec<_> = line.split('\t').collect();
            let folder = format!("/sys/bus/pci/devices/{}", fields[0]);
            for (file, value) in ["class", "vendor", "device", "revision"].iter().zip(&fields[1..]) {
                self = self.set("files", &format!("{folder}/{file}"), format!("{value}\n"));
            }
        }
        self
    }

    fn lspci(self, option: &str, name: &str) -> Self {
        self.command(&["lspci", option], 0, &fixture(name))
    }

    fn smi(self, exit: i32, stdout: &str) -> Self {
        self.command(&["nvidia-smi", SMI, CSV], exit, stdout)
    }

    fn smi_file(self, exit: i32, name: &str) -> Self {
        self.smi(exit, &fixture(name))
    }

    fn kfd(self, node: u32, properties: &str) -> Self {
        self.set("files", &format!("{NODES}/{node}/properties"), properties)
    }

    fn kfd_file(self, node: u32, name: &str) -> Self {
        self.kfd(node, &fixture(name))
    }

    fn opens(self, result: &str) -> Self {
        self.set("open", "/dev/kfd", result)
    }

    fn rocm_smi(self, stdout: &str) -> Self {
        self.command(&["rocm-smi", "--showproductname", "--json"], 0, stdout)
    }

    fn module(self, name: &str) -> Self {
        self.set("files", "/proc/driver/nvidia/version", fixture(name))
    }

    fn host(&self) -> ReplayHost {
        ReplayHost::parse(self.0.to_string().as_bytes()).expect("a recording")
    }

    fn decide(&self, wanted: &Wanted) -> Decision {
        decide(wanted, &self.host(), true)
    }
}

fn gpu_node(version: u32, device: u32) -> String {
    format!("cpu_cores_count 0\nsimd_count 64\ngfx_target_version {version}\nvendor_id 4098\ndevice_id {device}\n")
}

fn auto() -> Wanted {
    Wanted {
        preference: Preference::Auto,
        channel: None,
        channels: Channels::default(),
        torch: None,
    }
}

fn cuda(tags: &[&str]) -> Wanted {
    let cuda = tags.iter().map(|tag| tag.parse().expect("a channel")).collect();
    Wanted {
        channels: Channels {
            cuda,
            ..Channels::default()
        },
        ..auto()
    }
}

fn answer(decision: &Decision) -> String {
    format!("{} {}", decision.channel, decision.reason.as_str())
}

const RX7900: &str = "lspci-nn_navi31_rx7900xtx.txt";
const H100: &str = "nvidia-smi_query_h100_linux_590.48.01.csv";
const RTX5090: &str = "NVIDIA GeForce RTX 5090, 570.86.10, 12.0, 32607 MiB\n";
const RTX4090: &str = "NVIDIA GeForce RTX 4090, 550.54.14, 8.9, 24564 MiB\n";

#[expect(clippy::too_many_lines, reason = "a table")]
fn nvidia_machines() -> Vec<(&'static str, Machine, &'static str)> {
    let new = Machine::new;
    let card = |driver: &str| new().pci("0000:01:00.0", "0300", "10de:2684", driver);
    vec![
        ("an H100", new().pci("0000:01:00.0", "0302", "10de:2330", "nvidia").smi_file(0, H100), "cu118 nvidia_usable"),
        ("H100 with MIG", new().smi_file(0, "nvidia-smi_query_h100-mig_linux_590.48.01.csv"), "cu118 nvidia_usable"),
        ("H200 with MIG", new().smi_file(0, "nvidia-smi_query_h200-mig_linux_590.48.01.csv"), "cu118 nvidia_usable"),
        ("an L40S", new().smi_file(0, "nvidia-smi_query_l40s_linux_595.80.csv"), "cu118 nvidia_usable"),
        ("driver 610", new().smi_file(0, "nvidia-smi_query_rtx2080s_linux_610.57.04.csv"), "cu118 nvidia_usable"),
        (
            "Windows",
            new().is("os", "windows").smi_file(0, "nvidia-smi_query_rtx2080s_windows_591.86.csv"),
            "cu118 nvidia_usable",
        ),
        (
            "a desktop by lspci -Dnmm",
            new().lspci("-Dnmm", "lspci-Dnmm_amd-cpu_rtx3090-only.txt").smi(0, "NVIDIA GeForce RTX 3090, 535.1.2, 8.6, 24576 MiB\n"),
            "cu118 nvidia_usable",
        ),
        (
            "the same by lspci -nn, no driver",
            new().lspci("-nn", "lspci-nn_amd-cpu_rtx3090-only.txt"),
            "cpu nvidia_no_driver",
        ),
        (
            "a hybrid whose AMD part is an iGPU",
            new()
                .lspci("-Dnmm", "lspci-Dnmm_hybrid_rtx6000ada+4060ti+raphael-igpu.txt")
                .smi(0, "NVIDIA RTX 6000 Ada Generation, 550.1, 8.9, 49140 MiB\nNVIDIA GeForce RTX 4060 Ti, 550.1, 8.9, 8188 MiB\n"),
            "cu118 nvidia_usable",
        ),
        (
            "an old driver that does not know compute_cap",
            card("nvidia")
                .smi_file(2, "nvidia-smi_fail_compute-cap-field_470.txt")
                .command(&["nvidia-smi", OLD_SMI, CSV], 0, "NVIDIA GeForce RTX 4090, 470.256.02, 24564 MiB\n"),
            "cu118 nvidia_usable",
        ),
        (
            "compute_cap unknown, id of Kepler",
            new().pci("0000:00:03.0", "0300", "10de:118a", "nvidia").smi(0, "GRID K520, 470.1, [N/A], 4096 MiB\n"),
            "cpu nvidia_arch_unsupported",
        ),
        ("Blackwell", card("nvidia").smi(0, RTX5090), "cpu nvidia_arch_unsupported"),
        ("driver 384", new().smi(0, "TITAN Xp, 384.66, 6.1, 12188 MiB\n"), "cpu nvidia_driver_too_old"),
        (
            "WSL2 with the numbers of Windows",
            new()
                .is("kernel", "5.15.153.1-microsoft-standard-WSL2")
                .pci("e57a:00:00.0", "0302", "1414:008e", "-")
                .smi(0, "NVIDIA GeForce RTX 3080, 452.39, 8.6, 10240 MiB\nNVIDIA T4, 452.39, 7.5, 15360 MiB\n"),
            "cu118 nvidia_usable",
        ),
        (
            "WSL2 without NVIDIA",
            new().is("kernel", "5.15.153.1-microsoft-standard-WSL2").pci("e57a:00:00.0", "0302", "1414:008e", "-"),
            "cpu virtual_display_only",
        ),
        (
            "TrueNAS after an update",
            card("nvidia")
                .smi_file(18, "nvidia-smi_fail_mismatch_truenas_580.txt")
                .module("proc-driver-nvidia-version_open_575.64.03.txt"),
            "cpu nvidia_driver_mismatch",
        ),
        (
            "Proxmox guest, mismatch",
            new().lspci("-nn", "lspci-nn_proxmox-bochs+rtx2080ti.txt").smi_file(1, "nvidia-smi_fail_mismatch_535.txt"),
            "cpu nvidia_driver_mismatch",
        ),
        (
            "KVM guest, driver not loaded",
            new().lspci("-nn", "lspci-nn_kvm-qxl+2xa6000+2x3090.txt").smi_file(9, "nvidia-smi_fail_cannot-communicate.txt"),
            "cpu nvidia_no_driver",
        ),
        (
            "no devices",
            new().lspci("-nn", "lspci-nn_intel-arrowlake+rtx5080.txt").smi(6, "No devices were found\n"),
            "cpu nvidia_no_devices",
        ),
        (
            "a lost GPU",
            card("nvidia")
                .smi_file(255, "nvidia-smi_fail_device-handle-unknown-error.txt")
                .module("proc-driver-nvidia-version_closed_535.154.05.txt"),
            "cpu nvidia_gpu_lost",
        ),
        (
            "a lost GPU among good ones",
            card("nvidia").smi(15, &format!("{RTX4090}NVIDIA X, [Unknown Error], [Unknown Error], [Unknown Error]\n")),
            "cu118 nvidia_usable",
        ),
        ("rev ff", new().lspci("-nn", "lspci-nn_intel-laptop_840m_rev-ff.txt"), "cpu nvidia_gpu_lost"),
        ("nouveau", card("nouveau"), "cpu nvidia_nouveau"),
        (
            "all for virtual machines",
            card("vfio-pci").smi_file(255, "nvidia-smi_fail_no-supported-gpus_vfio.txt"),
            "cpu nvidia_vfio",
        ),
        ("hung", card("nvidia").hangs(&["nvidia-smi", SMI, CSV]), "cpu nvidia_probe_hung"),
        (
            "container without the GPU",
            card("nvidia").module("proc-driver-nvidia-version_open_565_ubuntu.txt"),
            "cpu nvidia_no_devices",
        ),
        ("nvidia-smi without hardware", new().sysfs("sysfs-pci_intel-i7-1270p.tsv").smi_file(9, "nvidia-smi_fail_cannot-communicate.txt"), "cpu intel_only"),
        ("only a failing nvidia-smi", new().smi_file(9, "nvidia-smi_fail_cannot-communicate_2013-wording.txt"), "cpu nvidia_no_driver"),
        (
            "Jetson",
            new().is("arch", "aarch64").set("files", "/etc/nv_tegra_release", "# R36").smi(0, "Orin (nvgpu), 540.4.0, 8.7, [N/A]\n"),
            "cpu platform_unsupported",
        ),
        ("ARM server", new().is("arch", "aarch64").smi_file(0, H100), "cpu platform_unsupported"),
    ]
}

#[expect(clippy::too_many_lines, reason = "a table")]
fn amd_machines() -> Vec<(&'static str, Machine, &'static str)> {
    let new = Machine::new;
    let rx7900 = || {
        new()
            .pci("0000:03:00.0", "0300", "1002:744c", "amdgpu")
            .kfd(1, &gpu_node(110_000, 0x744c))
    };
    let igpu = "cpu amd_gfx_unsupported";
    let card = r#"{"card0": {"Card Series": "Radeon RX 7900 XTX", "GFX Version": "gfx1100"}}"#;
    vec![
        (
            "MI210",
            new()
                .kfd_file(0, "kfd_node_cpu_epyc_mi210-host.properties")
                .kfd_file(1, "kfd_node_gpu_mi210_gfx90a.properties")
                .opens("ok"),
            "rocm6.3 amd_usable",
        ),
        (
            "MI300X in partitions",
            new()
                .pci("0000:05:00.0", "1200", "1002:74a1", "amdgpu")
                .kfd_file(2, "kfd_node_gpu_mi300x-cpx_gfx942.properties")
                .kfd_file(3, "kfd_node_gpu_mi300x-cpx_gfx942.properties")
                .opens("ok"),
            "rocm6.3 amd_usable",
        ),
        (
            "MI308X",
            new().kfd_file(1, "kfd_node_gpu_mi308x_gfx942.properties").opens("ok"),
            "rocm6.3 amd_usable",
        ),
        (
            "Vega 10 on an old kernel",
            new()
                .kfd_file(1, "kfd_node_gpu_vega10_old-kernel.properties")
                .opens("ok"),
            "rocm6.3 amd_usable",
        ),
        ("RX 7900", rx7900().opens("ok"), "rocm6.3 amd_usable"),
        (
            "RX 7900, not in the render group",
            rx7900().opens("EACCES"),
            "cpu amd_kfd_denied",
        ),
        (
            "RX 7900 in a broken container",
            rx7900().opens("EINVAL"),
            "cpu amd_kfd_denied",
        ),
        (
            "RX 7900, container without the device",
            rx7900().rocm_smi(card),
            "cpu amd_kfd_denied",
        ),
        (
            "RX 7900, amdgpu not loaded",
            new().lspci("-nn", RX7900),
            "cpu amd_no_driver",
        ),
        (
            "RX 7900 by lspci and the open device",
            new().lspci("-nn", RX7900).opens("ok"),
            "rocm6.3 amd_usable",
        ),
        (
            "MI210 by lspci -nnmm",
            new().lspci("-Dnmm", "lspci-nnm_mi210.txt").opens("ok"),
            "rocm6.3 amd_usable",
        ),
        (
            "V620 in a virtual machine, no GPU for rocm-smi",
            new()
                .lspci("-nn", "lspci-nn_mxgpu-v620_azure-like-domain.txt")
                .rocm_smi(&fixture("rocm-smi_fail_no-amd-gpus-specified.txt")),
            "cpu amd_no_driver",
        ),
        ("rocm-smi alone", new().rocm_smi(card), "rocm6.3 amd_usable"),
        (
            "rocm-smi without its driver",
            new()
                .pci("0000:03:00.0", "0380", "1002:66a1", "-")
                .rocm_smi(&fixture("rocm-smi_fail_driver-not-initialized_mi50.txt")),
            "cpu amd_no_driver",
        ),
        (
            "rocm-smi in a container without anything",
            new().rocm_smi(&fixture("rocm-smi_fail_no-initstate_container.txt")),
            "cpu no_gpu",
        ),
        (
            "Raven Ridge",
            new()
                .kfd_file(0, "kfd_node_apu_raven-ridge_shared-cpu-node.properties")
                .opens("ok"),
            igpu,
        ),
        (
            "Fiji, not initialised",
            new()
                .pci("0000:03:00.0", "0300", "1002:7300", "amdgpu")
                .kfd_file(1, "kfd_node_gpu_fiji_not-initialised.properties")
                .opens("ok"),
            igpu,
        ),
        (
            "Lucienne",
            new().lspci("-nn", "lspci-nn_lucienne-apu-only.txt").opens("ok"),
            igpu,
        ),
        (
            "Rembrandt",
            new().lspci("-nn", "lspci-nn_rembrandt-apu.txt").opens("ok"),
            igpu,
        ),
        (
            "RX 560",
            new().lspci("-nn", "lspci-nn_intel+rx560.txt").opens("ok"),
            igpu,
        ),
        (
            "RX 7900 on ARM",
            rx7900().is("arch", "aarch64").opens("ok"),
            "cpu platform_unsupported",
        ),
        (
            "a dead NVIDIA card beside it",
            rx7900().opens("ok").pci("0000:01:00.0", "0300", "10de:1f91", "nouveau"),
            "rocm6.3 amd_usable",
        ),
        (
            "both usable",
            rx7900().opens("ok").smi(0, RTX4090),
            "cu118 nvidia_usable",
        ),
        (
            "hybrid laptop without NVIDIA's driver",
            new().lspci("-nn", "lspci-nn_hybrid-laptop_gtx1650m+picasso-apu.txt"),
            "cpu nvidia_no_driver",
        ),
    ]
}

fn other_machines() -> Vec<(&'static str, Machine, &'static str)> {
    let new = Machine::new;
    vec![
        ("Intel", new().sysfs("sysfs-pci_intel-i7-1270p.tsv"), "cpu intel_only"),
        (
            "Intel's cards and a management controller",
            new().lspci("-nn", "lspci-Dnn_intel-flex+aspeed.txt"),
            "cpu intel_only",
        ),
        (
            "virtio",
            new().sysfs("sysfs-pci_kvm-vm_virtio-gpu-only.tsv"),
            "cpu virtual_display_only",
        ),
        (
            "Matrox",
            new().sysfs("sysfs-pci_dell-r610_matrox-bmc.tsv"),
            "cpu virtual_display_only",
        ),
        (
            "ASPEED",
            new().lspci("-nn", "lspci-Dnn_intel_aspeed-only_partial.txt"),
            "cpu virtual_display_only",
        ),
        ("nothing at all", new(), "cpu no_gpu"),
        (
            "no display",
            new().pci("0000:00:00.0", "0600", "8086:0d57", "-"),
            "cpu no_gpu",
        ),
        (
            "macOS",
            new().is("os", "macos").is("arch", "aarch64"),
            "cpu platform_unsupported",
        ),
    ]
}

#[test]
fn machines_are_decided_right() {
    for (name, machine, expected) in nvidia_machines()
        .into_iter()
        .chain(amd_machines())
        .chain(other_machines())
    {
        let decision = machine.decide(&auto());
        assert_eq!(answer(&decision), expected, "{name}: {decision:#?}");
        assert!(
            !decision.message.is_empty() && !decision.would_change.iter().any(String::is_empty),
            "{name}"
        );
        assert_eq!(
            decision.uses_gpu(),
            decision.accelerators.iter().any(|it| it.usable),
            "{name}: {decision:#?}"
        );
    }
}

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

    let mixed = Machine::new().smi(0, &format!("{RTX5090}{RTX4090}"));
    assert!(mixed.decide(&auto()).env.is_empty(), "without UUIDs nothing is hidden");
    let mixed = mixed
        .command(&["nvidia-smi", "--query-gpu=uuid", CSV], 0, "GPU-a\nGPU-b\n")
        .decide(&auto());
    assert_eq!(mixed.env.get("CUDA_VISIBLE_DEVICES").map(String::as_str), Some("GPU-b"));
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

fn noise() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        RTX4090.to_owned(),
        RTX5090.to_owned(),
        "No devices were found\n".to_owned(),
        "Field \"compute_cap\" is not a valid field to query.".to_owned(),
        "{\"card0\": {\"GFX Version\": \"gfx1100\"}}".to_owned(),
        "simd_count 64\ngfx_target_version 110000\ndevice_id 29772\n".to_owned(),
        "01:00.0 VGA compatible controller [0300]: NVIDIA [10de:2684] (rev a1)\n".to_owned(),
        "01:00.0 \"0300\" \"1002\" \"744c\"\n".to_owned(),
        "0x10de".to_owned(),
        "0x030000".to_owned(),
    ]);
    // Known words, cut off anywhere or followed by anything.
    prop_oneof![
        known.clone(),
        ".{0,60}",
        (known, 0usize..80, ".{0,20}").prop_map(|(text, cut, tail)| text
            .chars()
            .take(cut)
            .chain(tail.chars())
            .collect()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a machine says, detection ends with an answer, and answers CUDA or ROCm only with evidence of use.
    #[test]
    fn no_machine_is_believed_without_evidence(
        smi in prop::option::of((noise(), -1i32..256)),
        old in prop::option::of(noise()),
        rocm in prop::option::of(noise()),
        listings in prop::collection::vec(prop::option::of(noise()), 2),
        files in prop::collection::vec(noise(), 5),
        open in prop::sample::select(vec!["ok", "EACCES", "ENOENT", "?"]),
        arch in prop::sample::select(vec!["x86_64", "aarch64", ""]),
    ) {
        let mut machine = Machine::new().is("arch", arch).opens(open);
        if let Some((stdout, exit)) = &smi {
            machine = machine.smi(*exit, stdout);
        }
        if let Some(stdout) = &old {
            machine = machine.command(&["nvidia-smi", OLD_SMI, CSV], 0, stdout);
        }
        if let Some(stdout) = &rocm {
            machine = machine.rocm_smi(stdout);
        }
        for (option, listing) in ["-Dnmm", "-nn"].iter().zip(&listings) {
            if let Some(listing) = listing {
                machine = machine.command(&["lspci", option], 0, listing);
            }
        }
        let names = ["/sys/bus/pci/devices/x/class", "/sys/bus/pci/devices/x/vendor", "/sys/bus/pci/devices/x/device", "/proc/driver/nvidia/version"];
        for (name, text) in names.iter().zip(&files) {
            machine = machine.set("files", name, text.as_str());
        }
        machine = machine.kfd(1, &files[4]);
        let decision = machine.decide(&auto());
        let facts = probe(&machine.host());
        match decision.backend {
            Backend::Cuda => prop_assert!(facts.nvidia.rows().iter().any(|row| !row.lost && row.driver.is_some())),
            Backend::Rocm => prop_assert!(facts.amd.kfd == KfdAccess::Open || !facts.amd.cards.is_empty()),
            Backend::Cpu => {}
        }
        prop_assert!(decision.backend == Backend::Cpu || arch == "x86_64");
    }
}
