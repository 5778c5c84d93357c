//! What torch and torchvision need from the package index beside the NVIDIA wheels.
//!
//! Two versions of most: a newer one for an upgrade to find, and the older one that Python 3.9 is left with.

use super::{Catalogue, PYTHONS, Shelf, elf, for_pythons};
use crate::support::wheel::Wheel;

pub(super) fn fill(catalogue: &mut Catalogue) {
    let mut add = |project: &'static str, make: fn() -> Vec<Wheel>| catalogue.add(Shelf::Index, project, make);
    add("filelock", || {
        ["3.13.1", "3.18.0"]
            .map(|version| module("filelock", version, ">=3.9"))
            .into()
    });
    add("fsspec", || {
        ["2024.6.1", "2025.3.2"]
            .map(|version| module("fsspec", version, ">=3.9"))
            .into()
    });
    add("typing-extensions", || {
        ["4.12.2", "4.13.2"].map(typing_extensions).into()
    });
    add("mpmath", || {
        vec![
            module("mpmath", "1.3.0", ">=3.8").extra("tests", &["pytest>=4.6"]),
            module("mpmath", "1.4.1", ">=3.9"),
        ]
    });
    add("sympy", || ["1.13.3", "1.14.0"].map(sympy).into());
    add("networkx", || {
        [("3.2.1", ">=3.9"), ("3.4.2", ">=3.10")]
            .map(|(version, python)| networkx(version, python))
            .into()
    });
    add("jinja2", || ["3.1.4", "3.1.6"].map(jinja2).into());
    add("markupsafe", markupsafe);
    add("setuptools", || ["70.2.0", "80.1.0"].map(setuptools).into());
    add("numpy", numpy);
    add("pillow", || {
        ["11.0.0", "11.2.1"]
            .iter()
            .flat_map(|version| pillow(version))
            .collect()
    });
    // The PyTorch index hosts old versions of these too; the package index is where they come from.
    catalogue.add(Shelf::Root, "jinja2", || vec![jinja2("3.1.4")]);
    catalogue.add(Shelf::Root, "filelock", || vec![module("filelock", "3.13.1", ">=3.9")]);
    catalogue.add(Shelf::Root, "numpy", || {
        vec![numpy_wheel("2.1.2", ">=3.10", "cp311-cp311")]
    });
}

/// A package of one module and one submodule.
fn module(name: &str, version: &str, python: &str) -> Wheel {
    let folder = name.replace('-', "_");
    Wheel::new(name, version)
        .requires_python(python)
        .file(&format!("{folder}/__init__.py"), format!("__version__ = '{version}'\n"))
        .file(
            &format!("{folder}/core/__init__.py"),
            format!("STAMP = '{name} {version}'\n"),
        )
        .file(&format!("{folder}/py.typed"), "")
}

fn typing_extensions(version: &str) -> Wheel {
    Wheel::new("typing_extensions", version)
        .metadata_version("2.4")
        .requires_python(">=3.8")
        .file("typing_extensions.py", format!("__version__ = '{version}'\n"))
}

fn sympy(version: &str) -> Wheel {
    module("sympy", version, ">=3.9")
        .file("isympy.py", "def main():\n    print('isympy')\n")
        .data("data", "share/man/man1/isympy.1", ".TH ISYMPY 1\n")
        .entry_point("console_scripts", "isympy", "isympy:main")
        .requires("mpmath<1.4,>=1.1.0")
        .extra("dev", &["pytest>=7.1.0", "hypothesis>=6.70.0"])
}

fn networkx(version: &str, python: &str) -> Wheel {
    module("networkx", version, python)
        .entry_point("networkx.backends", "nx-loopback", "networkx.core:STAMP")
        .extra("default", &["numpy>=1.22", "scipy!=1.11.0,!=1.11.1,>=1.9"])
}

fn jinja2(version: &str) -> Wheel {
    Wheel::new("Jinja2", version)
        .filed_as("jinja2")
        .requires_python(">=3.7")
        .file(
            "jinja2/__init__.py",
            format!("import markupsafe\n__version__ = '{version}'\n"),
        )
        .entry_point("babel.extractors", "jinja2", "jinja2.ext:babel_extract[i18n]")
        .requires("MarkupSafe>=2.0")
        .extra("i18n", &["Babel>=2.7"])
}

