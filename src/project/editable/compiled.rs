//! Whether a project has extension modules: then its folder alone is not the package, and it has to be built.
//!
//! Decided by what is written, since nothing is executed: the build backend, what it requires, its tables, and for
//! setuptools the words of `setup.py`. A backend that nobody here knows is taken for one of pure Python, and that is said.

use std::path::Path;

use toml::Value;

use super::EditableError;
use super::manifest::Manifest;
use crate::fsx::read_if_exists;

/// Backends that compile, by the beginning of their module.
const BACKENDS: [&str; 9] = [
    "maturin",
    "scikit_build_core",
    "skbuild",
    "mesonpy",
    "sipbuild",
    "py_build_cmake",
    "cmeel",
    "enscons",
    "setuptools_rust",
];

/// Backends of which the layout is known.
const KNOWN: [&str; 6] = ["setuptools", "hatchling", "poetry", "flit", "pdm", "uv_build"];

/// Packages that a build requires for nothing but compiling.
const COMPILERS: [&str; 13] = [
    "cffi",
    "cython",
    "hatch-cython",
    "hatch-mypyc",
    "maturin",
    "meson-python",
    "mypy",
    "nanobind",
    "pybind11",
    "scikit-build",
    "scikit-build-core",
    "setuptools-rust",
    "setuptools-golang",
];

/// Words of `setup.py` that declare extension modules.
const WORDS: [&str; 13] = [
    "BuildExtension",
    "CMakeExtension",
    "CUDAExtension",
    "CppExtension",
    "DpcppExtension",
    "Pybind11Extension",
    "RustExtension",
    "SYCLExtension",
    "build_ext",
    "cffi_modules",
    "cythonize",
    "ext_modules",
    "rust_extensions",
];

/// How a project declares extension modules; none where it does not.
pub(super) fn extension_modules(folder: &Path, manifest: &Manifest) -> Result<Option<String>, EditableError> {
    let backend = manifest.backend();
    if BACKENDS.iter().any(|known| backend.starts_with(known)) {
        return Ok(Some(format!("its build backend is `{backend}`")));
    }
    let requires = manifest.build_requires();
    if let Some(compiler) = requires.iter().find(|name| COMPILERS.contains(&name.as_ref())) {
        return Ok(Some(format!("its build requires `{compiler}`")));
    }
    let declares = |keys: &[&str]| manifest.tool(keys).is_some_and(is_filled);
    let poetry_script = || {
        let build = manifest.tool(&["poetry", "build"]);
        build.is_some_and(|build| build.is_str() || build.get("script").is_some())
    };
    let table = match backend {
        _ if backend.starts_with("setuptools") => [
            &["setuptools", "ext-modules"][..],
            &["setuptools-rust", "ext-modules"],
            &["setuptools-rust", "bins"],
        ]
        .into_iter()
        .find(|keys| declares(keys))
        .map(|keys| keys.join(".")),
        _ if backend.starts_with("hatchling") => hooks(manifest)
            .into_iter()
            .find(|hook| {
                matches!(
                    hook.as_str(),
                    "cython" | "mypyc" | "scikit-build" | "hatch-cpp" | "hatch-rs"
                )
            })
            .map(|hook| format!("hatch.build.hooks.{hook}")),
        _ if backend.starts_with("poetry") => poetry_script().then(|| "poetry.build".to_owned()),
        _ if backend.starts_with("pdm") => manifest
            .tool(&["pdm", "build", "run-setuptools"])
            .and_then(Value::as_bool)
            .filter(|runs| *runs)
            .map(|_| "pdm.build.run-setuptools".to_owned()),
        _ => None,
    };
    if let Some(table) = table {
        return Ok(Some(format!("its pyproject.toml has `tool.{table}`")));
    }
    if !backend.starts_with("setuptools") {
        return Ok(None);
    }
    let script = read_if_exists(&folder.join("setup.py"))?.unwrap_or_default();
    Ok(word_of(&String::from_utf8_lossy(&script)).map(|word| format!("its setup.py has `{word}`")))
}

fn is_filled(value: &Value) -> bool {
    match value {
        Value::Array(list) => !list.is_empty(),
        Value::Table(table) => !table.is_empty(),
        _ => true,
    }
}

