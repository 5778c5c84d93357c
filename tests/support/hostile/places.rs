//! Members with good names that end up in a place that is not theirs.

use super::{Made, cases, demo, refused};

cases![
    the_configuration_of_the_environment,
    the_configuration_in_capitals,
    the_interpreter,
    a_versioned_interpreter,
    the_activate_script,
    the_state_file,
    the_lib64_link,
    a_file_for_the_bin_folder,
    a_script_named_python,
    a_script_named_python3,
    a_script_named_activate,
    the_start_up_hook,
    the_line_of_the_hook,
    the_bytecode_of_the_hook,
    the_hook_as_a_shared_object,
    another_dist_info_by_purelib,
    another_dist_info_by_data,
    another_dist_info_for_another_python,
    its_own_record_by_purelib,
    its_own_installer_by_data,
    purelib_over_a_module,
    platlib_over_purelib,
    data_over_a_module,
    script_over_data,
    file_for_a_folder,
    file_for_the_bytecode_folder,
    folder_for_a_bytecode_file,
    unknown_scheme,
    no_scheme,
];

/// Below site-packages of the Python that the tests use most.
const SITE: &str = "lib/python3.11/site-packages";

fn data(path: &str) -> Made {
    refused(
        demo().data("data", path, "evil\n"),
        &[path, "belongs to the environment"],
    )
}

fn the_configuration_of_the_environment() -> Made {
    data("pyvenv.cfg")
}

fn the_configuration_in_capitals() -> Made {
    data("PyVenv.cfg")
}

fn the_interpreter() -> Made {
    data("bin/python")
}

fn a_versioned_interpreter() -> Made {
    data("bin/python3.11")
}

fn the_activate_script() -> Made {
    data("bin/activate")
}

fn the_state_file() -> Made {
    data("environment_state.json")
}

fn the_lib64_link() -> Made {
    data("lib64/evil.so")
}

fn a_file_for_the_bin_folder() -> Made {
    data("bin")
}

fn a_script_named_python() -> Made {
    refused(
        demo().data("scripts", "python", "#!/bin/sh\n"),
        &["python", "shadow the interpreter"],
    )
}

fn a_script_named_python3() -> Made {
    refused(
        demo().data("scripts", "python3", "#!/bin/sh\n"),
        &["python3", "shadow the interpreter"],
    )
}

fn a_script_named_activate() -> Made {
    refused(
        demo().data("scripts", "activate", "#!/bin/sh\n"),
        &["bin/activate", "belongs to the environment"],
    )
}

fn module(path: &str) -> Made {
    refused(demo().file(path, "evil\n"), &[path, "belongs to the environment"])
}

fn the_start_up_hook() -> Made {
    module("_flambeau.py")
}

fn the_line_of_the_hook() -> Made {
    module("00-flambeau.pth")
}

fn the_bytecode_of_the_hook() -> Made {
    module("__pycache__/_flambeau.cpython-311.pyc")
}

fn the_hook_as_a_shared_object() -> Made {
    module("_flambeau.abi3.so")
}

fn dist_info_at(scheme: &str, path: &str) -> Made {
    let wheel = demo().data(scheme, path, "Metadata-Version: 2.1\nName: evil\nVersion: 1.0\n");
    refused(wheel, &[path, "belongs to the environment"])
}

fn another_dist_info_by_purelib() -> Made {
    dist_info_at("purelib", "evil-1.0.dist-info/METADATA")
}

fn another_dist_info_by_data() -> Made {
    dist_info_at("data", &format!("{SITE}/evil-1.0.dist-info/METADATA"))
}

/// One tree serves several Pythons: what is idle in one environment would count in the next.
fn another_dist_info_for_another_python() -> Made {
    dist_info_at("data", "lib/python3.99/site-packages/evil-1.0.dist-info/METADATA")
}

fn its_own_record_by_purelib() -> Made {
    dist_info_at("purelib", "demo-1.0.dist-info/RECORD")
}

fn its_own_installer_by_data() -> Made {
    dist_info_at("platlib", "demo-1.0.dist-info/INSTALLER")
}

fn purelib_over_a_module() -> Made {
    refused(
        demo().data("purelib", "demo/__init__.py", "evil\n"),
        &["demo/__init__.py", "two members"],
    )
}

fn platlib_over_purelib() -> Made {
    let wheel = demo()
        .data("purelib", "demo/evil.py", "a = 1\n")
        .data("platlib", "demo/evil.py", "a = 2\n");
    refused(wheel, &["demo/evil.py", "two members"])
}

fn data_over_a_module() -> Made {
    let mut wheel = demo();
    for minor in 9..15 {
        let path = format!("lib/python3.{minor}/site-packages/demo/__init__.py");
        wheel = wheel.data("data", &path, "evil\n");
    }
    refused(wheel, &["demo/__init__.py", "two members"])
}

fn script_over_data() -> Made {
    let wheel = demo()
        .data("scripts", "evil", "#!/bin/sh\n")
        .data("data", "bin/evil", "#!/bin/sh\n");
    refused(wheel, &["bin/evil", "two members"])
}

fn file_for_a_folder() -> Made {
    let wheel = demo()
        .data("purelib", "demo/evil", "a file\n")
        .data("platlib", "demo/evil/x.py", "a = 2\n");
    refused(wheel, &["demo/evil", "two members"])
}

fn file_for_the_bytecode_folder() -> Made {
    refused(
        demo().file("demo/__pycache__", "a file\n"),
        &["demo/__pycache__", "two members"],
    )
}

fn folder_for_a_bytecode_file() -> Made {
    let path = "demo/__pycache__/__init__.cpython-311.pyc/evil.txt";
    refused(
        demo().file(path, "a file\n"),
        &["demo/__pycache__/__init__.cpython-311.pyc", "two members"],
    )
}

fn unknown_scheme() -> Made {
    refused(
        demo().data("evil", "x.py", "a = 1\n"),
        &["demo-1.0.data/evil/x.py", "no known scheme"],
    )
}

fn no_scheme() -> Made {
    refused(
        demo().file("demo-1.0.data/x.py", "a = 1\n"),
        &["demo-1.0.data/x.py", "no known scheme"],
    )
}
