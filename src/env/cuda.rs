//! `cuda/`: a CUDA toolkit as build tools expect one, of links to what NVIDIA's wheels bring.
//!
//! The wheels spread a toolkit over `nvidia/*/` in site-packages and leave out the names that linkers ask for
//! (`libcudart.so`). An environment that holds `nvcc` and the headers of the CUDA runtime gets a folder `cuda` with
//! `bin`, `include`, `lib`, `lib64` and `nvvm`, so that `CUDA_HOME=.venv/cuda` is enough for
//! `torch.utils.cpp_extension`, `CMake` and others. It is links only, so no digest covers it; a wheel that brings a `cuda`
//! of its own keeps that.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::compose::Place;

/// The folder's name below the prefix.
const FOLDER: &str = "cuda";

/// The folders of a toolkit that are taken.
const PARTS: [&str; 4] = ["bin", "include", "lib", "nvvm"];

/// The places of `cuda/` for an environment with files at these paths; none where they are no toolkit.
pub(super) fn places<'p>(paths: impl IntoIterator<Item = &'p str>) -> Vec<(String, Place)> {
    // By part: what stands in it, and the folder of NVIDIA's that it comes from first.
    let mut parts: BTreeMap<&str, BTreeMap<&str, &str>> = BTreeMap::new();
    let mut homes: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let (mut compiler, mut headers) = (false, false);
    for path in paths {
        if path == FOLDER || path.starts_with("cuda/") {
            return Vec::new();
        }
        let Some((home, part, inside)) = split(path) else {
            continue;
        };
        compiler |= part == "bin" && inside == "nvcc";
        headers |= part == "include" && inside == "cuda_runtime.h";
        let name = inside.split('/').next().unwrap_or(inside);
        if name == "__init__.py" {
            continue;
        }
        parts.entry(part).or_default().entry(name).or_insert(home);
        homes.entry(part).or_default().insert(home);
    }
    if !compiler || !headers {
        return Vec::new();
    }
    let mut places = vec![(FOLDER.to_owned(), Place::Folder)];
    for (part, entries) in &parts {
        let folder = format!("{FOLDER}/{part}");
        if let (Some(home), true) = (homes[part].first(), homes[part].len() == 1 && *part != "lib") {
            places.push((folder, Place::Link(format!("../{home}/{part}").into())));
            continue;
        }
        places.push((folder.clone(), Place::Folder));
        let mut names: BTreeMap<String, PathBuf> = BTreeMap::new();
        for (name, home) in entries {
            names.insert((*name).to_owned(), format!("../../{home}/{part}/{name}").into());
        }
        if *part == "lib" {
            for name in entries.keys() {
                if let Some((bare, _)) = name.split_once(".so.") {
                    names.entry(format!("{bare}.so")).or_insert_with(|| PathBuf::from(name));
                }
            }
        }
        let links = names
            .into_iter()
            .map(|(name, target)| (format!("{folder}/{name}"), Place::Link(target)));
        places.extend(links);
    }
    if parts.contains_key("lib") {
        places.push((format!("{FOLDER}/lib64"), Place::Link("lib".into())));
    }
    places
}

/// `lib/python3.11/site-packages/nvidia/cuda_runtime`, `include` and `cuda_runtime.h` of such a path.
fn split(path: &str) -> Option<(&str, &str, &str)> {
    let (above, below) = path.split_once("/site-packages/nvidia/")?;
    let (component, below) = below.split_once('/')?;
    let (part, inside) = below.split_once('/')?;
    let home = path.get(..above.len() + "/site-packages/nvidia/".len() + component.len())?;
    PARTS.contains(&part).then_some((home, part, inside))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(paths: &[&str]) -> Vec<String> {
        let full: Vec<String> = paths
            .iter()
            .map(|path| match path.strip_prefix('/') {
                Some(path) => path.to_owned(),
                None => format!("lib/python3.11/site-packages/nvidia/{path}"),
            })
            .collect();
        let places = places(full.iter().map(String::as_str));
        let shown = |(path, place): (String, Place)| match place {
            Place::Link(target) => format!("{path} -> {}", target.display()),
            _ => path,
        };
        places.into_iter().map(shown).collect()
    }

    #[test]
    fn one_folder_for_all_of_a_toolkit_is_linked_as_it_is() {
        let site = "../lib/python3.11/site-packages/nvidia/cu13";
        assert_eq!(
            told(&[
                "cu13/bin/nvcc",
                "cu13/bin/crt/link.stub",
                "cu13/include/cuda_runtime.h",
                "cu13/lib/libcudart.so.13",
                "cu13/nvvm/bin/cicc",
                "cu13/__init__.py",
            ]),
            [
                "cuda".to_owned(),
                format!("cuda/bin -> {site}/bin"),
                format!("cuda/include -> {site}/include"),
                "cuda/lib".to_owned(),
                "cuda/lib/libcudart.so -> libcudart.so.13".to_owned(),
                format!("cuda/lib/libcudart.so.13 -> ../{site}/lib/libcudart.so.13"),
                format!("cuda/nvvm -> {site}/nvvm"),
                "cuda/lib64 -> lib".to_owned(),
            ]
        );
    }

    #[test]
    fn several_folders_are_merged() {
        let shown = told(&[
            "cuda_nvcc/bin/nvcc",
            "cuda_nvcc/include/crt/host.h",
            "cuda_runtime/include/cuda_runtime.h",
            "cuda_runtime/lib/__init__.py",
            "cublas/lib/libcublas.so.12",
            "cublas/lib/libcublas.so",
        ]);
        let site = "../../lib/python3.11/site-packages/nvidia";
        for line in [
            format!("cuda/include/crt -> {site}/cuda_nvcc/include/crt"),
            format!("cuda/include/cuda_runtime.h -> {site}/cuda_runtime/include/cuda_runtime.h"),
            format!("cuda/lib/libcublas.so -> {site}/cublas/lib/libcublas.so"),
        ] {
            assert!(shown.contains(&line), "{shown:?}");
        }
        assert!(!shown.iter().any(|line| line.contains("__init__")));
    }

    #[test]
    fn less_than_a_toolkit_is_none() {
        let nvcc = "cu13/bin/nvcc";
        let header = "cu13/include/cuda_runtime.h";
        for paths in [&[nvcc][..], &[header], &[nvcc, header, "/cuda/own"], &["/lib/x/nvcc"]] {
            assert_eq!(told(paths), Vec::<String>::new(), "{paths:?}");
        }
    }
}
