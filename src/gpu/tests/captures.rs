//! Every recorded output is part of a machine, and every machine is decided right.

use std::collections::BTreeSet;

use super::*;

/// One row of `captures/EXPECTED.tsv`.
pub(super) struct Capture {
    pub(super) name: String,
    pub(super) backend: String,
    /// `<channel> <reason>`.
    pub(super) answer: String,
    pub(super) about: String,
    pub(super) document: Vec<u8>,
}

impl Capture {
    pub(super) fn host(&self) -> ReplayHost {
        ReplayHost::parse(&self.document).unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.document).expect("JSON")
    }
}

/// All captures, in the order of the table.
pub(super) fn captures() -> Vec<Capture> {
    let folder = fixtures().join("captures");
    let table = std::fs::read_to_string(folder.join("EXPECTED.tsv")).expect("a table");
    table
        .lines()
        .skip(1)
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            let [name, backend, channel, reason, about] = fields[..] else {
                panic!("{line}")
            };
            Capture {
                name: name.to_owned(),
                backend: backend.to_owned(),
                answer: format!("{channel} {reason}"),
                about: about.to_owned(),
                document: std::fs::read(folder.join(format!("{name}.json"))).expect("a capture"),
            }
        })
        .collect()
}

#[test]
fn every_capture_is_decided_right() {
    let captures = captures();
    assert!(captures.len() >= 75, "{}", captures.len());
    for capture in &captures {
        let decision = decide(&auto(), &capture.host(), true);
        let name = &capture.name;
        assert_eq!(answer(&decision), capture.answer, "{name}: {decision:#?}");
        assert_eq!(decision.backend.as_str(), capture.backend, "{name}");
        assert!(!decision.message.is_empty(), "{name}");
        assert!(!decision.would_change.iter().any(String::is_empty), "{name}");
        assert!(!decision.would_change.is_empty(), "{name}: {decision:#?}");
        // A GPU that is used is listed as usable, and the other way round.
        let usable = decision.accelerators.iter().any(|it| it.usable);
        assert_eq!(
            (decision.uses_gpu(), decision.gpu_usable),
            (usable, usable),
            "{name}: {decision:#?}"
        );
        // Hardware that is not used is never passed over in silence: the sentence has what to do.
        if decision.fell_back() {
            assert!(decision.message.contains(';'), "{name}: {}", decision.message);
        }
    }
    let reasons: BTreeSet<&str> = captures.iter().filter_map(|it| it.answer.split(' ').nth(1)).collect();
    let missing: Vec<_> = Reason::ALL
        .iter()
        .map(|reason| reason.as_str())
        .filter(|reason| !reasons.contains(reason))
        .collect();
    assert_eq!(missing, ["forced"], "every reason has a machine");
}

#[test]
fn every_recorded_output_is_part_of_a_machine() {
    let mut used: BTreeSet<String> = BTreeSet::new();
    for capture in captures() {
        let json = capture.json();
        let names = json["fixtures"].as_array().expect("a list");
        let names: Vec<String> = names
            .iter()
            .map(|name| name.as_str().expect("a name").to_owned())
            .collect();
        let mut texts: Vec<&str> = json["files"]
            .as_object()
            .expect("files")
            .values()
            .filter_map(Value::as_str)
            .collect();
        for command in json["commands"].as_array().expect("commands") {
            texts.extend(
                [&command["stdout"], &command["stderr"]]
                    .into_iter()
                    .filter_map(Value::as_str),
            );
        }
        for name in &names {
            // Tables of ids became files of sysfs; everything else is there as it was recorded.
            let verbatim = texts.contains(&fixture(name).as_str());
            assert!(verbatim || name.starts_with("sysfs-pci_"), "{}: {name}", capture.name);
        }
        used.extend(names);
    }
    let entries = std::fs::read_dir(fixtures()).expect("a folder");
    let recorded = entries.filter_map(|entry| {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        Some(name.strip_suffix(".source")?.to_owned())
    });
    let recorded: BTreeSet<String> = recorded.collect();
    assert!(recorded.len() >= 98, "{}", recorded.len());
    assert_eq!(recorded, used);
}

#[test]
fn further_questions_never_change_the_answer() {
    for capture in captures() {
        let mut json = capture.json();
        let commands = json["commands"].as_array_mut().expect("a list");
        let literal: Vec<&&[&str]> = nvidia::COMMANDS[..2]
            .iter()
            .chain(amd::COMMANDS)
            .chain(pci::COMMANDS)
            .collect();
        commands.retain(|command| literal.iter().any(|argv| command["argv"] == json!(argv)));
        let host = ReplayHost::parse(json.to_string().as_bytes()).expect("a capture");
        // With the question about MIG the one machine that has nothing but MIG's absence looks like any A100.
        let expected = if capture.name == "nv-mig-empty" {
            "cu118 nvidia_usable"
        } else {
            &capture.answer
        };
        assert_eq!(answer(&decide(&auto(), &host, true)), expected, "{}", capture.name);
    }
}

#[test]
fn a_recording_of_a_capture_decides_as_the_capture_does() {
    for capture in captures() {
        let host = capture.host();
        let recorder = Recorder::new(&host, ["someone".to_owned()]);
        let first = decide(&auto(), &recorder, true);
        recorder.complete();
        let again = ReplayHost::parse(recorder.document().to_string().as_bytes()).expect("a recording");
        assert_eq!(decide(&auto(), &again, true), first, "{}", capture.name);
        assert_eq!(answer(&first), capture.answer, "{}", capture.name);
        // And a recording of a recording is the same document.
        let twice = Recorder::new(&again, []);
        assert_eq!(decide(&auto(), &twice, true), first, "{}", capture.name);
        twice.complete();
        assert_eq!(twice.document(), recorder.document(), "{}", capture.name);
    }
}
