//! HTTP for indexes and downloads: one type that keeps every rule about how this program talks to a network.
//!
//! Owns: offline mode (refused before a socket is made), timeouts, bounded redirects, credentials, retries, proxies and
//! certificates, and an error for each way to fail. Refuses: `http:` except to this machine and to hosts that the user
//! trusts by name, redirects from `https:` to `http:`, every other scheme.
//!
//! What the library below does by itself: `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` (either case) choose
//! proxies; `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the system's certificates. A certificate file given in
//! [`Options`] is trusted in addition to those.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::blocking::Client;
use url::{Host, Url};

use crate::fsx::PathContext as _;
use crate::threads;

mod credentials;
mod error;
mod keyring;
mod netrc;
mod request;
mod resolve;
mod retry;
#[cfg(test)]
pub(crate) mod testing;

pub use error::{Cause, Error, ShownUrl, bare, host, without_userinfo};
pub use keyring::Keyring;
pub use request::{ContentRange, Document, Request, Response};
pub use retry::Retry;

/// The rule that a plain `http:` URL breaks.
pub const PLAIN_HTTP: &str = "plain http is allowed to this machine and to trusted hosts only";

/// How many redirects are followed.
const MAX_REDIRECTS: usize = 10;

/// Which proxy requests go through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTPS_PROXY` and its siblings say.
    #[default]
    Environment,
    /// None, whatever the environment says.
    None,
    /// This one for everything but `NO_PROXY` (pip's `proxy`).
    Url(String),
}

/// How to talk to networks.
#[derive(Debug, Clone)]
pub struct Options {
    /// Refuse every request.
    pub offline: bool,
    /// How long a connection may take.
    pub connect_timeout: Duration,
    /// How long a server may be silent: before its answer, and between two pieces of a body.
    pub read_timeout: Duration,
    /// How long a small document (a page, a metadata file) may take altogether.
    pub document_timeout: Duration,
    /// When to try again.
    pub retry: Retry,
    /// Which proxy to use.
    pub proxy: Proxy,
    /// A PEM file of certificates to trust in addition (pip's `cert`).
    pub certificates: Option<PathBuf>,
    /// Hosts, `name` or `name:port`, that may be asked by `http:` or without a valid certificate (pip's
    /// `trusted-host`).
    pub insecure_hosts: Vec<String>,
    /// The user's `.netrc`.
    pub netrc: Option<PathBuf>,
    /// When the keyring is asked.
    pub keyring: Keyring,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            offline: false,
            connect_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_mins(1),
            document_timeout: Duration::from_mins(5),
            retry: Retry::default(),
            proxy: Proxy::default(),
            certificates: None,
            insecure_hosts: Vec::new(),
            netrc: None,
            keyring: Keyring::Disabled,
        }
    }
}

/// What kind of connection a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Line {
    /// Large bodies: one TCP connection each (HTTP/1.1), bytes as they are.
    bulk: bool,
    /// Certificates are not checked.
    unverified: bool,
}

/// The network. Costs nothing until the first request, which loads certificates and starts the client's thread.
#[derive(Debug)]
pub struct Http {
    options: Options,
    clients: Mutex<Vec<(Line, Client)>>,
    logins: credentials::Logins,
}

impl Http {
    /// A network under `options`.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            logins: credentials::Logins::new(options.netrc.clone(), options.keyring),
            options,
            clients: Mutex::default(),
        }
    }

    /// Whether every request is refused.
    #[must_use]
    pub fn is_offline(&self) -> bool {
        self.options.offline
    }

    /// When failed requests are tried again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.options.retry
    }

    /// Takes user and password out of the base URL of an index and keeps them for its scheme, host and port. The URL
    /// that comes back may be stored, logged and printed.
    #[must_use]
    pub fn adopt(&self, url: Url) -> Url {
        self.logins.adopt(url)
    }

    /// Starts a GET request; nothing is sent yet.
    pub fn get<'a>(&'a self, url: &Url) -> Request<'a> {
        Request::new(self, without_userinfo(url.clone()))
    }

    /// Whether the user trusts this host by name.
    fn is_trusted(&self, url: &Url) -> bool {
        let Some(name) = url.host_str() else { return false };
        self.options.insecure_hosts.iter().any(|trusted| {
            trusted.eq_ignore_ascii_case(name)
                || url
                    .port_or_known_default()
                    .is_some_and(|port| trusted.eq_ignore_ascii_case(&format!("{name}:{port}")))
        })
    }

    /// Why `url` is not requested, if so.
    fn refusal(&self, url: &Url) -> Option<&'static str> {
        match url.scheme() {
            "https" => None,
            "http" if is_loopback(url) || self.is_trusted(url) => None,
            "http" => Some(PLAIN_HTTP),
            _ => Some("only https and http URLs can be requested"),
        }
    }

    /// The client for `url`, made on first use.
    fn client(&self, url: &Url, bulk: bool) -> Result<Client, Error> {
        let line = Line {
            bulk,
            unverified: self.is_trusted(url),
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, client)) = clients.iter().find(|(have, _)| *have == line) {
            return Ok(client.clone());
        }
        let client = self.build(line)?;
        clients.push((line, client.clone()));
        Ok(client)
    }

    fn build(&self, line: Line) -> Result<Client, Error> {
        let setup = |what| {
            move |source: reqwest::Error| Error::Setup {
                what,
                // A proxy's URL may hold a password.
                source: source.without_url().into(),
            }
        };
        let mut builder = Client::builder()
            .user_agent(concat!("flambeau/", env!("CARGO_PKG_VERSION")))
            // Redirects are followed in `request`, hop by hop, under our own rules.
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .dns_resolver(Arc::new(resolve::System))
            .connect_timeout(self.options.connect_timeout)
            .timeout(self.options.read_timeout)
            .tls_danger_accept_invalid_certs(line.unverified);
        if line.bulk {
            builder = builder.http1_only().no_gzip();
        }
        builder = match &self.options.proxy {
            Proxy::Environment => builder,
            Proxy::None => builder.no_proxy(),
            Proxy::Url(url) => {
                let proxy = reqwest::Proxy::all(url).map_err(setup("proxy"))?;
                builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_env()))
            }
        };
        if let Some(path) = &self.options.certificates {
            let pem = std::fs::read(path).at("read", path).map_err(Error::CertificateFile)?;
            let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(setup("certificates"))?;
            builder = builder.tls_certs_merge(certificates);
        }
        builder.build().map_err(|error| match refusal(&error) {
            Some(source) => Error::NoThread(source),
            None => setup("client")(error),
        })
    }
}

/// The system's refusal of a thread, where that is the cause of an error.
fn refusal(error: &(dyn std::error::Error + 'static)) -> Option<std::io::Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause
            .downcast_ref::<std::io::Error>()
            .filter(|found| threads::is_refusal(found))
        {
            return found.raw_os_error().map(std::io::Error::from_raw_os_error);
        }
        next = cause.source();
    }
    None
}

/// Whether `url` points to this machine.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests;
