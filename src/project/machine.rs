//! What the detector says of an environment on this machine: the diagnosis before anything is fetched, and the
//! variables that programs should run with.
//!
//! ```text
//! .flambeau/gpu/<channel>.env   what the detector suggested for a channel when it was last asked
//! .flambeau/gpu.env             that of the active channel; the activate scripts read it
//! ```
//!
//! A file is `host=<name>` and then a `NAME=value` a line. The name keeps a project on a shared disk from taking one
//! machine's mask to another; where it is not this machine's, there are no variables, which is what there was before.
//! Environments are immutable and the same on every machine, so none of this may be in them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::Project;
use super::plan::{Plan, PlanError};
use super::realise::RealiseError;
use crate::backend::{Backend, Channel, Preference};
use crate::fsx::{self, PathError};
use crate::gpu::{self, Decision, Host};
use crate::pep::Version;

/// The variables that may stand in a file; anything else in it is ignored.
const NAMES: [&str; 3] = ["CUDA_DEVICE_ORDER", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"];

impl Project<'_> {
    /// Asks the detector about a plan whose channel was chosen without it, before a byte is fetched: what it finds is
    /// added to the plan's warnings. Nothing is asked about an environment that is there already, unless `always`.
    pub fn diagnose(&self, plan: &mut Plan, host: &dyn Host, always: bool) -> Result<(), RealiseError> {
        let looked = |decision: &Decision| !decision.probes.is_empty();
        let backend = plan.locked.backend;
        if plan.chosen.decision.as_ref().is_some_and(looked)
            || (backend == Backend::Cpu && !always)
            || (!always && self.find_environment(plan)?.is_some())
        {
            return Ok(());
        }
        let mut wanted = self.gpu_wanted();
        wanted.preference = Preference::Backend(backend);
        wanted.channel = Some((plan.chosen.channel.clone(), Some(backend)));
        wanted.torch = torch_of(plan)?;
        let decision = gpu::decide(&wanted, host, true);
        // The package index has one torch for every machine; only a GPU that it cannot use is worth a word.
        let hardware = !decision.accelerators.is_empty();
        if backend != Backend::Cpu && (hardware || !plan.chosen.channel.is_pip()) {
            plan.warnings.extend(decision.warnings.iter().cloned());
        }
        plan.chosen.decision = Some(decision);
        Ok(())
    }

    /// Keeps the variables that a decision suggests for its channel. A decision without a look at the machine knows
    /// nothing of it.
    pub(super) fn remember_gpu_env(&self, channel: &Channel, decision: &Decision) -> Result<(), PathError> {
        if decision.probes.is_empty() {
            return Ok(());
        }
        let path = self.gpu_file(channel);
        if decision.env.is_empty() {
            return remove(&path);
        }
        let lines = decision.env.iter().filter(|(name, _)| NAMES.contains(&name.as_str()));
        let text: String = std::iter::once(format!("host={}\n", host_name()))
            .chain(lines.map(|(name, value)| format!("{name}={value}\n")))
            .collect();
        write(&path, &text)
    }

    /// Makes the variables of `channel` those of the active environment.
    pub(super) fn settle_gpu_env(&self, channel: &Channel) -> Result<(), PathError> {
        let active = self.gpu_folder().join("gpu.env");
        match fsx::read_if_exists(&self.gpu_file(channel))? {
            Some(text) => write(&active, &String::from_utf8_lossy(&text)),
            None => remove(&active),
        }
    }

    /// The variables that programs in the active environment should run with on this machine.
    #[must_use]
    pub fn gpu_env(&self) -> BTreeMap<String, String> {
        let file = std::fs::read_to_string(self.gpu_folder().join("gpu.env")).unwrap_or_default();
        let mut lines = file.lines().filter_map(|line| line.split_once('='));
        if lines.next() != Some(("host", &host_name())) {
            return BTreeMap::new();
        }
        lines
            .filter(|(name, _)| NAMES.contains(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    fn gpu_folder(&self) -> PathBuf {
        self.profile().folder()
    }

    fn gpu_file(&self, channel: &Channel) -> PathBuf {
        self.gpu_folder().join("gpu").join(format!("{channel}.env"))
    }
}

/// The torch that a plan installs.
fn torch_of(plan: &Plan) -> Result<Option<Version>, PlanError> {
    let selected = plan.selected()?;
    let torch = selected
        .iter()
        .find(|selected| selected.package.name.as_str() == "torch");
    Ok(torch.map(|selected| selected.package.version.clone()))
}

/// This machine's name, as `uname -n` has it: what the scripts compare with.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn remove(path: &Path) -> Result<(), PathError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(PathError {
            action: "remove",
            path: path.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), PathError> {
    if fsx::read_if_exists(path)?.as_deref() == Some(text.as_bytes()) {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fsx::create_dir_all(folder)?;
    }
    fsx::write_atomic(path, text.as_bytes())
}
