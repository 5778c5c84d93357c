//! The NVIDIA wheels: many projects in one folder `nvidia/`.
//!
//! Those for CUDA 11 share it as a namespace package; those for CUDA 12 each bring the same empty `__init__.py` files,
//! as the real ones do.

use super::{Catalogue, Shelf, elf};
use crate::support::wheel::Wheel;

pub(super) struct Package {
    name: &'static str,
    version: &'static str,
    /// The folder below `nvidia/` and the shared object in it.
    library: &'static str,
    /// Each a wheel of its own.
    platforms: &'static [&'static str],
    requires: &'static [&'static str],
}

impl Package {
    /// The line by which torch asks for it.
    pub(super) fn pin(&self, marker: &str) -> String {
        format!("{}=={}; {marker}", self.name, self.version)
    }
}

const OLD: &[&str] = &["manylinux1_x86_64", "manylinux2014_x86_64"];
const ONE: &[&str] = &["manylinux2014_x86_64"];
const NEW: &[&str] = &["manylinux2014_x86_64.manylinux_2_17_x86_64"];

const fn package(
    name: &'static str,
    version: &'static str,
    library: &'static str,
    platforms: &'static [&'static str],
    requires: &'static [&'static str],
) -> Package {
    Package {
        name,
        version,
        library,
        platforms,
        requires,
    }
}

/// What torch 2.7.0+cu118 asks for, in its order.
pub(super) const CU11: [Package; 11] = [
    package(
        "nvidia-cuda-nvrtc-cu11",
        "11.8.89",
        "cuda_nvrtc/lib/libnvrtc.so.11.2",
        OLD,
        &[],
    ),
    package(
        "nvidia-cuda-runtime-cu11",
        "11.8.89",
        "cuda_runtime/lib/libcudart.so.11.0",
        OLD,
        &[],
    ),
    package(
        "nvidia-cuda-cupti-cu11",
        "11.8.87",
        "cuda_cupti/lib/libcupti.so.11.8",
        OLD,
        &[],
    ),
    package(
        "nvidia-cudnn-cu11",
        "9.1.0.70",
        "cudnn/lib/libcudnn.so.9",
        ONE,
        &["nvidia-cublas-cu11"],
    ),
    package(
        "nvidia-cublas-cu11",
        "11.11.3.6",
        "cublas/lib/libcublas.so.11",
        OLD,
        &[],
    ),
    package("nvidia-cufft-cu11", "10.9.0.58", "cufft/lib/libcufft.so.10", OLD, &[]),
    package(
        "nvidia-curand-cu11",
        "10.3.0.86",
        "curand/lib/libcurand.so.10",
        OLD,
        &[],
    ),
    package(
        "nvidia-cusolver-cu11",
        "11.4.1.48",
        "cusolver/lib/libcusolver.so.11",
        OLD,
        &["nvidia-cublas-cu11"],
    ),
    package(
        "nvidia-cusparse-cu11",
        "11.7.5.86",
        "cusparse/lib/libcusparse.so.11",
        OLD,
        &[],
    ),
    package("nvidia-nccl-cu11", "2.21.5", "nccl/lib/libnccl.so.2", ONE, &[]),
    package("nvidia-nvtx-cu11", "11.8.86", "nvtx/lib/libnvToolsExt.so.1", OLD, &[]),
];

