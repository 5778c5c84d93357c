//! Broken machines: whatever a capture holds, detection ends with an answer, and answers CUDA or ROCm only where
//! something was seen to work.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::captures::captures;
use super::*;

/// A few hundred cases; `FLAMBEAU_PROPTEST_CASES` asks for a long run.
fn cases(few: u32) -> ProptestConfig {
    let asked = std::env::var("FLAMBEAU_PROPTEST_CASES")
        .ok()
        .and_then(|text| text.parse().ok());
    ProptestConfig {
        cases: asked.unwrap_or(few),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// The answer, and that it rests on evidence. The evidence is looked for in the document, not in what was made of it.
fn check(document: &[u8]) {
    let Ok(host) = ReplayHost::parse(document) else { return };
    let decision = decide(&auto(), &host, true);
    let said = |argv: &[&str]| match host.run(argv) {
        CommandOutcome::Finished { stdout, .. } => stdout,
        _ => String::new(),
    };
    match decision.backend {
        Backend::Cuda => {
            let answers = [said(nvidia::COMMANDS[0]), said(nvidia::COMMANDS[1])];
            // A name, a driver of at least 450, and something behind it.
            let is_row = |line: &str| {
                line.split(',')
                    .skip(1)
                    .any(|field| DriverVersion::parse(field).is_some_and(|driver| driver.to_string().as_str() >= "4"))
            };
            assert!(answers.iter().any(|answer| answer.lines().any(is_row)), "{decision:#?}");
        }
        Backend::Rocm => {
            let listed = said(amd::COMMANDS[0]).to_ascii_lowercase().contains("card");
            assert!(host.open_rw("/dev/kfd").is_ok() || listed, "{decision:#?}");
        }
        Backend::Cpu => {}
    }
    assert!(decision.backend == Backend::Cpu || host.arch() == "x86_64");
    assert!(decision.message.len() < 20_000);
    assert!(!decision.message.chars().any(char::is_control), "{decision:#?}");
    let texts = decision
        .warnings
        .iter()
        .chain(decision.accelerators.iter().map(|it| &it.model));
    for text in texts {
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    // What it says of this machine can be written down and read again.
    let recorder = Recorder::new(&host, []);
    let recorded = decide(&auto(), &recorder, true);
    let again = ReplayHost::parse(recorder.document().to_string().as_bytes()).expect("a recording");
    assert_eq!(decide(&auto(), &again, true), recorded);
}

fn noise() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        RTX4090.to_owned(),
        RTX5090.to_owned(),
        "No devices were found\n".to_owned(),
        "Field \"compute_cap\" is not a valid field to query.".to_owned(),
        "{\"card0\": {\"GFX Version\": \"gfx1100\"}}".to_owned(),
        "simd_count 64\ngfx_target_version 110000\ndevice_id 29772\n".to_owned(),
        "01:00.0 VGA compatible controller [0300]: NVIDIA [10de:2684] (rev a1)\n".to_owned(),
        "01:00.0 \"0300\" \"1002\" \"744c\"\n".to_owned(),
        "0x10de".to_owned(),
        "0x030000".to_owned(),
        "ok".to_owned(),
        "\u{1b}[2J\r\u{0}é\u{202e}".to_owned(),
        "9".repeat(400),
        "{".repeat(400),
    ]);
    // Known words, cut off anywhere or followed by anything.
    prop_oneof![
        known.clone(),
        ".{0,60}",
        (known, 0usize..80, ".{0,20}").prop_map(|(text, cut, tail)| text
            .chars()
            .take(cut)
            .chain(tail.chars())
            .collect()),
    ]
}

/// One change of a capture.
#[derive(Debug, Clone)]
enum Mutation {
    /// The text at the nth place (counted over the whole document) is replaced.
    Replace(usize, String),
    /// The text there loses its end.
    Truncate(usize, usize),
    /// One character of it is replaced.
    Flip(usize, usize, char),
    /// The value there becomes something of another sort.
    Retype(usize, u8),
    /// A member or item is left out.
    Remove(usize),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = 0usize..4000;
    prop_oneof![
        (place.clone(), noise()).prop_map(|(at, text)| Mutation::Replace(at, text)),
        (place.clone(), 0usize..200).prop_map(|(at, keep)| Mutation::Truncate(at, keep)),
        (place.clone(), 0usize..400, any::<char>()).prop_map(|(at, index, c)| Mutation::Flip(at, index, c)),
        (place.clone(), any::<u8>()).prop_map(|(at, sort)| Mutation::Retype(at, sort)),
        place.prop_map(Mutation::Remove),
    ]
}

