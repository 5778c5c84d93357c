//! What holds for a lockfile: its requirements and how versions are chosen, from flags, the project and the existing
//! file, in this order.
//!
//! What was given as a flag once holds until something else is given: the lockfile remembers it, so that a later
//! `build` or `lock` without flags means the same.

use std::collections::BTreeSet;

use super::Project;
use super::lockfiles::LockfileError;
use super::relock::{LockRequest, RelockError};
use crate::config::{Declared, ForeignDependencies};
use crate::lockfile::{Lockfile, Settings};

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// PEP 508 text.
    pub requirements: Vec<String>,
    /// How versions are chosen; what only a resolution tells is not set.
    pub settings: Settings,
}

impl Held {
    /// The requirements for messages: without logins.
    pub(super) fn shown(&self) -> Vec<String> {
        self.requirements
            .iter()
            .map(|text| crate::requirement::shown(text))
            .collect()
    }
}

impl Project<'_> {
    /// Refuses a lockfile that another tool wrote: it pins what the default requirements would replace.
    fn check_made_here(&self, existing: Option<&Lockfile>) -> Result<(), LockfileError> {
        match existing.filter(|existing| existing.targets.is_empty() && !existing.packages.is_empty()) {
            None => Ok(()),
            Some(existing) => Err(ForeignDependencies {
                path: self.lockfile_path(&existing.channel),
                declared: Declared::Lockfile,
            }
            .into()),
        }
    }

    /// What holds for a lockfile.
    pub fn held(&self, existing: Option<&Lockfile>, request: &LockRequest) -> Result<Held, RelockError> {
        let config = self.config;
        let before = existing.map(|existing| existing.settings.clone()).unwrap_or_default();
        let mut settings = Settings {
            constraints: before.constraints,
            overrides: before.overrides,
            versions: request.versions.or(config.versions).unwrap_or(before.versions),
            pre_releases: request
                .pre_releases
                .or(config.pre_releases)
                .unwrap_or(before.pre_releases),
            exclude_newer: request
                .exclude_newer
                .unwrap_or_else(|| config.exclude_newer.or(before.exclude_newer)),
            ..Settings::default()
        };
        // A project without words on what it needs takes the lockfile's.
        if config.requirements.is_some() || !config.constraints.is_empty() {
            settings.constraints.clone_from(&config.constraints);
        }
        if config.requirements.is_some() || !config.overrides.is_empty() {
            settings.overrides.clone_from(&config.overrides);
        }
        let named = self.named_requirements(existing, &request.requirements);
        if let Some((extras, groups)) = &request.lists {
            (settings.extras, settings.groups) = (extras.clone(), groups.clone());
        } else {
            (settings.extras, settings.groups) = (before.extras, before.groups);
            if let (true, None, Some(requirements)) = (config.lists.is_empty(), &config.requirements, &named) {
                let requirements = requirements.clone();
                return Ok(Held { requirements, settings });
            }
            // What the project does not have any more does not hold any more.
            settings.extras.retain(|extra| config.lists.has_extra(extra));
            settings.groups.retain(|group| config.lists.has_group(group));
        }
        let mut requirements = match named {
            Some(named) => named,
            // A list that is asked for names requirements too.
            None if !(settings.extras.is_empty() && settings.groups.is_empty()) => Vec::new(),
            None => {
                self.check_made_here(existing)?;
                self.default_requirements()?
            }
        };
        let mut seen: BTreeSet<String> = requirements.iter().cloned().collect();
        let extras = settings.extras.iter().map(|extra| config.lists.extra(extra));
        let groups = settings.groups.iter().map(|group| config.lists.group(group));
        for list in extras.chain(groups) {
            requirements.extend(list?.into_iter().filter(|text| seen.insert(text.clone())));
        }
        Ok(Held { requirements, settings })
    }
}
