//! `.netrc`: logins by host name, as curl, pip and Git read them.
//!
//! Owns: the form (`machine NAME login USER password WORD`, words in any lines, `"…"` with backslashes, `#` comments,
//! `macdef` up to an empty line). Refuses: nothing aloud. The file is other programs' too, so what is not understood is
//! passed over. The `default` entry is passed over as well: it belongs to no host, and would be sent to every one.
//! Source: GNU inetutils manual, "The .netrc file".

use std::path::Path;

use super::credentials::Login;

/// The logins of one file, in its order.
#[derive(Default)]
pub(super) struct Netrc(Vec<(String, Login)>);

impl Netrc {
    /// Reads a file; one that is absent or unreadable has no logins.
    pub(super) fn read(path: &Path) -> Self {
        std::fs::read(path).map_or_else(
            |_| Self::default(),
            |bytes| Self::parse(&String::from_utf8_lossy(&bytes)),
        )
    }

    /// The first login of `host` that has a password, of `user` where one is asked for.
    pub(super) fn of(&self, host: &str, user: Option<&str>) -> Option<Login> {
        let found = self.0.iter().find(|(name, login)| {
            name.eq_ignore_ascii_case(host) && login.password.is_some() && user.is_none_or(|user| user == login.user)
        });
        found.map(|(_, login)| login.clone())
    }

    fn parse(text: &str) -> Self {
        let mut logins: Vec<(String, Login)> = Vec::new();
        let mut words = Words { rest: text };
        // Words in front of the first `machine`, and those of `default`, belong to nobody.
        let mut named = false;
        while let Some(word) = words.next() {
            match word.as_str() {
                "machine" => {
                    let host = words.next();
                    named = host.is_some();
                    logins.extend(host.map(|host| {
                        let (user, password) = (String::new(), None);
                        (host, Login { user, password })
                    }));
                }
                "default" => named = false,
                "macdef" => words.skip_past("\n\n"),
                // Only where a keyword could stand: a password may begin with it.
                comment if comment.starts_with('#') => words.skip_past("\n"),
                "login" | "user" | "password" | "account" => {
                    let Some(value) = words.next() else { break };
                    let Some((_, login)) = logins.last_mut().filter(|_| named) else {
                        continue;
                    };
                    match word.as_str() {
                        "login" | "user" => login.user = value,
                        "password" => login.password = Some(value),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
        Self(logins)
    }
}

/// The words of the file.
struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    fn skip_past(&mut self, end: &str) {
        self.rest = self.rest.split_once(end).map_or("", |(_, rest)| rest);
    }
}

impl Iterator for Words<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.rest = self.rest.trim_start();
        let mut chars = self.rest.char_indices();
        let quoted = self.rest.starts_with('"');
        if quoted {
            chars.next();
        }
        let mut word = String::new();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' if quoted => {
                    end = at + 1;
                    break;
                }
                '\\' => word.extend(chars.next().map(|(_, escaped)| escaped)),
                c if c.is_whitespace() && !quoted => {
                    end = at;
                    break;
                }
                c => word.push(c),
            }
        }
        let found = end > 0;
        self.rest = &self.rest[end..];
        found.then_some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(netrc: &Netrc, host: &str, user: Option<&str>) -> Option<(String, String)> {
        let login = netrc.of(host, user)?;
        Some((login.user, login.password.unwrap_or_default()))
    }

    #[test]
    fn logins_are_found_by_host_and_user() {
        let text = "# the company's\nmachine a.example login u password p\nmachine b.example\n\tlogin v\n\taccount x\n\t\
                    password \"q \\\"r\\\"\"\nmacdef init\nmachine c.example login no password no\n\nmachine d.example \
                    password #s login w\nmachine a.example login second password two\ndefault login any password any\n";
        let netrc = Netrc::parse(text);
        let own = |user: &str, password: &str| Some((user.to_owned(), password.to_owned()));
        assert_eq!(pair(&netrc, "A.example", None), own("u", "p"));
        assert_eq!(pair(&netrc, "a.example", Some("second")), own("second", "two"));
        assert_eq!(pair(&netrc, "a.example", Some("other")), None);
        assert_eq!(pair(&netrc, "b.example", None), own("v", "q \"r\""));
        assert_eq!(pair(&netrc, "c.example", None), None, "inside a macro");
        assert_eq!(pair(&netrc, "d.example", None), own("w", "#s"));
        assert_eq!(pair(&netrc, "example", None), None);
        assert_eq!(
            pair(&netrc, "elsewhere.example", None),
            None,
            "default belongs to no host"
        );
    }

    #[test]
    fn odd_files_have_no_logins() {
        for text in [
            "",
            "machine",
            "machine a login",
            "login u password p",
            "machine a login u",
            "\"",
            "\\",
            "macdef",
        ] {
            assert!(pair(&Netrc::parse(text), "a", None).is_none(), "{text}");
        }
        assert!(Netrc::read(Path::new("/nonexistent/netrc")).0.is_empty());
    }
}
