//! Users and passwords of indexes: taken out of URLs at the door, sent to the host they belong to and to no other.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use percent_encoding::percent_decode_str;
use url::Url;

use super::error::without_userinfo;

/// Where credentials belong: scheme, host and port.
type Origin = (String, String, Option<u16>);

fn origin(url: &Url) -> Option<Origin> {
    let host = url.host_str()?.to_owned();
    Some((url.scheme().to_owned(), host, url.port_or_known_default()))
}

/// A user with an optional password.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Option<String>,
}

/// The logins of every origin that was named with one.
#[derive(Default)]
pub(super) struct Logins(Mutex<HashMap<Origin, Login>>);

impl fmt::Debug for Logins {
    /// Says nothing: a debug print must not reveal a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Logins(…)")
    }
}

impl Logins {
    /// Takes the login out of `url` and keeps it for that origin. The last one named for an origin counts.
    pub(super) fn adopt(&self, url: Url) -> Url {
        if url.username().is_empty() && url.password().is_none() {
            return url;
        }
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = Login {
            user: decode(url.username()),
            password: url.password().map(decode),
        };
        if let Some(origin) = origin(&url) {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(origin, login);
        }
        without_userinfo(url)
    }

    /// The login for `url`'s origin.
    pub(super) fn of(&self, url: &Url) -> Option<Login> {
        let origin = origin(url)?;
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&origin)
            .cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    #[test]
    fn a_login_is_kept_for_its_origin_alone() {
        let logins = Logins::default();
        let clean = logins.adopt(url("https://us%40er:p%3Aw@example.org/simple/"));
        assert_eq!(clean.as_str(), "https://example.org/simple/");
        let login = logins.of(&url("https://example.org:443/other")).expect("same origin");
        assert_eq!((login.user.as_str(), login.password.as_deref()), ("us@er", Some("p:w")));
        for other in [
            "http://example.org/simple/",
            "https://example.org:8443/simple/",
            "https://files.example.org/",
            "https://example.org.evil.example/",
        ] {
            assert!(logins.of(&url(other)).is_none(), "{other}");
        }
        assert!(!format!("{logins:?}").contains("p:w"));
    }

    #[test]
    fn a_user_alone_is_a_token() {
        let logins = Logins::default();
        logins.adopt(url("https://token@example.org/"));
        let login = logins.of(&url("https://example.org/")).expect("kept");
        assert_eq!((login.user.as_str(), login.password), ("token", None));
    }
}
