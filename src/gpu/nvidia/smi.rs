//! `nvidia-smi`: the questions, the rows of its answers, and what it says when it fails.

use super::super::host::{CommandOutcome, Host};
use super::{ComputeCapability, DriverVersion, Probe, ProbeOutcome, Smi, SmiFailure, SmiRow};

const QUERY: &str = "--query-gpu=name,driver_version,compute_cap,memory.total";
/// Drivers before 510 do not know `compute_cap`.
const OLD_QUERY: &str = "--query-gpu=name,driver_version,memory.total";
const UUID_QUERY: &str = "--query-gpu=uuid";
const FORMAT: &str = "--format=csv,noheader";

/// Asks for the GPUs.
pub(super) fn ask(host: &dyn Host, probes: &mut Vec<Probe>) -> Smi {
    let (smi, unknown_field) = query(host, QUERY, true, probes);
    if unknown_field {
        query(host, OLD_QUERY, false, probes).0
    } else {
        smi
    }
}

/// One query; whether it was refused for a field that this driver does not know.
fn query(host: &dyn Host, fields: &str, with_compute: bool, probes: &mut Vec<Probe>) -> (Smi, bool) {
    let argv = ["nvidia-smi", fields, FORMAT];
    let mut record = |exit: Option<i32>, line: Option<&str>, outcome: ProbeOutcome| {
        probes.push(Probe {
            name: "nvidia-smi",
            command: Some(argv.join(" ")),
            file: None,
            exit,
            line: line.map(str::to_owned),
            outcome,
        });
    };
    match host.run(&argv) {
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
            let rows: Vec<_> = stdout.lines().filter_map(|line| row(line, with_compute)).collect();
            if let Some(first) = stdout.lines().find(|line| row(line, with_compute).is_some()) {
                record(Some(exit), Some(first.trim()), ProbeOutcome::Found);
                return (Smi::Rows(rows), false);
            }
            let said = format!("{stdout}\n{stderr}");
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
    let name = name.join(", ");
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
        ("NVIDIA-SMI has failed", SmiFailure::NotLoaded),
        ("Driver Not Loaded", SmiFailure::NotLoaded),
        ("couldn't find libnvidia-ml", SmiFailure::NoLibrary),
    ];
    let shorten = |line: &str| line.trim().chars().take(200).collect::<String>();
    for (words, failure) in WORDS {
        if let Some(line) = said.lines().find(|line| line.contains(words)) {
            return (*failure, shorten(line));
        }
    }
    let first = said.lines().find(|line| !line.trim().is_empty());
    let failure = match exit {
        6 => SmiFailure::NoDevices,
        9 => SmiFailure::NotLoaded,
        12 => SmiFailure::NoLibrary,
        15 => SmiFailure::Lost,
        18 => SmiFailure::Mismatch,
        _ => SmiFailure::Unknown,
    };
    (
        failure,
        first.map_or_else(|| format!("nothing, exit code {exit}"), shorten),
    )
}

/// The UUIDs of `count` GPUs, in the order of the rows.
pub(super) fn uuids(host: &dyn Host, count: usize) -> Vec<String> {
    let CommandOutcome::Finished { stdout, .. } = host.run(&["nvidia-smi", UUID_QUERY, FORMAT]) else {
        return Vec::new();
    };
    let found: Vec<_> = stdout
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("GPU-"))
        .map(str::to_owned)
        .collect();
    if found.len() == count { found } else { Vec::new() }
}
