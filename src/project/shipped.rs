//! The lockfiles that come with flambeau: the seed's pins for the three default channels and for `pip`.
//!
//! They are those of the repository's `lockfiles/` folder, so a `build` in an empty folder needs no resolution and
//! gives the same keys everywhere. A project gets its own copy, which it may change as it likes.
//! Refuses: to stand in where an index is replaced (a mirror, another package index, find-links, a private index for a
//! name of it): what that one offers may differ, so it is asked.

use super::Project;
use super::lockfiles::{ReadLockfile, from_bytes};
use super::plan::PlanError;
use super::relock::RelockError;
use crate::backend::{Channel, is_family};
use crate::lockfile::{LockedPackage, Lockfile};

/// `<name>` of `lockfiles/pylock.<name>.toml`, and the file's text.
const SHIPPED: [(&str, &str); 4] = [
    ("cpu", include_str!("../../lockfiles/pylock.cpu.toml")),
    ("cuda", include_str!("../../lockfiles/pylock.cuda.toml")),
    ("pip", include_str!("../../lockfiles/pylock.pip.toml")),
    ("rocm", include_str!("../../lockfiles/pylock.rocm.toml")),
];

impl Project<'_> {
    /// The shipped lockfile of a channel, where it is what this project wants. Asked only where the project has none of
    /// its own, so it may look at pip's configuration and ask an interpreter.
    pub(super) fn shipped(&self, channel: &Channel) -> Result<Option<ReadLockfile>, PlanError> {
        if self.config.channel_index(channel) != channel.canonical_index() {
            return Ok(None);
        }
        let name = channel.lockfile_name();
        let Some((_, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) else {
            return Ok(None);
        };
        if self.config.requirements.is_none() {
            self.default_requirements().map_err(RelockError::from)?;
        }
        let path = self.lockfile_path(channel);
        let read = from_bytes(path, text.as_bytes().to_vec(), channel).map_err(RelockError::from)?;
        if self.claims_any(&read.lockfile) || !self.staleness(channel, &read)?.is_empty() {
            return Ok(None);
        }
        let interpreter = self.finder().find(self.request(), &|_| true).ok();
        let replaced = self.replaces_package_index(interpreter.as_ref());
        let shipped = ReadLockfile { unsaved: true, ..read };
        Ok((!replaced.map_err(RelockError::from)?).then_some(shipped))
    }

    /// Whether a private index claims a package that the lockfile has from the package index.
    fn claims_any(&self, lockfile: &Lockfile) -> bool {
        let mut patterns = self.config.indexes.iter().flat_map(|index| &index.packages);
        let of_index = |package: &&LockedPackage| lockfile.channel.is_pip() || !is_family(&package.name);
        let packages: Vec<&LockedPackage> = lockfile.packages.iter().filter(of_index).collect();
        patterns.any(|pattern| packages.iter().any(|package| pattern.matches(&package.name)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockfile::text::parse;

    #[test]
    fn shipped_lockfiles_are_canonical_and_have_the_seed_s_pins() {
        for (name, text) in SHIPPED {
            let parsed = parse(text, &Channel::pip()).expect("a lockfile");
            assert!(parsed.warnings.is_empty(), "{name}");
            let lockfile = parsed.lockfile;
            assert_eq!(lockfile.channel.lockfile_name(), name);
            assert_eq!(lockfile.requirements, ["torch==2.7.0", "torchvision==0.22.0"], "{name}");
            assert_eq!(lockfile.to_text(), text, "{name}");
            for locked in &lockfile.targets {
                let selected = lockfile.select(&locked.target).expect("installable");
                let torch = selected
                    .iter()
                    .find(|selected| selected.package.name.as_str() == "torch")
                    .expect("torch");
                let public = crate::pep::public_version(&torch.package.version).to_string();
                assert_eq!(public, "2.7.0", "{name} {}", locked.target);
            }
        }
    }

    #[test]
    fn shipped_keys_are_those_of_keys_json() {
        let mut keys = crate::lockfile::keys::Keys::default();
        for (name, text) in SHIPPED {
            let path = std::path::PathBuf::from(format!("pylock.{name}.toml"));
            let read = crate::project::lockfiles::from_bytes(path, text.as_bytes().to_vec(), &Channel::pip());
            let read = read.expect("a lockfile");
            let (found, inputs) = crate::project::lockfiles::described(&read).expect("keys");
            keys.set(name, found);
            keys.describe(name, &inputs);
        }
        let pinned = include_str!("../../lockfiles/keys.json");
        assert!(
            keys.to_text() == pinned,
            "lockfiles/keys.json is not that of the lockfiles"
        );
    }
}
