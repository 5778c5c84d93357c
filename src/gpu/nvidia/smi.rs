//! `nvidia-smi`: the questions, the rows of its answers, and what it says when it fails.

use super::super::host::{CommandOutcome, Host, shown};
use super::{ComputeCapability, DriverVersion, Mig, Probe, ProbeOutcome, Smi, SmiFailure, SmiRow};

const QUERY: &str = "--query-gpu=name,driver_version,compute_cap,memory.total";
/// Drivers before 510 do not know `compute_cap`.
const OLD_QUERY: &str = "--query-gpu=name,driver_version,memory.total";
const FORMAT: &str = "--format=csv,noheader";

/// Every question that is asked.
pub(in crate::gpu) const COMMANDS: &[&[&str]] = &[
    &["nvidia-smi", QUERY, FORMAT],
    &["nvidia-smi", OLD_QUERY, FORMAT],
    &["nvidia-smi", "--query-gpu=mig.mode.current", FORMAT],
    &["nvidia-smi", "-L"],
];

/// More GPUs than any machine has: what is listed after them is not looked at.
const MOST: usize = 512;

/// Asks for the GPUs.
pub(super) fn ask(host: &dyn Host, probes: &mut Vec<Probe>) -> Smi {
    let (smi, unknown_field) = query(host, COMMANDS[0], true, probes);
    if !unknown_field {
        return smi;
    }
    match query(host, COMMANDS[1], false, probes).0 {
        // It was there a moment ago.
        Smi::NotFound => smi,
        answer => answer,
    }
}

/// One query; whether it was refused for a field that this driver does not know.
fn query(host: &dyn Host, argv: &[&str], with_compute: bool, probes: &mut Vec<Probe>) -> (Smi, bool) {
    let mut record = |exit: Option<i32>, line: Option<&str>, outcome: ProbeOutcome| {
        probes.push(Probe {
            name: "nvidia-smi",
            command: Some(argv.join(" ")),
            file: None,
            exit,
            line: line.map(shown),
            outcome,
        });
    };
    match host.run(argv) {
        CommandOutcome::NotFound => {
            record(None, None, ProbeOutcome::Absent);
            (Smi::NotFound, false)
        }
        CommandOutcome::TimedOut { abandoned } => {
            record(
                None,
                None,
                if abandoned {
                    ProbeOutcome::Unkillable
                } else {
                    ProbeOutcome::TimedOut
                },
            );
            (Smi::Hung { abandoned }, false)
        }
        CommandOutcome::Failed(why) => {
            record(None, Some(&why), ProbeOutcome::Failed);
            (
                Smi::Failed {
                    failure: SmiFailure::Unknown,
                    line: why,
                },
                false,
            )
        }
        CommandOutcome::Finished { exit, stdout, stderr } => {
            // A driver in trouble ends with an error and may still list the GPUs that work.
            let rows: Vec<_> = stdout
                .lines()
                .filter_map(|line| row(line, with_compute))
                .take(MOST)
                .collect();
            if let Some(first) = stdout.lines().find(|line| row(line, with_compute).is_some()) {
                record(Some(exit), Some(first.trim()), ProbeOutcome::Found);
                return (Smi::Rows(rows), false);
            }
            let said = format!("{stdout}\n{stderr}");
            // As shells report a missing program, in recordings that were made by one.
            if exit == 127 && said.contains("nvidia-smi: ") && said.contains("not found") {
                record(Some(exit), None, ProbeOutcome::Absent);
                return (Smi::NotFound, false);
            }
            let (failure, line) = failure(&said, exit);
            record(Some(exit), Some(&line), ProbeOutcome::Failed);
            (Smi::Failed { failure, line }, said.contains("is not a valid field"))
        }
    }
}

