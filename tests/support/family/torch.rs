//! torch, torchvision and the two tritons.

use super::{CHANNELS, Catalogue, Shelf, elf, for_pythons, nvidia, python};
use crate::support::wheel::Wheel;

/// What tells one build of torch from another.
struct Build {
    /// As METADATA has it: `2.7.0+cu118`; the package index leaves the label out.
    version: String,
    /// As `torch.__version__` has it.
    stamp: String,
    cuda: Option<&'static str>,
    hip: Option<&'static str>,
    library: &'static [u8],
}

impl Build {
    fn of_channel(version: &str, channel: &str) -> Self {
        let version = format!("{version}+{channel}");
        let (cuda, hip, library): (_, _, &[u8]) = match channel {
            "cu118" => (Some("11.8"), None, elf!("cu11/libtorch_fake.so")),
            "rocm6.3" => (None, Some("6.3.42131-fa1d09cbd"), elf!("rocm/libtorch_fake.so")),
            _ => (None, None, elf!("cpu/libtorch_fake.so")),
        };
        Self {
            stamp: version.clone(),
            version,
            cuda,
            hip,
            library,
        }
    }

    /// The build of the package index: CUDA 12.6, and no label in its version.
    fn of_index() -> Self {
        Self {
            version: "2.7.0".to_owned(),
            stamp: "2.7.0+cu126".to_owned(),
            cuda: Some("12.6"),
            hip: None,
            library: elf!("cu12/libtorch_fake.so"),
        }
    }
}

pub(super) fn fill(catalogue: &mut Catalogue) {
    for channel in CHANNELS {
        catalogue.add(Shelf::Channel(channel), "torch", move || {
            let versions = ["2.6.0", "2.7.0"].map(|version| Build::of_channel(version, channel));
            versions
                .iter()
                .flat_map(|build| for_pythons(|tag| torch(build, channel, tag)))
                .collect()
        });
        catalogue.add(Shelf::Channel(channel), "torchvision", move || torchvision_of(channel));
    }
    catalogue.add(Shelf::Index, "torch", || {
        for_pythons(|tag| torch(&Build::of_index(), "pip", tag))
    });
    catalogue.add(Shelf::Index, "torchvision", || {
        for_pythons(|tag| {
            torchvision(
                "0.22.0",
                "0.22.0+cu126",
                Some("12.6"),
                &format!("{tag}-manylinux_2_28_x86_64"),
            )
        })
    });
    // Every page of every channel lists what lies in the root, and old builds for other machines do.
    catalogue.add(Shelf::Root, "torch", || {
        let build = Build {
            version: "2.0.1".to_owned(),
            stamp: "2.0.1".to_owned(),
            ..Build::of_channel("2.0.1", "cpu")
        };
        vec![torch(&build, "cpu", "cp310-cp310").tag("cp310-cp310-manylinux2014_aarch64")]
    });
    catalogue.add(Shelf::Index, "triton", || {
        for_pythons(|tag| triton("triton", &format!("{tag}-manylinux_2_27_x86_64.manylinux_2_28_x86_64")))
    });
    // The same file names as on the package index, and other bytes.
    catalogue.add(Shelf::Root, "triton", || {
        for_pythons(|tag| {
            triton("triton", &format!("{tag}-manylinux_2_27_x86_64.manylinux_2_28_x86_64"))
                .file("triton/root.txt", "from the channel's root\n")
        })
    });
    catalogue.add(Shelf::Root, "pytorch-triton-rocm", || {
        for_pythons(|tag| triton("pytorch-triton-rocm", &format!("{tag}-linux_x86_64")))
    });
    // What a lock takes by accident when the name is not kept to the channel.
    catalogue.add(Shelf::Index, "pytorch-triton-rocm", || {
        let tag = "cp310-cp310-manylinux_2_17_x86_64.manylinux2014_x86_64";
        vec![
            Wheel::new("pytorch-triton-rocm", "2.1.0")
                .tag(tag)
                .file("triton/__init__.py", "__version__ = '2.1.0'\n"),
        ]
    });
}

const GPU_HOST: &str = "platform_system == \"Linux\" and platform_machine == \"x86_64\"";

