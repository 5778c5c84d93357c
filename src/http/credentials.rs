//! Users and passwords of indexes: taken out of URLs at the door, found in `.netrc` or the keyring, sent to the host
//! they belong to and to no other.
//!
//! A login that a URL named belongs to that URL's scheme, host and port; where two indexes of one host have logins of
//! their own, to the paths below each. One of `.netrc` belongs to a host name, one of the keyring to the origin it was
//! asked for. Order: a URL with a password, `.netrc`, the keyring, a URL's user alone (a token).
//! A redirect to another origin takes nothing along. What the new origin gets is its own: a login that some URL named
//! for it, or the entry of `.netrc` for that other host. Never one for the same host under another port or scheme.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use percent_encoding::percent_decode_str;
use url::Url;

use super::error::{host, without_userinfo};
use super::keyring::{self, Keyring};
use super::netrc::Netrc;

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

/// A base URL that was named, with its login where it had one.
struct Named {
    base: Url,
    login: Option<Login>,
}

/// What the keyring is asked for: a base URL, and a user where one is known.
type Question = (Url, Option<String>);

/// All that is known about logins.
#[derive(Default)]
pub(super) struct Logins {
    named: Mutex<HashMap<Origin, Vec<Named>>>,
    netrc_path: Option<PathBuf>,
    netrc: OnceLock<Netrc>,
    keyring: Keyring,
    /// What the keyring said, by base URL and user. Held while it is asked, so that it asks its user once.
    asked: Mutex<HashMap<Question, Option<Login>>>,
}

impl fmt::Debug for Logins {
    /// Says nothing: a debug print must not reveal a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Logins(…)")
    }
}

impl Logins {
    /// No logins yet; `.netrc` at `netrc_path` is read when a request needs it.
    pub(super) fn new(netrc_path: Option<PathBuf>, keyring: Keyring) -> Self {
        Self {
            netrc_path,
            keyring,
            ..Self::default()
        }
    }

    /// Takes the login out of `url` and keeps it for that origin and path. The last one named for one path counts.
    pub(super) fn adopt(&self, url: Url) -> Url {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let login = (!url.username().is_empty() || url.password().is_some()).then(|| Login {
            user: decode(url.username()),
            password: url.password().map(decode),
        });
        let base = without_userinfo(url);
        if let Some(origin) = origin(&base) {
            let mut named = lock(&self.named);
            let bases = named.entry(origin).or_default();
            if login.is_some() || bases.iter().all(|other| other.base != base) {
                bases.retain(|other| other.base != base);
                let base = base.clone();
                bases.push(Named { base, login });
            }
        }
        base
    }

    /// The login for a request to `url` that came about by `hops`, the URLs that redirected to it.
    pub(super) fn of(&self, url: &Url, hops: &[Url]) -> Option<Login> {
        let (base, named) = self.named(url)?;
        if named.as_ref().is_some_and(|login| login.password.is_some()) {
            return named;
        }
        let here = origin(url);
        let strayed = hops
            .iter()
            .any(|hop| origin(hop) != here && hop.host_str() == url.host_str());
        let user = named.as_ref().map(|login| login.user.as_str());
        let in_netrc = || url.host_str().and_then(|host| self.netrc().of(host, user));
        let in_keyring = || {
            let asked_for = self.keyring == Keyring::Subprocess && user.is_some();
            (asked_for && hops.iter().all(|hop| origin(hop) == here))
                .then(|| self.ask(&base, user))
                .flatten()
        };
        (!strayed).then(in_netrc).flatten().or_else(in_keyring).or(named)
    }

    /// The login that the keyring has for `url`, now that its server has refused `sent`. It is asked where nothing with
    /// a password was sent, and not for a place that a redirect led to.
    pub(super) fn after_refusal(&self, url: &Url, hops: &[Url], sent: Option<&Login>) -> Option<Login> {
        let here = origin(url);
        let useless = self.keyring == Keyring::Disabled
            || sent.is_some_and(|login| login.password.is_some())
            || hops.iter().any(|hop| origin(hop) != here);
        if useless {
            return None;
        }
        let (base, named) = self.named(url)?;
        self.ask(&base, named.as_ref().map(|login| login.user.as_str()))
    }