/// The first word of a script, comments aside, that declares an extension module.
fn word_of(script: &str) -> Option<&'static str> {
    // As a word alone it stands in descriptions too.
    const CALL: &str = "Extension(";
    script.lines().find_map(|line| {
        let code = line.split('#').next().unwrap_or(line);
        let mut words = code.split(|one: char| !(one.is_alphanumeric() || one == '_'));
        let found = words.find_map(|word| WORDS.into_iter().find(|known| *known == word));
        found.or_else(|| code.contains(CALL).then_some("Extension"))
    })
}

/// The names of hatch's build hooks.
fn hooks(manifest: &Manifest) -> Vec<String> {
    let places = [
        &["hatch", "build", "hooks"][..],
        &["hatch", "build", "targets", "wheel", "hooks"],
    ];
    let tables = places
        .into_iter()
        .filter_map(|keys| manifest.tool(keys).and_then(Value::as_table));
    tables.flat_map(|table| table.keys().cloned()).collect()
}

/// What a build would do beside installing files, and is not done; for people.
pub(super) fn not_run(manifest: &Manifest) -> Vec<String> {
    let backend = manifest.backend();
    let mut left = Vec::new();
    if !KNOWN.iter().any(|known| backend.starts_with(known)) {
        left.push(format!("the build backend `{backend}`"));
    }
    if backend.starts_with("hatchling") {
        left.extend(
            hooks(manifest)
                .into_iter()
                .map(|hook| format!("the build hook `{hook}`")),
        );
    }
    for keys in [
        &["setuptools_scm", "version_file"][..],
        &["setuptools_scm", "write_to"],
        &["pdm", "version", "write_to"],
        &["setuptools", "cmdclass"],
        &["setuptools", "script-files"],
    ] {
        if manifest.tool(keys).is_some_and(is_filled) {
            left.push(format!("`tool.{}`", keys.join(".")));
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pyproject: &str, setup: &str) -> Option<String> {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("pyproject.toml"), pyproject).expect("written");
        std::fs::write(folder.path().join("setup.py"), setup).expect("written");
        let manifest = Manifest::read(folder.path()).expect("read");
        extension_modules(folder.path(), &manifest).expect("readable")
    }

    #[test]
    fn extension_modules_are_seen_and_pure_projects_pass() {
        let backend = |name: &str| format!("[build-system]\nrequires = []\nbuild-backend = '{name}'\n");
        for name in ["maturin", "scikit_build_core.build", "mesonpy", "py_build_cmake.build"] {
            assert!(found(&backend(name), "").is_some(), "{name}");
        }
        for name in [
            "hatchling.build",
            "flit_core.buildapi",
            "uv_build",
            "poetry.core.masonry.api",
            "my_backend",
        ] {
            // What a backend of another kind would do with it does not count.
            assert_eq!(found(&backend(name), "ext_modules=[1]"), None, "{name}");
        }
        for text in [
            "[build-system]\nrequires = ['setuptools', 'setuptools-rust>=1']",
            "[build-system]\nrequires = ['setuptools', 'Cython']",
            "[[tool.setuptools.ext-modules]]\nname = 'x'",
            "[build-system]\nbuild-backend = 'hatchling.build'\n[tool.hatch.build.targets.wheel.hooks.mypyc]\nx = 1",
            "[build-system]\nbuild-backend = 'poetry.core.masonry.api'\n[tool.poetry.build]\nscript = 'b.py'",
            "[build-system]\nbuild-backend = 'pdm.backend'\n[tool.pdm.build]\nrun-setuptools = true",
        ] {
            assert!(found(text, "").is_some(), "{text}");
        }
        for setup in [
            "setup(ext_modules=cythonize('x'))",
            "from torch.utils.cpp_extension import CUDAExtension",
            "setup(rust_extensions=[])",
        ] {
            assert!(found("", setup).is_some(), "{setup}");
        }
        for setup in [
            "from setuptools import setup\nsetup(description='An Extension')",
            "# ext_modules\nsetup(my_ext_modules_x=1)",
        ] {
            assert_eq!(found("", setup), None, "{setup}");
        }
        assert_eq!(found("[tool.setuptools]\next-modules = []", ""), None);
    }
}
