//! `entry_points.txt`: names that become files, references that become code.

use super::{Made, cases, demo, refused};

cases![
    name_to_a_parent,
    name_that_is_absolute,
    name_with_a_folder,
    name_with_a_backslash,
    name_with_a_nul,
    name_with_a_line_separator,
    empty_name,
    dot_name,
    named_python,
    named_python3,
    named_python3_11,
    named_python_in_capitals,
    named_pythonw,
    named_activate,
    gui_script_named_python,
    module_with_code,
    module_to_a_parent,
    module_with_a_newline_escape,
    attribute_with_a_call,
    attribute_with_code,
    reference_without_an_attribute,
    reference_is_empty,
    name_twice,
    not_utf8,
    a_line_that_is_none,
];

fn scripts(line: &str, told: &str) -> Made {
    let text = format!("[console_scripts]\n{line}\n");
    refused(demo().text("entry_points.txt", text), &["entry_points.txt", told])
}

/// uv before 0.11.15 wrote where such a name leads (GHSA-4gg8-gxpx-9rph).
fn name_to_a_parent() -> Made {
    scripts("../../evil = demo:x", "`../../evil` cannot be a script")
}

fn name_that_is_absolute() -> Made {
    scripts("/tmp/flambeau-evil = demo:x", "no file name")
}

fn name_with_a_folder() -> Made {
    scripts("sub/evil = demo:x", "no file name")
}

fn name_with_a_backslash() -> Made {
    scripts("..\\evil = demo:x", "no file name")
}

fn name_with_a_nul() -> Made {
    scripts("evil\0 = demo:x", "no file name")
}

fn name_with_a_line_separator() -> Made {
    scripts("a\u{2028}evil = demo:x", "no file name")
}

fn empty_name() -> Made {
    scripts(" = demo:x", "no file name")
}

fn dot_name() -> Made {
    scripts(".. = demo:x", "no file name")
}

fn named_python() -> Made {
    scripts("python = demo:x", "shadow the interpreter")
}

fn named_python3() -> Made {
    scripts("python3 = demo:x", "shadow the interpreter")
}

fn named_python3_11() -> Made {
    scripts("python3.11 = demo:x", "shadow the interpreter")
}

fn named_python_in_capitals() -> Made {
    scripts("Python = demo:x", "shadow the interpreter")
}

fn named_pythonw() -> Made {
    scripts("pythonw = demo:x", "shadow the interpreter")
}

fn named_activate() -> Made {
    refused(
        demo().entry_point("console_scripts", "activate", "demo:x"),
        &["bin/activate", "belongs to the environment"],
    )
}

fn gui_script_named_python() -> Made {
    let text = "[gui_scripts]\npython = demo:x\n";
    refused(
        demo().text("entry_points.txt", text),
        &["entry_points.txt", "shadow the interpreter"],
    )
}

fn module_with_code() -> Made {
    scripts("evil = os;import sys:x", "no `module:attribute`")
}

fn module_to_a_parent() -> Made {
    scripts("evil = ../../evil:x", "no `module:attribute`")
}

fn module_with_a_newline_escape() -> Made {
    scripts("evil = os\u{b}import evil:x", "no `module:attribute`")
}

fn attribute_with_a_call() -> Made {
    scripts("evil = os:system('true')", "no `module:attribute`")
}

fn attribute_with_code() -> Made {
    scripts("evil = os:x or evil", "no `module:attribute`")
}

fn reference_without_an_attribute() -> Made {
    scripts("evil = demo", "no `module:attribute`")
}

fn reference_is_empty() -> Made {
    scripts("evil = ", "no `module:attribute`")
}

fn name_twice() -> Made {
    scripts("evil = demo:x\nevil = demo:y", "twice")
}

fn not_utf8() -> Made {
    refused(
        demo().text("entry_points.txt", b"[console_scripts]\nevil\xed\xa0\x80 = demo:x\n"),
        &["entry_points.txt", "not UTF-8"],
    )
}

fn a_line_that_is_none() -> Made {
    scripts("evil", "not understood")
}