/// Applies the mutation to the value at its place; counts down on the way.
fn mutate(value: &mut Value, left: &mut usize, mutation: &Mutation) {
    let here = *left == 0;
    *left = left.wrapping_sub(1);
    if here {
        match (mutation, &mut *value) {
            (Mutation::Replace(_, text), _) => *value = json!(text),
            (Mutation::Truncate(_, keep), Value::String(text)) => *text = text.chars().take(*keep).collect(),
            (Mutation::Flip(_, index, with), Value::String(text)) => {
                let flipped = |(at, c)| if at == *index { *with } else { c };
                *text = text.chars().enumerate().map(flipped).collect();
            }
            (Mutation::Retype(_, sort), _) => {
                *value = [
                    json!(null),
                    json!(true),
                    json!(-1),
                    json!(1e300),
                    json!([[]]),
                    json!({"": {}}),
                    json!(""),
                ][usize::from(*sort) % 7]
                    .clone();
            }
            (Mutation::Remove(_), Value::Object(members)) => {
                if let Some(name) = members.keys().next().cloned() {
                    members.remove(&name);
                }
            }
            (Mutation::Remove(_), Value::Array(items)) => {
                items.pop();
            }
            (Mutation::Truncate(..) | Mutation::Flip(..) | Mutation::Remove(_), _) => {}
        }
        return;
    }
    match value {
        Value::Object(members) => members.values_mut().for_each(|value| mutate(value, left, mutation)),
        Value::Array(items) => items.iter_mut().for_each(|value| mutate(value, left, mutation)),
        _ => {}
    }
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Object(members) => members.values().map(size).sum(),
        Value::Array(items) => items.iter().map(size).sum(),
        _ => 0,
    }
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn no_mutated_capture_is_believed_without_evidence(which in any::<prop::sample::Index>(), mutations in prop::collection::vec(mutation(), 1..8)) {
        let captures = captures();
        let mut document = which.get(&captures).json();
        for mutation in &mutations {
            let (Mutation::Replace(at, _) | Mutation::Truncate(at, _) | Mutation::Flip(at, ..) | Mutation::Retype(at, _) | Mutation::Remove(at)) = mutation;
            let mut left = at % size(&document);
            mutate(&mut document, &mut left, mutation);
        }
        check(document.to_string().as_bytes());
    }

    #[test]
    fn no_damaged_file_is_believed_without_evidence(which in any::<prop::sample::Index>(), cut in any::<prop::sample::Index>(), bytes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20)) {
        let captures = captures();
        let mut document = which.get(&captures).document.clone();
        for (at, byte) in &bytes {
            let at = at.index(document.len());
            document[at] = *byte;
        }
        check(&document);
        document.truncate(cut.index(document.len()));
        check(&document);
    }

    #[test]
    fn no_mixture_of_two_machines_is_believed_without_evidence(first in any::<prop::sample::Index>(), second in any::<prop::sample::Index>(), sections in any::<u8>()) {
        let captures = captures();
        let (mut document, other) = (first.get(&captures).json(), second.get(&captures).json());
        for (bit, section) in ["os", "arch", "kernel", "env", "commands", "files", "links", "open"].iter().enumerate() {
            if sections >> bit & 1 == 1 {
                document[*section] = other[*section].clone();
            }
        }
        check(document.to_string().as_bytes());
    }

    #[test]
    fn no_made_up_machine_is_believed_without_evidence(
        smi in prop::option::of((noise(), -1i32..256)),
        old in prop::option::of(noise()),
        rocm in prop::option::of(noise()),
        listings in prop::collection::vec(prop::option::of(noise()), 2),
        files in prop::collection::vec(noise(), 5),
        variables in prop::collection::vec(prop::option::of(noise()), 3),
        open in prop::sample::select(vec!["ok", "EACCES", "ENOENT", "?"]),
        arch in prop::sample::select(vec!["x86_64", "aarch64", ""]),
    ) {
        let mut machine = Machine::new().is("arch", arch).opens(open);
        if let Some((stdout, exit)) = &smi {
            machine = machine.smi(*exit, stdout);
        }
        if let Some(stdout) = &old {
            machine = machine.command(&["nvidia-smi", OLD_SMI, CSV], 0, stdout);
        }
        if let Some(stdout) = &rocm {
            machine = machine.command(amd::COMMANDS[0], 0, stdout);
        }
        for (argv, listing) in pci::COMMANDS.iter().zip(&listings) {
            if let Some(listing) = listing {
                machine = machine.command(argv, 0, listing);
            }
        }
        let names = ["/sys/bus/pci/devices/x/class", "/sys/bus/pci/devices/x/vendor", "/sys/bus/pci/devices/x/device", "/proc/driver/nvidia/version"];
        for (name, text) in names.iter().zip(&files) {
            machine = machine.set("files", name, text.as_str());
        }
        for (name, value) in ["HSA_OVERRIDE_GFX_VERSION", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"].iter().zip(&variables) {
            if let Some(value) = value {
                machine = machine.set("env", name, value.as_str());
            }
        }
        check(machine.kfd(1, &files[4]).0.to_string().as_bytes());
    }
}

#[test]
fn machines_of_any_size_are_decided_in_bounded_time() {
    let rows = RTX4090.repeat(20_000);
    let mut listing = String::new();
    for at in 0..20_000 {
        let (domain, bus) = (at / 256, at % 256);
        writeln!(
            listing,
            "{domain:04x}:{bus:02x}:00.0 VGA [0300]: NVIDIA [10de:2684] (rev a1)"
        )
        .expect("text");
    }
    let mut machine = Machine::new()
        .smi(0, &rows)
        .command(pci::COMMANDS[1], 0, &listing)
        .opens("ok");
    for node in 0..3000 {
        machine = machine.kfd(node, &gpu_node(110_000, 0x744c));
    }
    let cards: Vec<String> = (0..5000)
        .map(|at| format!("\"card{at}\": {{\"GFX Version\": \"gfx1100\"}}"))
        .collect();
    let machine = machine.command(amd::COMMANDS[0], 0, &format!("{{{}}}", cards.join(",")));
    assert_eq!(answer(&machine.decide(&auto())), "cu118 nvidia_usable");
    let braces = Machine::new()
        .command(amd::COMMANDS[0], 0, &"{".repeat(1_000_000))
        .opens("ok");
    assert_eq!(answer(&braces.decide(&auto())), "cpu no_gpu");
}
