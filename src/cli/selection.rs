//! Which lockfiles and targets a verb works for: `fetch` and `export`, from whatever machine.

use clap::Args;
use url::Url;

use super::Context;
use super::options::{ChoiceArgs, parse_backend};
use crate::backend::{Channel, Preference};
use crate::error::{Failure, Kind};
use crate::gpu::LiveHost;
use crate::project::lockfiles::ReadLockfile;
use crate::project::plan::PlanOptions;
use crate::target::{Platform, PythonMinor, Target};

/// Lockfiles with the targets that are wanted of each.
pub(super) type Jobs = Vec<(ReadLockfile, Vec<Target>)>;

/// What is selected; without any flag, what a build on this machine would use.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct SelectionArgs {
    /// Every target of every lockfile, as far as the other flags leave them
    #[arg(long)]
    pub(super) all: bool,
    /// Backends, separated by commas: auto, cuda, rocm, cpu
    #[arg(long, value_name = "BACKEND", value_delimiter = ',', value_parser = parse_backend)]
    backend: Vec<Preference>,
    /// Channels, separated by commas, e.g. cu118, cu126, rocm6.3, cpu, pip
    #[arg(long, value_name = "CHANNEL", value_delimiter = ',')]
    channel: Vec<Channel>,
    /// Pythons, separated by commas (3.11,3.12), or the path of an interpreter [default: what a build would use here]
    #[arg(long, value_name = "PYTHON", value_delimiter = ',')]
    python: Vec<String>,
    /// Platforms, separated by commas, e.g. linux_x86_64 [default: this machine's]
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',')]
    platform: Vec<Platform>,
    /// Targets in place of Pythons and platforms, e.g. cp311-manylinux_2_28_x86_64
    #[arg(long, value_name = "TARGET", value_delimiter = ',', conflicts_with_all = ["all", "platform"])]
    pub(super) target: Vec<Target>,
    /// The package index to use in place of the one that pip uses
    #[arg(long, value_name = "URL")]
    index_url: Option<Url>,
}

impl SelectionArgs {
    /// The part of it that configures this machine's choice: what names only one thing.
    pub(super) fn choice(&self) -> ChoiceArgs {
        let single = |many: bool| !many && !self.all;
        ChoiceArgs {
            backend: self.backend.first().copied().filter(|_| single(self.backend.len() > 1)),
            channel: self.channel.first().cloned().filter(|_| single(self.channel.len() > 1)),
            python: self.request().filter(|_| !self.all),
            index_url: self.index_url.clone(),
            link_mode: None,
        }
    }

    /// The Pythons, where they are several minor versions.
    fn minors(&self) -> Option<Vec<PythonMinor>> {
        self.python.iter().map(|text| text.trim().parse().ok()).collect()
    }

    /// The one Python that is asked for; a range (`>=3.10,<3.13`) has commas too.
    fn request(&self) -> Option<String> {
        match self.python.len() {
            0 => None,
            1 => self.python.first().cloned(),
            _ if self.minors().is_some() => None,
            _ => Some(self.python.join(",")),
        }
    }

    /// Whether it names anything but one backend, channel and Python of this machine.
    fn is_wide(&self) -> bool {
        !self.platform.is_empty()
            || !self.target.is_empty()
            || self.backend.len() > 1
            || self.channel.len() > 1
            || (self.python.len() > 1 && self.minors().is_some())
    }

    /// Reads the lockfiles, or makes them in memory where that is needed, and selects their targets. Writes nothing.
    pub(super) fn jobs(&self, context: &Context<'_>) -> Result<Jobs, Failure> {
        if self.all {
            return self.every(context);
        }
        if !self.is_wide() {
            let plan = super::build::plan(context, false)?;
            return Ok(vec![(plan.lockfile, vec![plan.locked.target])]);
        }
        let project = context.project();
        let named = !self.backend.is_empty() || !self.channel.is_empty();
        let channels = if named {
            super::lock::channels(&self.backend, &self.channel, context)?
        } else {
            vec![project.choose(&LiveHost::new(context.vars.clone()))?.channel]
        };
        let mut jobs = Vec::new();
        for channel in channels {
            let (read, warnings) = project.wanted_lockfile(&channel, PlanOptions::default())?;
            for warning in &warnings {
                context.ui.warning(warning);
            }
            context.warn_of(&read);
            let targets = self.targets(&read, context)?;
            jobs.push((read, targets));
        }
        Ok(jobs)
    }