fn torch(build: &Build, channel: &str, tag: &str) -> Wheel {
    let stamped = format!("STAMP = '{}'\n", build.stamp);
    let quoted = |value: Option<&str>| value.map_or("None".to_owned(), |value| format!("'{value}'"));
    let version = format!(
        "from typing import Optional\n\n__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip']\n\
         __version__ = '{}'\ndebug = False\ncuda: Optional[str] = {}\n\
         git_version = '134179474539648ba7dee1317959529fbd0e7f89'\nhip: Optional[str] = {}\nxpu: Optional[str] = None\n",
        build.stamp,
        quoted(build.cuda),
        quoted(build.hip),
    );
    let wheel = Wheel::new("torch", &build.version)
        .tag(&format!("{tag}-manylinux_2_28_x86_64"))
        .metadata_version("2.2")
        .requires_python(">=3.9.0")
        .directories()
        .executable("torch/bin/torch_shm_manager", elf!("leaf/torch_shm_manager"))
        .executable("torch/lib/libtorch_fake.so", build.library)
        .executable("torch/lib/libshm.so", elf!("leaf/libleaf.so"))
        .file("torch/__init__.py", python!("torch/__init__.py"))
        .file("torch/version.py", version)
        .file("torch/_C.py", python!("torch/_C.py"))
        .file("torch/_tensor.py", python!("torch/_tensor.py"))
        .file("torch/cuda/__init__.py", python!("torch/cuda/__init__.py"))
        .file("torch/backends/__init__.py", python!("torch/backends/__init__.py"))
        .file(
            "torch/backends/cudnn/__init__.py",
            python!("torch/backends/cudnn/__init__.py"),
        )
        .file("torch/distributed/__init__.py", &stamped)
        .file("torch/distributed/run.py", python!("torch/distributed/run.py"))
        .file("torch/nn/__init__.py", &stamped)
        .file("torch/nn/functional.py", &stamped)
        .file("torch/nn/modules/__init__.py", &stamped)
        .file("torch/nn/modules/linear.py", &stamped)
        .file("torch/optim/__init__.py", &stamped)
        .file("torch/optim/adam.py", &stamped)
        .file("torch/fft/__init__.py", &stamped)
        .file("torch/py.typed", "")
        .file("torch/include/ATen/ATen.h", "#pragma once\n")
        .file("torch/share/cmake/Torch/TorchConfig.cmake", "set(TORCH_FOUND TRUE)\n")
        .file("torchgen/__init__.py", &stamped)
        .file("functorch/__init__.py", "import torch\n")
        .entry_point("console_scripts", "torchrun", "torch.distributed.run:main")
        .entry_point("torchrun.logs_specs", "default", "torch.distributed:STAMP")
        .requires_all([
            "filelock",
            "typing-extensions>=4.10.0",
            "setuptools; python_version >= \"3.12\"",
        ])
        .requires_all(["sympy>=1.13.3", "networkx", "jinja2", "fsspec"]);
    let wheel = match channel {
        "cu118" => nvidia::CU11
            .iter()
            .fold(wheel, |wheel, package| wheel.requires(&package.pin(GPU_HOST))),
        "pip" => nvidia::CU12
            .iter()
            .fold(wheel, |wheel, package| wheel.requires(&package.pin(GPU_HOST))),
        "rocm6.3" => wheel
            .requires(&format!("pytorch-triton-rocm==3.3.0; {GPU_HOST}"))
            .executable("torch/lib/libamdhip64.so", elf!("rocm/libamdhip64.so"))
            .file("torch/lib/rocblas/library/TensileLibrary_lazy_gfx90a.dat", "gfx90a\n")
            .file("torch/lib/rocblas/library/TensileLibrary_lazy_gfx1100.dat", "gfx1100\n"),
        _ => wheel,
    };
    let wheel = match channel {
        "cu118" | "pip" => wheel.requires(&format!("triton==3.3.0; {GPU_HOST}")),
        _ => wheel,
    };
    wheel
        .extra("optree", &["optree>=0.13.0"])
        .extra("opt-einsum", &["opt-einsum>=3.3"])
}

/// The ROCm channel lists each file twice, once for any Linux.
fn torchvision_of(channel: &str) -> Vec<Wheel> {
    let version = format!("0.22.0+{channel}");
    let platforms: &[_] = match channel {
        "rocm6.3" => &["linux_x86_64", "manylinux_2_28_x86_64"],
        _ => &["manylinux_2_28_x86_64"],
    };
    let cuda = (channel == "cu118").then_some("11.8");
    let make = |platform: &&str| for_pythons(|tag| torchvision(&version, &version, cuda, &format!("{tag}-{platform}")));
    platforms.iter().flat_map(make).collect()
}

fn torchvision(version: &str, stamp: &str, cuda: Option<&str>, tag: &str) -> Wheel {
    let cuda = cuda.map_or("None".to_owned(), |cuda| format!("'{cuda}'"));
    Wheel::new("torchvision", version)
        .tag(tag)
        .requires_python(">=3.9")
        .file("torchvision/__init__.py", python!("torchvision/__init__.py"))
        .file(
            "torchvision/version.py",
            format!("__version__ = '{stamp}'\ncuda = {cuda}\n"),
        )
        .file("torchvision/ops.py", python!("torchvision/ops.py"))
        .executable("torchvision/_C.so", elf!("leaf/libleaf.so"))
        .file("torchvision/models/__init__.py", format!("STAMP = '{stamp}'\n"))
        .executable("torchvision.libs/libjpeg.ceea7512.so.62", elf!("leaf/libleaf.so"))
        .requires_all(["numpy", "torch (==2.7.0)", "pillow (!=8.3.*,>=5.3.0)"])
        .header("Provides-Extra: gdown")
        .requires("gdown (>=4.7.3) ; extra == 'gdown'")
        .header("Provides-Extra: scipy")
        .requires("scipy ; extra == 'scipy'")
}

fn triton(name: &str, tag: &str) -> Wheel {
    Wheel::new(name, "3.3.0")
        .tag(tag)
        .metadata_version("2.4")
        .file("triton/__init__.py", "__version__ = '3.3.0'\n")
        .file("triton/profiler/__init__.py", "")
        .file("triton/profiler/proton.py", "def main():\n    print('proton')\n")
        .file("triton/language/__init__.py", "STAMP = '3.3.0'\n")
        .executable("triton/_C/libtriton.so", elf!("leaf/libleaf.so"))
        .executable("triton/backends/nvidia/bin/ptxas", elf!("leaf/torch_shm_manager"))
        .entry_point("console_scripts", "proton", "triton.profiler.proton:main")
        .requires("setuptools>=40.8.0")
}
