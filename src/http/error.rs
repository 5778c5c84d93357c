//! What can go wrong between a request and its body, one variant an outcome, and whether trying again can help.
//!
//! URLs in errors carry neither user information nor a query: both may hold secrets (signed download links). The type
//! [`ShownUrl`] sees to that.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::time::Duration;

use url::Url;

use crate::fsx::PathError;

/// The cause of a failure below HTTP.
pub type Cause = Box<dyn StdError + Send + Sync>;

/// A request that did not end with the wanted answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The network may not be used; no socket was made.
    #[error("{url} is needed, but the network may not be used (offline)")]
    Offline {
        /// What was wanted.
        url: ShownUrl,
    },
    /// No connection: name resolution, TCP or the proxy failed.
    #[error("cannot connect to {host} for {url}")]
    Connect {
        /// The host that was tried.
        host: String,
        /// What was wanted.
        url: ShownUrl,
        /// Why.
        #[source]
        source: Cause,
    },
    /// A connection, but no secure one.
    #[error("cannot establish a secure (TLS) connection to {host} for {url}")]
    Tls {
        /// The host that was tried.
        host: String,
        /// What was wanted.
        url: ShownUrl,
        /// Why.
        #[source]
        source: Cause,
    },
    /// Silence for longer than the read timeout, or a small document that took far too long.
    #[error("{host} did not answer in time for {url}")]
    Timeout {
        /// The silent host.
        host: String,
        /// What was wanted.
        url: ShownUrl,
    },
    /// The connection broke, or what came was not HTTP, before the answer's head was complete.
    #[error("the exchange with {host} failed for {url}")]
    Exchange {
        /// The host.
        host: String,
        /// What was wanted.
        url: ShownUrl,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The server answered with a status that is not wanted.
    #[error("{host} answered {code} for {url}")]
    Status {
        /// The host that answered, the last one after redirects.
        host: String,
        /// The status code.
        code: u16,
        /// What was wanted.
        url: ShownUrl,
        /// What the server asks to wait before the next try.
        retry_after: Option<Duration>,
    },
    /// A page for people where a file was asked for.
    #[error("{host} answered with an HTML page, not a wheel, for {url}")]
    HtmlPage {
        /// The host that answered, the last one after redirects.
        host: String,
        /// What was wanted.
        url: ShownUrl,
    },
    /// More redirects than allowed; usually a loop.
    #[error("{url} redirects more than {limit} times")]
    TooManyRedirects {
        /// What was wanted.
        url: ShownUrl,
        /// How many are followed.
        limit: usize,
    },
    /// A redirect that is not followed.
    #[error("{url} redirects to {to}, which is refused: {reason}")]
    RedirectRefused {
        /// What was wanted.
        url: ShownUrl,
        /// Where it leads.
        to: String,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// A URL that is not requested at all.
    #[error("{url} is not requested: {reason}")]
    Refused {
        /// The URL.
        url: ShownUrl,
        /// The rule it breaks.
        reason: &'static str,
    },
    /// The body ended early.
    #[error("the answer for {url} broke off after {received} bytes")]
    Truncated {
        /// What was wanted.
        url: ShownUrl,
        /// Bytes that arrived.
        received: u64,
        /// Why, where known.
        #[source]
        source: Option<Cause>,
    },
    /// The body is larger than anything that can be right.
    #[error("the answer for {url} is larger than {limit} bytes")]
    TooLarge {
        /// What was wanted.
        url: ShownUrl,
        /// The limit.
        limit: u64,
    },
    /// The file of trusted certificates cannot be read.
    #[error("cannot use the certificate file")]
    CertificateFile(#[source] PathError),
    /// The system refuses the thread that talks to the network.
    #[error("cannot start a thread for the network")]
    NoThread(#[source] io::Error),
    /// The certificates, the proxy or the TLS library cannot be set up.
    #[error("cannot set up HTTPS ({what})")]
    Setup {
        /// What was being set up.
        what: &'static str,
        /// Why.
        #[source]
        source: Cause,
    },
}

impl Error {
    /// The status code, where the server answered with an unwanted one.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// Whether the same request may succeed later: no connection, silence, a broken body, 408, 429 and 5xx. Other
    /// 4xx, refusals and certificate errors stay what they are.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Timeout { .. } | Self::Exchange { .. } | Self::Truncated { .. } => true,
            Self::Status { code, .. } => matches!(code, 408 | 429 | 500..=599),
            _ => false,
        }
    }

    /// What the server asks to wait.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// A URL as messages may show it: without user information, query and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownUrl(Box<str>);

impl From<&Url> for ShownUrl {
    fn from(url: &Url) -> Self {
        Self(bare(url).as_str().into())
    }
}

impl fmt::Display for ShownUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// The URL without user information, query and fragment: what may be stored.
#[must_use]
pub fn bare(url: &Url) -> Url {
    let mut url = without_userinfo(url.clone());
    url.set_query(None);
    url.set_fragment(None);
    url
}

/// Drops user information.
#[must_use]
pub fn without_userinfo(mut url: Url) -> Url {
    // These fail only for URLs that cannot hold user information, which then have none.
    url.set_username("").ok();
    url.set_password(None).ok();
    url
}

/// The host as messages name it, with the port where it is not the scheme's own.
#[must_use]
pub fn host(url: &Url) -> String {
    match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => "(no host)".to_owned(),
    }
}

/// Sorts a failure of `reqwest` that came before the answer's head; `hop` is the URL asked in the end.
pub(super) fn before_head(source: reqwest::Error, url: &Url, hop: &Url) -> Error {
    let (host, url) = (host(hop), ShownUrl::from(url));
    let source = source.without_url();
    if source.is_builder() {
        Error::Setup {
            what: "request",
            source: source.into(),
        }
    } else if source.is_connect() {
        if is_tls(&source) {
            let source = source.into();
            Error::Tls { host, url, source }
        } else {
            let source = source.into();
            Error::Connect { host, url, source }
        }
    } else if source.is_timeout() {
        Error::Timeout { host, url }
    } else {
        let source = source.into();
        Error::Exchange { host, url, source }
    }
}

/// Sorts a failure while the body was read.
pub(super) fn in_body(source: io::Error, url: &Url, hop: &Url, received: u64) -> Error {
    let timed_out = source.kind() == io::ErrorKind::TimedOut
        || source
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<reqwest::Error>())
            .is_some_and(reqwest::Error::is_timeout);
    if timed_out {
        Error::Timeout {
            host: host(hop),
            url: url.into(),
        }
    } else {
        // The library adds the URL as it was asked, query included, to what it says about a body.
        let source: Cause = match source.downcast::<reqwest::Error>() {
            Ok(inner) => inner.without_url().into(),
            Err(other) => other.into(),
        };
        Error::Truncated {
            url: url.into(),
            received,
            source: Some(source),
        }
    }
}