    /// Every target of every lockfile that the flags leave.
    fn every(&self, context: &Context<'_>) -> Result<Jobs, Failure> {
        let project = context.project();
        let named = !self.backend.is_empty() || !self.channel.is_empty();
        let channels = if named {
            super::lock::channels(&self.backend, &self.channel, context)?
        } else {
            Vec::new()
        };
        let pythons = self.named_pythons()?;
        let keeps = |target: &Target| {
            (pythons.is_empty() || pythons.contains(&target.python))
                && (self.platform.is_empty() || self.platform.contains(&target.platform))
        };
        let mut jobs = Vec::new();
        for (_, read) in project.all_lockfiles()? {
            if named && !channels.contains(&read.lockfile.channel) {
                continue;
            }
            context.warn_of(&read);
            let targets = read.lockfile.targets.iter().map(|locked| locked.target);
            let targets: Vec<Target> = targets.filter(keeps).collect();
            if !targets.is_empty() {
                jobs.push((read, targets));
            }
        }
        if jobs.is_empty() {
            let message = format!("no lockfile in {} has such a target", project.lockfiles_dir().display());
            return Err(Failure::user(message)
                .hint("`flambeau lock` writes lockfiles; `flambeau hash --all` lists their targets"));
        }
        Ok(jobs)
    }

    fn named_pythons(&self) -> Result<Vec<PythonMinor>, Failure> {
        self.minors().ok_or_else(|| {
            let message = "for other machines, --python takes minor versions, separated by commas";
            Failure::new(Kind::Usage, message).hint("e.g. --python 3.11,3.12")
        })
    }

    /// Every named Python on every named platform; what is not named is this machine's.
    fn targets(&self, read: &ReadLockfile, context: &Context<'_>) -> Result<Vec<Target>, Failure> {
        if !self.target.is_empty() {
            return Ok(self.target.clone());
        }
        let project = context.project();
        let mut pythons = self.named_pythons()?;
        let mut platforms = self.platform.clone();
        if pythons.is_empty() || platforms.is_empty() {
            match project.locked_for_this_machine(read) {
                Ok(here) => {
                    if pythons.is_empty() {
                        pythons.push(here.target.python);
                    }
                    if platforms.is_empty() {
                        platforms.push(here.target.platform);
                    }
                }
                // No Python of this machine is one of the lockfile's: then all of them are meant.
                Err(_) if !platforms.is_empty() => {
                    let locked = read.lockfile.targets.iter().map(|locked| locked.target);
                    let fits = |target: &Target| platforms.contains(&target.platform);
                    pythons.extend(locked.filter(fits).map(|target| target.python));
                    pythons.sort();
                    pythons.dedup();
                }
                Err(error) => return Err(error.into()),
            }
        }
        let pair = |platform: &Platform, python: &PythonMinor| Target {
            python: *python,
            platform: *platform,
        };
        let pairs = platforms
            .iter()
            .flat_map(|platform| pythons.iter().map(move |python| pair(platform, python)));
        Ok(pairs.collect())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        selection: SelectionArgs,
    }

    fn parse(words: &[&str]) -> SelectionArgs {
        let words = ["x"].iter().chain(words);
        Line::try_parse_from(words).expect("a command line").selection
    }

    #[test]
    fn one_of_each_is_this_machines_choice_and_several_are_others() {
        let one = parse(&["--backend", "cuda", "--python", "3.11.7"]);
        assert!(!one.is_wide());
        let choice = one.choice();
        assert_eq!(
            (choice.backend.is_some(), choice.python.as_deref()),
            (true, Some("3.11.7"))
        );
        let range = parse(&["--python", ">=3.10,<3.13"]);
        assert!(!range.is_wide());
        assert_eq!(range.choice().python.as_deref(), Some(">=3.10,<3.13"));
        let wide = parse(&[
            "--backend",
            "cuda,rocm",
            "--python",
            "3.11,3.12",
            "--platform",
            "linux_x86_64",
        ]);
        assert!(wide.is_wide());
        assert!(wide.choice().backend.is_none() && wide.choice().python.is_none());
        assert_eq!(wide.named_pythons().expect("minor versions").len(), 2);
        assert!(parse(&["--platform", "linux_x86_64"]).is_wide());
        assert!(
            parse(&["--python", "/usr/bin/python3", "--platform", "linux_x86_64"])
                .named_pythons()
                .is_err()
        );
    }
}
