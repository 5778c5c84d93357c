//! The network as this machine and project have it: pip's settings, the package index, the sources of every name.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use url::Url;

use super::Project;
use crate::backend::Channel;
use crate::cache::Cache;
use crate::config::{ConfigError, Sourced};
use crate::fsx::PathError;
use crate::http::{Http, Options, Proxy};
use crate::index::pip::{self, PipError, PipSettings, Surroundings, builtin};
use crate::index::{PrivateIndex, Sources, SourcesOptions};
use crate::python::{self, Interpreter};

/// How long an interpreter may take to tell its pip's default index.
const ASK_LIMIT: Duration = Duration::from_secs(20);

/// Why the network could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// pip's configuration.
    #[error("pip's configuration cannot be used")]
    Pip(#[from] PipError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A file operation.
    #[error(transparent)]
    Path(#[from] PathError),
    /// An interpreter could not be started to ask for its pip's index.
    #[error("cannot ask for the package index of the interpreter's pip")]
    Ask(#[source] python::Error),
    /// A channel's index is no URL.
    #[error("the index of the channel {channel} is no URL: `{url}`")]
    ChannelUrl {
        /// The channel.
        channel: Channel,
        /// Its text.
        url: String,
        /// Why not.
        #[source]
        source: url::ParseError,
    },
}

/// The network, the cache, and where names come from.
pub struct Network {
    /// Sends requests.
    pub http: Arc<Http>,
    /// Keeps what arrived.
    pub cache: Cache,
    /// Routes names.
    pub sources: Sources,
}

impl Project<'_> {
    /// The network for packages of `channel`. The interpreter is asked for its pip's default index only where nothing
    /// else names one, and never where the network may not be used.
    pub fn network(&self, channel: &Channel, interpreter: Option<&Interpreter>) -> Result<Network, NetworkError> {
        let config = self.config;
        let settings = self.pip_settings(interpreter)?;
        if !config.offline {
            settings.check_extra(&self.declared_indexes())?;
        }
        let cache = self.cache()?;
        let package_index = if settings.no_index {
            None
        } else {
            let builtin = || self.builtin_index(&cache, interpreter);
            pip::package_index::<NetworkError>(&self.asked_indexes(), &settings, builtin)?
        };
        let http = Arc::new(Http::new(self.http_options(&settings)));
        let options = SourcesOptions {
            channel: channel.clone(),
            channel_index: self.channel_index(channel)?,
            mirror: config
                .pytorch_mirror
                .as_ref()
                .and_then(|mirror| Url::parse(mirror).ok()),
            package_index: package_index.map(|index| index.url),
            private: config
                .indexes
                .iter()
                .map(|index| PrivateIndex {
                    name: index.name.clone(),
                    url: index.url.clone(),
                    packages: index.packages.clone(),
                })
                .collect(),
            find_links: settings.find_links,
            no_index: settings.no_index,
        };
        let sources = Sources::new(&http, &cache, options);
        Ok(Network { http, cache, sources })
    }

    /// Whether wheels of the package index may be others here than those of the index that is built into pip.
    pub(super) fn replaces_package_index(&self, interpreter: Option<&Interpreter>) -> Result<bool, NetworkError> {
        let settings = self.pip_settings(interpreter)?;
        let builtin = || self.builtin_index(&self.cache()?, interpreter);
        let by = pip::replacement(&self.asked_indexes(), &settings, &self.declared_indexes(), builtin)?;
        Ok(by.is_some())
    }

    fn pip_settings(&self, interpreter: Option<&Interpreter>) -> Result<PipSettings, PipError> {
        PipSettings::read(Surroundings {
            variable: &|name| self.vars.text(name),
            home: self.vars.home().as_deref(),
            etc: Path::new("/etc"),
            prefix: interpreter.map(|interpreter| interpreter.base_prefix.as_path()),
        })
    }

    /// The package index that a flag or the project names.
    fn asked_indexes(&self) -> Vec<pip::Given<String>> {
        let given = |url: &Sourced<Url>| pip::Given {
            value: url.value.to_string(),
            origin: url.origin.to_string(),
        };
        self.config.index_url.iter().map(given).collect()
    }

    fn declared_indexes(&self) -> Vec<Url> {
        self.config.indexes.iter().map(|index| index.url.clone()).collect()
    }

    /// The index that the project gives the channel, if it gives one: the mirror does not apply to it.
    fn channel_index(&self, channel: &Channel) -> Result<Option<Url>, NetworkError> {
        let Some(text) = self.config.replaced_channel_index(channel) else {
            return Ok(None);
        };
        Url::parse(&text).map(Some).map_err(|source| NetworkError::ChannelUrl {
            channel: channel.clone(),
            url: text,
            source,
        })
    }

    /// Offline, only what was asked earlier counts: no interpreter is started for an index that may not be asked.
    /// What the interpreter's pip reports; where it has none, what any other interpreter's reports.
    fn builtin_index(&self, cache: &Cache, interpreter: Option<&Interpreter>) -> Result<Option<String>, NetworkError> {
        let ask = |interpreter: &Interpreter| -> Result<Option<String>, NetworkError> {
            builtin::cached(cache, &interpreter.real_path, || {
                if self.config.offline {
                    return Ok(None);
                }
                match interpreter.ask(builtin::SNIPPET, ASK_LIMIT) {
                    Ok(output) => Ok(builtin::parse_answer(&output)),
                    // A process that the system refuses says nothing about the interpreter.
                    Err(error) if error.is_refusal() => Err(NetworkError::Ask(error)),
                    // An interpreter that cannot answer is one without an index, not a failure.
                    Err(_) => Ok(None),
                }
            })
        };
        if let Some(found) = interpreter.map(&ask).transpose()?.flatten() {
            return Ok(Some(found));
        }
        let others = self.finder().list();
        for other in others
            .iter()
            .filter(|other| Some(&other.real_path) != interpreter.map(|own| &own.real_path))
        {
            if let Some(found) = ask(other)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    fn http_options(&self, settings: &PipSettings) -> Options {
        let mut options = Options {
            offline: self.config.offline,
            certificates: settings.cert.clone(),
            insecure_hosts: settings.trusted_hosts.clone(),
            netrc: self
                .vars
                .path("NETRC")
                .or_else(|| self.vars.home().map(|home| home.join(".netrc"))),
            keyring: settings.keyring,
            ..Options::default()
        };
        options
            .insecure_hosts
            .extend(self.config.insecure_hosts.iter().cloned());
        if let Some(proxy) = &settings.proxy {
            options.proxy = Proxy::Url(proxy.clone());
        }
        if let Some(timeout) = settings.timeout {
            // pip's 15 s default is for one read as well; a longer wish is obeyed, a shorter one too.
            options.read_timeout = timeout.max(Duration::from_secs(1));
        }
        options
    }
}
