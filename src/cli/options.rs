//! Flags that several verbs share.

use std::path::PathBuf;

use clap::Args;
use url::Url;

use crate::backend::{Channel, Preference};
use crate::config::LinkMode;
use crate::pep::{ExtraName, GroupName};
use crate::project::from::FromFile;

/// What a verb chooses for itself.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct ChoiceArgs {
    /// auto, cuda, rocm or cpu
    #[arg(long, value_name = "BACKEND", value_parser = parse_backend)]
    pub backend: Option<Preference>,
    /// The PyTorch wheel index, e.g. cu118, cu126, rocm6.3, cpu; `pip` takes torch from the package index
    #[arg(long, value_name = "CHANNEL")]
    pub channel: Option<Channel>,
    /// A Python version (3.11, 3.11.7) or the path of an interpreter
    #[arg(long, value_name = "PYTHON")]
    pub python: Option<String>,
    /// The package index to use in place of the one that pip uses
    #[arg(long, value_name = "URL")]
    pub index_url: Option<Url>,
    /// Place files as symlink, hardlink, reflink or copy [default: hard links where that is possible]
    #[arg(long, value_name = "MODE", hide_short_help = true)]
    pub link_mode: Option<LinkMode>,
}

impl ChoiceArgs {
    /// Whether any of them chooses something.
    pub(super) fn chooses(&self) -> bool {
        self.backend.is_some()
            || self.channel.is_some()
            || self.python.is_some()
            || self.index_url.is_some()
            || self.link_mode.is_some()
    }
}

/// A file of another tool, in place of the project's lockfile.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct FromArgs {
    /// What this file pins, in place of the project's lockfile: a pylock.toml of any tool, a requirements file with
    /// hashes, or a uv.lock
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// With --from: this extra of the file too
    #[arg(long, value_name = "NAME", requires = "from")]
    extra: Vec<ExtraName>,
    /// With --from: this dependency group of the file too
    #[arg(long, value_name = "NAME", requires = "from")]
    group: Vec<GroupName>,
    /// Local wheels outside the project's folder (with --from: the file's) may be read
    #[arg(long)]
    pub allow_path: bool,
}

impl FromArgs {
    /// The file, where one is named.
    pub(super) fn file(&self) -> Option<FromFile> {
        Some(FromFile {
            path: self.from.clone()?,
            extras: self.extra.clone(),
            groups: self.group.clone(),
            anywhere: self.allow_path,
        })
    }
}

/// clap shows the error of this function, which names the four values.
pub(super) fn parse_backend(text: &str) -> Result<Preference, crate::backend::UnknownBackend> {
    text.parse()
}
