//! Which channel is wanted, and why.
//!
//! Strongest first: `--channel`, `--backend`; then an explicit choice that the active generation records, for as long
//! as the configuration asks for what it asked for then; then the configured channel, the configured backend, and
//! last the machine itself.

use std::collections::BTreeSet;

use super::Project;
use super::lockfiles::requirement;
use crate::backend::{Backend, Channel, Preference};
use crate::config::Origin;
use crate::gpu::{self, Channels, Decision, Host};
use crate::pep::{Operator, Requirement, Version, VersionOrUrl};
use crate::profile::{Cause, Choice, ProfileError};

/// The chosen channel.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// The channel.
    pub channel: Channel,
    /// What to record of the choice.
    pub choice: Choice,
    /// Whether a flag or the configuration decided.
    pub cause: Cause,
    /// What the detector said, where it was asked.
    pub decision: Option<Decision>,
}

impl Project<'_> {
    /// What the configuration (flags aside) asks for, as text to compare with later.
    #[must_use]
    pub fn configured(&self) -> String {
        let mut parts = vec![format!("backend {}", self.config.configured_backend.value.as_str())];
        if let Some(channel) = &self.config.configured_channel {
            parts.push(format!("channel {}", channel.value));
        }
        for backend in Backend::ALL {
            let channels = self.config.channels(backend);
            if channels != [backend.default_channel()] {
                let channels: Vec<&str> = channels.iter().map(Channel::as_str).collect();
                parts.push(format!("{backend} from {}", channels.join(" or ")));
            }
        }
        parts.join(", ")
    }

    /// The channels of every backend, and which of them have no lockfile.
    fn channels(&self) -> Channels {
        let [cuda, rocm, cpu] = Backend::ALL.map(|backend| self.config.channels(backend));
        let all: Vec<&Channel> = cuda.iter().chain(&rocm).chain(&cpu).collect();
        let has_lockfile = |channel: &Channel| self.lockfile_path(channel).is_file();
        let any = all.iter().any(|channel| has_lockfile(channel));
        let unlocked: BTreeSet<Channel> = all
            .iter()
            .filter(|channel| any && !has_lockfile(channel))
            .map(|channel| (*channel).clone())
            .collect();
        Channels {
            cuda,
            rocm,
            cpu,
            unlocked,
        }
    }

    /// What the detector has to decide, from configuration and flags.
    #[must_use]
    pub fn gpu_wanted(&self) -> gpu::Wanted {
        gpu::Wanted {
            preference: self.config.backend.value,
            channel: self
                .config
                .channel
                .as_ref()
                .map(|channel| (channel.value.clone(), self.config.channel_backend(&channel.value))),
            channels: self.channels(),
            torch: self.pinned_torch(),
        }
    }

    /// The torch that the requirements pin, be it the default one.
    fn pinned_torch(&self) -> Option<Version> {
        let named = self.named_requirements(None, &[]);
        let requirements = named.or_else(|| self.default_requirements().ok())?;
        let torch = requirements
            .iter()
            .filter_map(|text| requirement(text).ok())
            .find(|requirement| requirement.name.as_str() == "torch")?;
        exact(&torch)
    }

    /// Chooses the channel; `host` is probed only where nothing else decides.
    pub fn choose(&self, host: &dyn Host) -> Result<Chosen, ProfileError> {
        let config = self.config;
        let configured = self.configured();
        let is_flag = |origin: &Origin| matches!(origin, Origin::Flag(_));
        let flagged = config.channel.as_ref().is_some_and(|channel| is_flag(&channel.origin))
            || (is_flag(&config.backend.origin) && config.backend.value != Preference::Auto);
        if !flagged && !is_flag(&config.backend.origin) {
            let current = self.profile().current()?;
            let kept = current.filter(|current| current.choice.configured == configured);
            if let Some(channel) = kept.and_then(|current| current.choice.explicit) {
                let choice = Choice {
                    explicit: Some(channel.clone()),
                    configured,
                    held: None,
                };
                return Ok(Chosen {
                    channel,
                    choice,
                    cause: Cause::Flag,
                    decision: None,
                });
            }
        }
        if let Some(channel) = config.channel.as_ref().map(|channel| channel.value.clone()) {
            let explicit = flagged.then(|| channel.clone());
            let cause = if flagged { Cause::Flag } else { Cause::Configuration };
            return Ok(Chosen {
                channel,
                choice: Choice {
                    explicit,
                    configured,
                    held: None,
                },
                cause,
                decision: None,
            });
        }
        let decision = gpu::decide(&self.gpu_wanted(), host, false);
        let channel = decision.channel.clone();
        let explicit = flagged.then(|| channel.clone());
        let cause = if flagged { Cause::Flag } else { Cause::Configuration };
        Ok(Chosen {
            channel,
            choice: Choice {
                explicit,
                configured,
                held: None,
            },
            cause,
            decision: Some(decision),
        })
    }
}

/// The version that a requirement pins exactly.
fn exact(requirement: &Requirement) -> Option<Version> {
    let Some(VersionOrUrl::VersionSpecifier(specifiers)) = &requirement.version_or_url else {
        return None;
    };
    specifiers
        .iter()
        .find(|one| matches!(one.operator(), Operator::Equal | Operator::ExactEqual))
        .map(|one| one.version().clone())
}
