//! What a recording may not hold: names of people and machines, serial numbers, addresses.
//!
//! A recording is read by strangers. Only what the probes ask for gets into it, and of that everything that points at
//! a person or one machine is replaced, in a way that no probe can tell.

/// Folders whose names may be anybody's; of these only the entries that a probe looks for are recorded.
const OPEN_FOLDERS: &[(&str, &[&str])] = &[
    ("/dev", &["kfd", "dri", "dxg", "nvidia"]),
    (
        "/sys/module",
        &[
            "amdgpu",
            "i915",
            "nouveau",
            "nvidia",
            "nvidia_uvm",
            "radeon",
            "vfio_pci",
            "xe",
        ],
    ),
];

/// Lines whose value is a serial number: `unique_id 1234` of compute nodes, `"GUID": "1234"` of `rocm-smi`.
const SERIALS: &[&str] = &[
    "unique_id",
    "hive_id",
    "\"guid\":",
    "\"unique id\":",
    "\"serial number\":",
];

/// Words of kernel releases that say nothing about anybody.
const KERNELS: &[&str] = &[
    "aarch",
    "amd",
    "arch",
    "arm",
    "aws",
    "azure",
    "cloud",
    "default",
    "el",
    "fc",
    "gcp",
    "generic",
    "gke",
    "hardened",
    "hwe",
    "kvm",
    "lowlatency",
    "lts",
    "microsoft",
    "nvidia",
    "oem",
    "oracle",
    "pve",
    "raspi",
    "rc",
    "rt",
    "server",
    "standard",
    "tegra",
    "valve",
    "virtual",
    "wsl",
    "x",
    "xanmod",
    "zen",
];

/// Whether a name in a folder may be recorded.
pub(super) fn keeps(folder: &str, name: &str) -> bool {
    let known = OPEN_FOLDERS
        .iter()
        .find(|(open, _)| *open == folder.trim_end_matches('/'));
    known.is_none_or(|(open, names)| {
        names.contains(&name) || (*open == "/dev" && name.strip_prefix("nvidia").is_some_and(is_plain))
    })
}

fn is_plain(rest: &str) -> bool {
    rest.bytes().all(|byte| byte.is_ascii_digit()) || ["ctl", "-uvm", "-modeset", "-caps"].contains(&rest)
}

/// A kernel release without words that its builder chose: `6.8.0-40-generic` stays, `6.1.0-alices-box` does not.
pub(super) fn kernel(release: &str) -> String {
    let mut shown = String::new();
    for part in release.trim().split_inclusive(['-', '.', '_', '+', '~']) {
        let word = part.trim_end_matches(['-', '.', '_', '+', '~']);
        let letters = word
            .trim_end_matches(|last: char| last.is_ascii_digit())
            .to_ascii_lowercase();
        let digits = word.trim_start_matches(|first: char| first.is_ascii_digit());
        if letters.is_empty() || digits.is_empty() || KERNELS.contains(&letters.as_str()) {
            shown.push_str(word);
        } else {
            shown.push('x');
        }
        shown.push_str(&part[word.len()..]);
    }
    shown
}

/// Text without serial numbers, hardware addresses, builders' names, home folders, and `words` (the user, the host).
pub(super) fn text(text: &str, words: &[String]) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        shown.push_str(&self::line(line, words));
    }
    shown
}

fn line(line: &str, words: &[String]) -> String {
    let start = line.trim_start().to_ascii_lowercase();
    let serial = SERIALS.iter().any(|name| start.starts_with(name));
    let mut shown = String::with_capacity(line.len());
    let mut rest = line;
    while !rest.is_empty() {
        let is_word = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | ':' | '.' | '@' | '/');
        let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(end);
        let number = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit());
        shown.push_str(&if serial && number {
            "0".to_owned()
        } else {
            self::word(word, words)
        });
        let next = tail.chars().next().map_or(0, char::len_utf8);
        shown.push_str(&tail[..next]);
        rest = &tail[next..];
    }
    shown
}

/// One word: letters, digits, and what joins them in paths, addresses and numbers.
fn word(word: &str, words: &[String]) -> String {
    if word.contains('@') {
        return "builder@host".to_owned();
    }
    let mut path: Vec<&str> = word.split('/').collect();
    for at in 1..path.len() {
        if matches!(path[at - 1], "home" | "Users") && !path[at].is_empty() {
            path[at] = "user";
        }
    }
    let shown = |part: &&str| {
        let name = part.trim_end_matches([':', '.']);
        if words.iter().any(|private| private == name) {
            format!("private{}", &part[name.len()..])
        } else {
            (*part).to_owned()
        }
    };
    masked(&path.iter().map(shown).collect::<Vec<_>>().join("/"))
}

