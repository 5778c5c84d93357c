//! Projects that are awkward on purpose, all on the package index.
//!
//! | project | why it is here |
//! |---|---|
//! | corp-alpha, corp-beta | share the namespace `corp/` and one file with the same bytes |
//! | corp-clash | has other bytes at that path |
//! | corp-hidden | puts a shared object deep below a folder that it has to itself |
//! | pth-carrier | a `.pth` line that counts how often it ran, and one that adds a folder |
//! | kitchen-sink | every `.data` scheme, scripts with `#!python`, entry points with extras, names with spaces |
//! | needs-new-python | the newer version does not run on any Python there is |
//! | loop-a, loop-b | require each other |
//! | with-extras | extras that pull in other projects, one of them its own |
//! | torn | requires two things that cannot both be had |
//! | pre-release | newest version is a release candidate |
//! | yanked | newest version is yanked |

use super::{Catalogue, Shelf, elf, python};
use crate::support::wheel::Wheel;

pub(super) fn fill(catalogue: &mut Catalogue) {
    let mut add = |project: &'static str, make: fn() -> Vec<Wheel>| catalogue.add(Shelf::Index, project, make);
    add("corp-alpha", || vec![corp("corp-alpha", "alpha", "the same in both\n")]);
    add("corp-beta", || vec![corp("corp-beta", "beta", "the same in both\n")]);
    add("corp-clash", || vec![corp("corp-clash", "clash", "another text\n")]);
    add("corp-hidden", || {
        let wheel = Wheel::new("corp-hidden", "1.0").tag("py3-none-manylinux_2_17_x86_64");
        vec![
            wheel
                .file("corp/hidden/__init__.py", "")
                .file("corp/hidden/data/one/two/plugin.bin", elf!("leaf/libleaf.so"))
                .file("corp/hidden/text/one/two/note.txt", "no ELF file here\n"),
        ]
    });
    add("pth-carrier", || {
        vec![
            Wheel::new("pth-carrier", "1.0")
                .file(
                    "pth_carrier.pth",
                    "import pth_carrier_hook; pth_carrier_hook.count()\npth_carrier_extra\n",
                )
                .file(
                    "pth_carrier_hook.py",
                    "RUNS = 0\n\ndef count():\n    global RUNS\n    RUNS += 1\n",
                )
                .file("pth_carrier_extra/from_the_extra_folder.py", "FOUND = True\n"),
        ]
    });
    add("kitchen-sink", || vec![kitchen_sink()]);
    add("needs-new-python", || {
        let wheel = |version: &str, python: &str| {
            Wheel::new("needs-new-python", version)
                .requires_python(python)
                .file("needs_new_python.py", format!("__version__ = '{version}'\n"))
        };
        vec![wheel("1.0", ">=3.8"), wheel("2.0", ">=3.99")]
    });
    add("loop-a", || {
        vec![Wheel::new("loop-a", "1.0").file("loop_a.py", "").requires("loop-b")]
    });
    add("loop-b", || {
        vec![
            Wheel::new("loop-b", "1.0")
                .file("loop_b.py", "")
                .requires("loop-a==1.0"),
        ]
    });
    add("with-extras", || {
        let wheel = Wheel::new("with-extras", "1.0").file("with_extras.py", "");
        vec![
            wheel
                .extra("maths", &["mpmath"])
                .extra("templates", &["Jinja2>=3"])
                .extra("all", &["with-extras[maths,templates]"]),
        ]
    });
    add("torn", || {
        vec![
            Wheel::new("torn", "1.0")
                .file("torn.py", "")
                .requires_all(["mpmath>=1.4", "sympy==1.14.0"]),
        ]
    });
    add("pre-release", || {
        ["1.0", "2.0rc1"]
            .map(|version| Wheel::new("pre-release", version).file("pre_release.py", format!("V = '{version}'\n")))
            .into()
    });
    add("yanked", || {
        let wheel = |version: &str| Wheel::new("yanked", version).file("yanked.py", format!("V = '{version}'\n"));
        vec![wheel("1.0"), wheel("1.1").yanked("breaks & burns")]
    });
}

fn corp(name: &str, part: &str, notice: &str) -> Wheel {
    Wheel::new(name, "1.0")
        .file(&format!("corp/{part}/__init__.py"), format!("NAME = '{name}'\n"))
        .file(&format!("corp/{part}/deep/er/module.py"), format!("NAME = '{name}'\n"))
        .file("corp/shared/notice.txt", notice)
}

fn kitchen_sink() -> Wheel {
    Wheel::new("kitchen-sink", "1.0")
        .requires_python(">=3.9")
        .file("kitchen/__init__.py", "")
        .file("kitchen/cli.py", python!("kitchen/cli.py"))
        .file("kitchen/a name with spaces.txt", "spaces\n")
        .file("kitchen/größe.txt", "not ASCII\n")
        .executable("kitchen/tool.sh", "#!/bin/sh\necho tool\n")
        .data_executable(
            "scripts",
            "kitchen-script",
            "#!python\nimport kitchen.cli, sys\nsys.exit(kitchen.cli.main())\n",
        )
        // Without the executable bit in the archive, as some build back ends leave it.
        .data("scripts", "kitchen-plain", "#!python -s\nprint('plain')\n")
        .data_executable("scripts", "kitchen-shell", "#!/bin/sh\necho shell \"$@\"\n")
        .data("data", "share/kitchen/recipe.txt", "water\n")
        .data("data", "etc/kitchen.conf", "heat = 3\n")
        .data("headers", "kitchen.h", "#define KITCHEN 1\n")
        .data("purelib", "kitchen_pure/__init__.py", "WHERE = __file__\n")
        .data("platlib", "kitchen_plat/__init__.py", "WHERE = __file__\n")
        .entry_point("console_scripts", "kitchen", "kitchen.cli:main")
        .entry_point("console_scripts", "kitchen-nested", "kitchen.cli:Tools.nested")
        .entry_point("console_scripts", "kitchen-extra", "kitchen.cli:main [fancy]")
        .entry_point("gui_scripts", "kitchen-gui", "kitchen.cli:main")
        .extra("fancy", &["mpmath"])
}