    /// What was named for `url`: of several bases with one origin, the one that shares most folders with it.
    fn named(&self, url: &Url) -> Option<(Url, Option<Login>)> {
        let origin = origin(url)?;
        let named = lock(&self.named);
        let bases = named.get(&origin).map(Vec::as_slice).unwrap_or_default();
        let shared = |base: &Url| {
            base.path()
                .split('/')
                .zip(url.path().split('/'))
                .take_while(|(a, b)| a == b)
                .count()
        };
        // A base without a login serves only what no other base has a login for.
        let best = bases
            .iter()
            .rev()
            .max_by_key(|named| (named.login.is_some(), shared(&named.base)));
        Some(best.map_or_else(
            || (url.join("/").unwrap_or_else(|_| url.clone()), None),
            |best| (best.base.clone(), best.login.clone()),
        ))
    }

    fn netrc(&self) -> &Netrc {
        self.netrc
            .get_or_init(|| self.netrc_path.as_deref().map(Netrc::read).unwrap_or_default())
    }

    fn ask(&self, base: &Url, user: Option<&str>) -> Option<Login> {
        let key = (base.clone(), user.map(str::to_owned));
        let mut asked = lock(&self.asked);
        let answer = asked.entry(key).or_insert_with(|| {
            let services = [base.to_string(), host(base)];
            keyring::ask(&services, user).map(|(user, password)| Login {
                user,
                password: Some(password),
            })
        });
        answer.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    fn pair(login: Option<Login>) -> Option<(String, Option<String>)> {
        login.map(|login| (login.user, login.password))
    }

    #[expect(clippy::unnecessary_wraps, reason = "what it is compared with is an option")]
    fn own(user: &str, password: &str) -> Option<(String, Option<String>)> {
        Some((user.to_owned(), Some(password.to_owned())))
    }

    #[test]
    fn a_login_is_kept_for_its_origin_alone() {
        let logins = Logins::default();
        let clean = logins.adopt(url("https://us%40er:p%3Aw@example.org/simple/"));
        assert_eq!(clean.as_str(), "https://example.org/simple/");
        assert_eq!(
            pair(logins.of(&url("https://example.org:443/other"), &[])),
            own("us@er", "p:w")
        );
        for other in [
            "http://example.org/simple/",
            "https://example.org:8443/simple/",
            "https://files.example.org/",
            "https://example.org.evil.example/",
        ] {
            assert!(logins.of(&url(other), &[]).is_none(), "{other}");
        }
        assert!(!format!("{logins:?}").contains("p:w"));
    }

    #[test]
    fn a_user_alone_is_a_token() {
        let logins = Logins::default();
        logins.adopt(url("https://token@example.org/"));
        let login = logins.of(&url("https://example.org/"), &[]);
        assert_eq!(pair(login), Some(("token".to_owned(), None)));
    }

    #[test]
    fn two_indexes_of_one_host_keep_their_own() {
        let logins = Logins::default();
        logins.adopt(url("https://a:1@example.org/one/simple/"));
        logins.adopt(url("https://b:2@example.org/two/simple/"));
        logins.adopt(url("https://example.org/two/simple/"));
        for (path, login) in [("one/simple/x/", own("a", "1")), ("two/files/x.whl", own("b", "2"))] {
            assert_eq!(
                pair(logins.of(&url("https://example.org/").join(path).expect("a path"), &[])),
                login
            );
        }
        logins.adopt(url("https://c:3@example.org/two/simple/"));
        assert_eq!(pair(logins.of(&url("https://example.org/two/"), &[])), own("c", "3"));
    }

    #[test]
    fn netrc_serves_hosts_but_no_redirect_within_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("netrc");
        std::fs::write(
            &path,
            "machine a.example login u password p\nmachine b.example login v password q\n",
        )
        .expect("written");
        let logins = Logins::new(Some(path), Keyring::Disabled);
        let (a, b) = (url("https://a.example/x"), url("https://b.example/x"));
        assert_eq!(pair(logins.of(&a, &[])), own("u", "p"));
        assert_eq!(pair(logins.of(&url("https://a.example:8443/"), &[])), own("u", "p"));
        assert_eq!(pair(logins.of(&b, std::slice::from_ref(&a))), own("v", "q"));
        assert!(
            logins
                .of(&url("https://c.example/"), std::slice::from_ref(&a))
                .is_none()
        );
        assert!(
            logins
                .of(&url("https://a.example:8443/"), std::slice::from_ref(&a))
                .is_none()
        );
        assert!(logins.of(&url("http://a.example/"), &[b, a.clone()]).is_none());
        logins.adopt(url("https://other@a.example/"));
        assert_eq!(pair(logins.of(&a, &[])), Some(("other".to_owned(), None)));
        logins.adopt(url("https://u@a.example/"));
        assert_eq!(pair(logins.of(&a, &[])), own("u", "p"));
    }
}
