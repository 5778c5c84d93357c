//! What the rules of other detectors answer on the same machines: the table of `docs/detection.md`.
//!
//! `FLAMBEAU_UPDATE_DOCS=1 cargo test the_table_in_the_documentation` writes it anew.

use std::fmt::Write as _;

use super::captures::captures;
use super::*;

/// uv (`crates/uv-torch`): the kernel module's version files, else `nvidia-smi`; a driver of any version has an index;
/// else the targets that ROCm's tools list, of which an unknown one is ignored.
fn uv(host: &dyn Host, facts: &Facts) -> Backend {
    let module = ["/sys/module/nvidia/version", "/proc/driver/nvidia/version"]
        .iter()
        .any(|path| host.read(path).is_ok());
    let listed = matches!(&facts.nvidia.smi, Smi::Rows(rows) if rows.iter().any(|row| row.driver.is_some()));
    let rocm = "rocm6.3".parse().expect("a channel");
    let compat::Wheels::Known(row) = compat::wheels(&rocm, None, "linux", "x86_64") else {
        panic!("the table has rocm6.3")
    };
    // At its best: ROCm's own tools are installed, and list what the kernel's topology has.
    let targets = amd::judge::gpus(facts);
    let any = !facts.amd.nodes.is_empty()
        && targets
            .iter()
            .any(|gpu| gpu.gfx.as_deref().is_some_and(|gfx| row.runs_gfx(gfx)));
    match (module || listed, any) {
        (true, _) => Backend::Cuda,
        (false, true) => Backend::Rocm,
        (false, false) => Backend::Cpu,
    }
}

/// light-the-torch: the last line of `nvidia-smi --query-gpu=driver_version`, of any version; nothing of AMD.
fn light_the_torch(facts: &Facts) -> Backend {
    match &facts.nvidia.smi {
        Smi::Rows(rows) if rows.last().is_some_and(|row| row.driver.is_some()) => Backend::Cuda,
        _ => Backend::Cpu,
    }
}

/// `lspci | grep VGA`: NVIDIA is CUDA, AMD is ROCm, whatever it is and whether or not it works.
fn lspci_grep(facts: &Facts) -> Backend {
    let vga = |vendor: u16| {
        facts
            .pci
            .devices
            .iter()
            .any(|it| it.class == 0x0300 && it.vendor == vendor)
    };
    match (vga(0x10de), vga(0x1002)) {
        (true, _) => Backend::Cuda,
        (false, true) => Backend::Rocm,
        (false, false) => Backend::Cpu,
    }
}

fn table() -> String {
    let mut text = String::new();
    let mut right = [0usize; 4];
    let captures = captures();
    let mut rows = String::new();
    for capture in &captures {
        let host = capture.host();
        let facts = probe(&host);
        let ours = choose(&auto(), &facts);
        let answers = [
            ours.backend,
            uv(&host, &facts),
            light_the_torch(&facts),
            lspci_grep(&facts),
        ];
        let (channel, reason) = capture.answer.split_once(' ').expect("two words");
        write!(
            rows,
            "| `{}` | {} | {} `{reason}` |",
            capture.name, capture.about, capture.backend
        )
        .expect("written");
        if capture.backend != "CPU" {
            assert_eq!(ours.channel.as_str(), channel);
        }
        for (answer, right) in answers.iter().zip(&mut right) {
            let good = answer.as_str() == capture.backend;
            *right += usize::from(good);
            let cell = if good {
                answer.as_str().to_owned()
            } else {
                format!("**{answer}**")
            };
            write!(rows, " {cell} |").expect("written");
        }
        rows.push('\n');
    }
    let [flambeau, uv, light, lspci] = right;
    let all = captures.len();
    writeln!(
        text,
        "| right of {all} | flambeau {flambeau} | uv {uv} | light-the-torch {light} | `lspci \\| grep VGA` {lspci} |\n|---|---|---|---|---|\n"
    )
    .expect("written");
    text.push_str("| capture | machine | right answer | flambeau | uv | light-the-torch | lspci |\n|---|---|---|---|---|---|---|\n");
    text.push_str(&rows);
    assert_eq!(flambeau, all);
    text
}

#[test]
fn the_table_in_the_documentation_is_the_truth() {
    const START: &str = "<!-- captures: written by a test -->\n\n";
    const END: &str = "\n<!-- end of captures -->";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/detection.md");
    let page = std::fs::read_to_string(&path).expect("a page");
    let (before, rest) = page.split_once(START).expect("the start of the table");
    let (written, after) = rest.split_once(END).expect("the end of the table");
    let table = table();
    if std::env::var_os("FLAMBEAU_UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{START}{table}{END}{after}")).expect("written");
    } else {
        assert_eq!(written, table, "FLAMBEAU_UPDATE_DOCS=1 writes it anew");
    }
}