/// What the torch 2.7.0 of the package index asks for, in its order.
pub(super) const CU12: [Package; 14] = [
    package(
        "nvidia-cuda-nvrtc-cu12",
        "12.6.77",
        "cuda_nvrtc/lib/libnvrtc.so.12",
        ONE,
        &[],
    ),
    package(
        "nvidia-cuda-runtime-cu12",
        "12.6.77",
        "cuda_runtime/lib/libcudart.so.12",
        NEW,
        &[],
    ),
    package(
        "nvidia-cuda-cupti-cu12",
        "12.6.80",
        "cuda_cupti/lib/libcupti.so.12",
        NEW,
        &[],
    ),
    package(
        "nvidia-cudnn-cu12",
        "9.5.1.17",
        "cudnn/lib/libcudnn.so.9",
        &["manylinux_2_28_x86_64"],
        &["nvidia-cublas-cu12"],
    ),
    package("nvidia-cublas-cu12", "12.6.4.1", "cublas/lib/libcublas.so.12", NEW, &[]),
    package(
        "nvidia-cufft-cu12",
        "11.3.0.4",
        "cufft/lib/libcufft.so.11",
        NEW,
        &["nvidia-nvjitlink-cu12"],
    ),
    package(
        "nvidia-curand-cu12",
        "10.3.7.77",
        "curand/lib/libcurand.so.10",
        NEW,
        &[],
    ),
    package(
        "nvidia-cusolver-cu12",
        "11.7.1.2",
        "cusolver/lib/libcusolver.so.11",
        NEW,
        SOLVER,
    ),
    package(
        "nvidia-cusparse-cu12",
        "12.5.4.2",
        "cusparse/lib/libcusparse.so.12",
        NEW,
        &["nvidia-nvjitlink-cu12"],
    ),
    package(
        "nvidia-cusparselt-cu12",
        "0.6.3",
        "cusparselt/lib/libcusparseLt.so.0",
        ONE,
        &[],
    ),
    package("nvidia-nccl-cu12", "2.26.2", "nccl/lib/libnccl.so.2", NEW, &[]),
    package("nvidia-nvtx-cu12", "12.6.77", "nvtx/lib/libnvToolsExt.so.1", NEW, &[]),
    package(
        "nvidia-nvjitlink-cu12",
        "12.6.85",
        "nvjitlink/lib/libnvJitLink.so.12",
        &["manylinux2010_x86_64.manylinux_2_12_x86_64"],
        &[],
    ),
    package("nvidia-cufile-cu12", "1.11.1.6", "cufile/lib/libcufile.so.0", NEW, &[]),
];

const SOLVER: &[&str] = &["nvidia-cublas-cu12", "nvidia-nvjitlink-cu12", "nvidia-cusparse-cu12"];

pub(super) fn fill(catalogue: &mut Catalogue) {
    for package in CU11 {
        // The channel hosts them as well, in the old form alone where there are two.
        let first = &package.platforms[..1];
        let (name, library) = (package.name, package.library);
        catalogue.add(Shelf::Channel("cu118"), name, {
            let package = Package {
                platforms: first,
                library,
                ..package
            };
            move || wheels(&package, false)
        });
        catalogue.add(Shelf::Index, name, move || wheels(&package, false));
    }
    for package in CU12 {
        catalogue.add(Shelf::Index, package.name, move || wheels(&package, true));
    }
}

fn wheels(package: &Package, with_init_files: bool) -> Vec<Wheel> {
    package
        .platforms
        .iter()
        .map(|platform| wheel(package, platform, with_init_files))
        .collect()
}

fn wheel(package: &Package, platform: &str, with_init_files: bool) -> Wheel {
    let (folder, library) = package.library.split_once('/').expect("the table names a folder");
    let header = library
        .trim_start_matches("lib/lib")
        .split('.')
        .next()
        .unwrap_or_default();
    let mut wheel = Wheel::new(package.name, package.version)
        .tag(&format!("py3-none-{platform}"))
        .purelib(true)
        .requires_python(">=3");
    if with_init_files {
        for init in ["", "/include", "/lib"] {
            wheel = wheel.file(&format!("nvidia/{folder}{init}/__init__.py"), "");
        }
        wheel = wheel.file("nvidia/__init__.py", "");
    }
    wheel
        .file(
            &format!("nvidia/{folder}/include/{header}.h"),
            format!("/* {} for {platform} */\n", package.name),
        )
        // Not executable, as the real ones: what they are shows in their first bytes alone.
        .file(&format!("nvidia/{}", package.library), elf_of(package.name))
        .requires_all(package.requires.iter().copied())
}

fn elf_of(name: &str) -> &'static [u8] {
    match name {
        "nvidia-cublas-cu11" => elf!("cu11/libcublas.so.11"),
        "nvidia-cudnn-cu11" => elf!("cu11/libcudnn.so.9"),
        "nvidia-cublas-cu12" => elf!("cu12/libcublas.so.12"),
        "nvidia-cudnn-cu12" => elf!("cu12/libcudnn.so.9"),
        _ => elf!("leaf/libleaf.so"),
    }
}