/// One row of the query; nothing where it is not one. Strict, because a row is the evidence of use.
pub(super) fn row(line: &str, with_compute: bool) -> Option<SmiRow> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    let tail = if with_compute { 3 } else { 2 };
    let (name, values) = fields.split_at_checked(fields.len().checked_sub(tail)?)?;
    let name = shown(&name.join(", "));
    let lost = values.iter().any(|value| {
        let value = value.to_ascii_lowercase();
        ["gpu is lost", "unknown error", "requires reset"]
            .iter()
            .any(|words| value.contains(words))
    });
    let unknown = |value: &str| value == "N/A" || (value.starts_with('[') && value.ends_with(']'));
    let driver = DriverVersion::parse(values[0]);
    let memory = values[tail - 1];
    let memory_mib = memory.strip_suffix(" MiB").and_then(|number| number.parse().ok());
    let compute = with_compute.then(|| ComputeCapability::parse(values[1])).flatten();
    let sound = (driver.is_some() || lost)
        && (memory_mib.is_some() || unknown(memory) || lost)
        && (!with_compute || compute.is_some() || unknown(values[1]) || lost);
    (!name.is_empty() && sound).then_some(SmiRow {
        name,
        driver,
        compute,
        memory_mib,
        lost,
    })
}

/// What a failed answer means, and the line that says it. Words vary over the years, so only their stable part counts;
/// exit codes are NVML's return values, where they are any.
pub(super) fn failure(said: &str, exit: i32) -> (SmiFailure, String) {
    const WORDS: &[(&str, SmiFailure)] = &[
        ("version mismatch", SmiFailure::Mismatch),
        ("No devices were found", SmiFailure::NoDevices),
        ("No supported GPUs were found", SmiFailure::NoSupported),
        ("Unable to determine the device handle", SmiFailure::Lost),
        ("GPU is lost", SmiFailure::Lost),
        ("requires reset", SmiFailure::Lost),
        ("NVIDIA-SMI has failed", SmiFailure::NotLoaded),
        ("Driver Not Loaded", SmiFailure::NotLoaded),
        ("couldn't find libnvidia-ml", SmiFailure::NoLibrary),
        ("Insufficient Permissions", SmiFailure::Denied),
    ];
    for (words, failure) in WORDS {
        if let Some(line) = said.lines().find(|line| line.contains(words)) {
            return (*failure, shown(line));
        }
    }
    let first = said.lines().find(|line| !line.trim().is_empty());
    let failure = match exit {
        4 => SmiFailure::Denied,
        6 => SmiFailure::NoDevices,
        9 => SmiFailure::NotLoaded,
        12 => SmiFailure::NoLibrary,
        15 => SmiFailure::Lost,
        18 => SmiFailure::Mismatch,
        _ => SmiFailure::Unknown,
    };
    (
        failure,
        first.map_or_else(|| format!("nothing, exit code {exit}"), shown),
    )
}

/// GPUs that can be cut up (NVIDIA's MIG user guide, "Supported GPUs").
const CAN_BE_CUT: &[&str] = &[
    "A30", "A100", "H100", "H200", "H20", "H800", "GH200", "B200", "B300", "GB200", "RTX PRO",
];

/// What MIG does, asked only of GPUs that have it. A driver that does not answer leaves the rest as it was.
pub(super) fn mig(host: &dyn Host, rows: &[SmiRow], probes: &mut Vec<Probe>) -> Mig {
    let can_be_cut = |row: &SmiRow| CAN_BE_CUT.iter().any(|name| row.name.contains(name));
    if !rows.iter().any(can_be_cut) {
        return Mig::Off;
    }
    let mut ask = |argv: &[&str]| {
        let CommandOutcome::Finished { exit, stdout, .. } = host.run(argv) else {
            return None;
        };
        probes.push(Probe {
            name: "nvidia-mig",
            command: Some(argv.join(" ")),
            file: None,
            exit: Some(exit),
            line: stdout.lines().next().map(shown),
            outcome: ProbeOutcome::Found,
        });
        Some(stdout)
    };
    let modes = ask(COMMANDS[2]).unwrap_or_default();
    let modes: Vec<_> = modes.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    if !modes.contains(&"Enabled") {
        return Mig::Off;
    }
    let Some(list) = ask(COMMANDS[3]) else { return Mig::Off };
    let listed = |start: &str| list.lines().any(|line| line.trim_start().starts_with(start));
    match (listed("MIG "), listed("GPU ")) {
        (true, _) => Mig::Instances,
        (false, true) if modes.iter().all(|mode| *mode == "Enabled") => Mig::Empty,
        (false, _) => Mig::Off,
    }
}
