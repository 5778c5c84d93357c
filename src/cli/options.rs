//! Flags that several verbs share.

use clap::Args;

use crate::backend::{Channel, Preference};
use crate::config::LinkMode;
use url::Url;

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
    /// How files get into the environment: symlink, hardlink, reflink or copy
    #[arg(long, value_name = "MODE", hide_short_help = true)]
    pub link_mode: Option<LinkMode>,
}

/// clap shows the error of this function, which names the four values.
pub(super) fn parse_backend(text: &str) -> Result<Preference, crate::backend::UnknownBackend> {
    text.parse()
}