/// File names of this project are in capitals, and there are wheels for another libc beside ours.
fn markupsafe() -> Vec<Wheel> {
    let make = |version: &str, tag: String| {
        Wheel::new("MarkupSafe", version)
            .tag(&tag)
            .requires_python(">=3.9")
            .file("markupsafe/__init__.py", format!("__version__ = '{version}'\n"))
            .executable("markupsafe/_speedups.so", elf!("leaf/libleaf.so"))
    };
    let mut wheels = Vec::new();
    for python in PYTHONS {
        let tag = format!("cp{python}-cp{python}");
        wheels.push(make(
            "3.0.2",
            format!("{tag}-manylinux_2_17_x86_64.manylinux2014_x86_64"),
        ));
        wheels.push(make("3.0.2", format!("{tag}-musllinux_1_2_x86_64")));
        if python != "313" {
            wheels.push(make(
                "2.1.5",
                format!("{tag}-manylinux_2_17_x86_64.manylinux2014_x86_64"),
            ));
        }
    }
    wheels
}

fn setuptools(version: &str) -> Wheel {
    let hook = "import os; enabled = os.environ.get('SETUPTOOLS_USE_DISTUTILS', 'local') == 'local'; \
                enabled and __import__('_distutils_hack')\n";
    Wheel::new("setuptools", version)
        .metadata_version("2.4")
        .requires_python(">=3.9")
        .file("_distutils_hack/__init__.py", "ACTIVE = True\n")
        .file("distutils-precedence.pth", hook)
        .file("setuptools/__init__.py", format!("__version__ = '{version}'\n"))
        .file(
            "setuptools/_vendor/zipp-3.19.2.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: zipp\nVersion: 3.19.2\n\n",
        )
        .file("setuptools/_vendor/zipp/__init__.py", "")
        .file("pkg_resources/__init__.py", "")
        .entry_point("distutils.commands", "build", "setuptools.command.build:build")
        .extra("core", &["packaging>=24.2"])
}

fn numpy() -> Vec<Wheel> {
    let old = PYTHONS[..4]
        .iter()
        .map(|python| numpy_wheel("2.0.2", ">=3.9", &format!("cp{python}-cp{python}")));
    let new = PYTHONS[1..]
        .iter()
        .map(|python| numpy_wheel("2.2.5", ">=3.10", &format!("cp{python}-cp{python}")));
    old.chain(new).collect()
}

fn numpy_wheel(version: &str, python: &str, tag: &str) -> Wheel {
    Wheel::new("numpy", version)
        .tag(&format!("{tag}-manylinux_2_17_x86_64.manylinux2014_x86_64"))
        .requires_python(python)
        .file("numpy/__init__.py", format!("__version__ = '{version}'\n"))
        .executable("numpy/_core/_multiarray_umath.so", elf!("leaf/libleaf.so"))
        .file("numpy/_core/__init__.py", "")
        .file("numpy/f2py/__init__.py", "def main():\n    print('f2py')\n")
        .file("numpy/linalg/__init__.py", "")
        .executable("numpy.libs/libscipy_openblas64_-6bb31eeb.so", elf!("leaf/libleaf.so"))
        .entry_point("console_scripts", "f2py", "numpy.f2py:main")
        .entry_point("pyinstaller40", "hook-dirs", "numpy:_pyinstaller_hooks_dir")
}

fn pillow(version: &str) -> Vec<Wheel> {
    for_pythons(|tag| {
        Wheel::new("pillow", version)
            .tag(&format!("{tag}-manylinux_2_28_x86_64"))
            .requires_python(">=3.9")
            .file("PIL/__init__.py", format!("__version__ = '{version}'\n"))
            .executable("PIL/_imaging.so", elf!("leaf/libleaf.so"))
            .executable("pillow.libs/libjpeg-9aa5b5a5.so.62.4.0", elf!("leaf/libleaf.so"))
            .extra("docs", &["furo", "sphinx>=8.2"])
    })
}
