//! The lockfiles that come with flambeau: the seed's pins for the three default channels and for `pip`.
//!
//! They are those of the repository's `lockfiles/` folder, so a `build` in an empty folder needs no resolution and
//! gives the same keys everywhere. A project gets its own copy, which it may change as it likes.
//! Refuses: to stand in where an index is replaced (a mirror, another package index): what that one offers may differ,
//! so it is asked.

use super::Project;
use super::lockfiles::{LockfileError, ReadLockfile};
use crate::backend::Channel;

/// `<name>` of `lockfiles/pylock.<name>.toml`, and the file's text.
const SHIPPED: [(&str, &str); 4] = [
    ("cpu", include_str!("../../lockfiles/pylock.cpu.toml")),
    ("cuda", include_str!("../../lockfiles/pylock.cuda.toml")),
    ("pip", include_str!("../../lockfiles/pylock.pip.toml")),
    ("rocm", include_str!("../../lockfiles/pylock.rocm.toml")),
];

/// Variables that replace an index.
const REPLACING: [&str; 3] = ["FLAMBEAU_PYTORCH_MIRROR", "UV_DEFAULT_INDEX", "PIP_INDEX_URL"];

impl Project<'_> {
    /// The shipped lockfile of a channel, where it is what this project wants.
    pub(super) fn shipped_text(&self, channel: &Channel) -> Option<&'static str> {
        let config = self.config;
        let replaced = config.index_url.is_some()
            || config.replaced_channel_index(channel).is_some()
            || REPLACING.iter().any(|name| self.vars.os(name).is_some());
        if replaced {
            return None;
        }
        let name = channel.lockfile_name();
        SHIPPED
            .iter()
            .find(|(shipped, _)| *shipped == name)
            .map(|(_, text)| *text)
    }

    /// Reads a shipped text as if it were to be written into this project.
    pub(super) fn read_shipped(&self, channel: &Channel, text: &str) -> Result<ReadLockfile, LockfileError> {
        let read = super::lockfiles::from_bytes(self.lockfile_path(channel), text.as_bytes().to_vec(), channel)?;
        Ok(ReadLockfile { unsaved: true, ..read })
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