/// UUIDs (with any prefix) and hardware addresses, their digits replaced by zeros.
fn masked(word: &str) -> String {
    let zeros = |text: &str| -> String {
        text.chars()
            .map(|c| if c.is_ascii_hexdigit() { '0' } else { c })
            .collect()
    };
    let hex = |part: &str, len: usize| part.len() == len && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let groups: Vec<&str> = word.split('-').collect();
    for at in 0..groups.len().saturating_sub(4) {
        let lengths = [8, 4, 4, 4];
        let four = lengths
            .iter()
            .enumerate()
            .all(|(index, len)| hex(groups[at + index], *len));
        // What follows the last group (`/1/0` of a MIG device) stays.
        let last = groups[at + 4];
        let tail = last.find('/').unwrap_or(last.len());
        if four && hex(&last[..tail], 12) {
            let before: String = groups[..at].iter().flat_map(|group| [*group, "-"]).collect();
            let after: String = groups[at + 5..].iter().flat_map(|group| ["-", *group]).collect();
            return format!("{before}00000000-0000-0000-0000-000000000000{}{after}", &last[tail..]);
        }
    }
    let parts: Vec<&str> = word.split(':').collect();
    if parts.len() == 6 && parts.iter().all(|part| hex(part, 2)) {
        return zeros(word);
    }
    word.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_person_or_one_machine_stays() {
        let words = ["alice".to_owned(), "box17".to_owned()];
        for (given, shown) in [
            (
                "NVIDIA UNIX Open Kernel Module for x86_64  565.57.01  Release Build  (alice@box17)  Thu Oct 10",
                "NVIDIA UNIX Open Kernel Module for x86_64  565.57.01  Release Build  (builder@host)  Thu Oct 10",
            ),
            (
                "GPU 0: NVIDIA H100 (UUID: GPU-5ad1a5b6-0a1b-2c3d-4e5f-0123456789ab)\n  MIG 1g.10gb (UUID: MIG-5ad1a5b6-0a1b-2c3d-4e5f-0123456789ab/1/0)\n",
                "GPU 0: NVIDIA H100 (UUID: GPU-00000000-0000-0000-0000-000000000000)\n  MIG 1g.10gb (UUID: MIG-00000000-0000-0000-0000-000000000000/1/0)\n",
            ),
            ("unique_id 1801979520617338022\nnum_xcc 1\n", "unique_id 0\nnum_xcc 1\n"),
            ("\"GUID\": \"41832\", \"Node\": 1", "\"GUID\": \"0\", \"Node\": 0"),
            ("link/ether 52:54:00:ab:cd:ef brd", "link/ether 00:00:00:00:00:00 brd"),
            (
                "/home/bob/lib: cannot open /Users/carol/x, said alice: on box17.",
                "/home/user/lib: cannot open /Users/user/x, said private: on private.",
            ),
            (
                "0000:01:00.0 \"0300\" \"10de\" \"2684\" -ra1 -p00 \"1043\" \"88e2\"",
                "0000:01:00.0 \"0300\" \"10de\" \"2684\" -ra1 -p00 \"1043\" \"88e2\"",
            ),
            (
                "NVIDIA H100 80GB HBM3, 590.48.01, 9.0, 81559 MiB\n",
                "NVIDIA H100 80GB HBM3, 590.48.01, 9.0, 81559 MiB\n",
            ),
            ("alice's Сб 29 июн\r\n", "private's Сб 29 июн\r\n"),
        ] {
            assert_eq!(text(given, &words), shown);
            assert_eq!(text(shown, &words), shown, "scrubbing twice changes nothing");
        }
    }

    #[test]
    fn kernels_keep_what_everybody_has() {
        for (given, shown) in [
            ("6.8.0-40-generic", "6.8.0-40-generic"),
            (
                "5.15.153.1-microsoft-standard-WSL2",
                "5.15.153.1-microsoft-standard-WSL2",
            ),
            ("4.18.0-553.el8_10.x86_64", "4.18.0-553.el8_10.x86_64"),
            ("6.6.8-alice-box", "6.6.8-x-x"),
            ("5.15.148-tegra", "5.15.148-tegra"),
            ("6.1.0-arch1-1", "6.1.0-arch1-1"),
            ("", ""),
        ] {
            assert_eq!(kernel(given), shown);
        }
    }

    #[test]
    fn folders_of_anybodys_names_show_what_is_looked_for() {
        for name in ["kfd", "dri", "dxg", "nvidia0", "nvidia15", "nvidiactl", "nvidia-uvm"] {
            assert!(keeps("/dev", name), "{name}");
        }
        for name in ["alice-vg", "sda", "nvidia-alice", "disk"] {
            assert!(!keeps("/dev", name) && !keeps("/dev/", name), "{name}");
        }
        assert!(keeps("/sys/module", "nouveau") && !keeps("/sys/module", "usbcore"));
        assert!(keeps("/sys/bus/pci/devices", "0000:01:00.0"));
    }
}