/// Whether a failed connection failed at its certificates: the TLS library hands its verdicts over as invalid data.
fn is_tls(error: &reqwest::Error) -> bool {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(io) = error.downcast_ref::<io::Error>() {
            if io.kind() == io::ErrorKind::InvalidData {
                return true;
            }
            // `source()` of a wrapping I/O error skips the error that it wraps.
            if let Some(inner) = io.get_ref() {
                next = Some(inner);
                continue;
            }
        }
        next = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_urls_hold_no_secrets() {
        let url = Url::parse("https://user:secret@example.org:8443/a%2Bb.whl?token=secret#sha256=00").expect("a URL");
        assert_eq!(ShownUrl::from(&url).to_string(), "https://example.org:8443/a%2Bb.whl");
        assert_eq!(host(&url), "example.org:8443");
    }

    #[test]
    fn only_what_can_change_is_tried_again() {
        let url = Url::parse("https://example.org/").expect("a URL");
        let status = |code| Error::Status {
            host: String::new(),
            code,
            url: (&url).into(),
            retry_after: None,
        };
        for code in [408, 429, 500, 502, 503, 504] {
            assert!(status(code).is_transient(), "{code}");
        }
        for code in [400, 401, 403, 404, 410, 416] {
            assert!(!status(code).is_transient(), "{code}");
        }
        assert!(!Error::Offline { url: (&url).into() }.is_transient());
    }
}
