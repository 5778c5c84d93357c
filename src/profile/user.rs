//! Who is at work, for the history.

/// The name of the user whose rights this process has: of `/etc/passwd`, where that knows it, else what the session says
/// (`LOGNAME`, `USER`), else the number.
#[must_use]
pub fn user(session: Option<&str>) -> String {
    let uid = rustix::process::geteuid().as_raw();
    let passwd = std::fs::read("/etc/passwd").unwrap_or_default();
    named(&String::from_utf8_lossy(&passwd), uid)
        .or(session)
        .map_or_else(|| uid.to_string(), str::to_owned)
}

fn named(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next().filter(|name| !name.is_empty())?;
        (fields.nth(1)?.parse() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_line_of_the_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# comment\n\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(named(passwd, 1000), Some("ann"));
        assert_eq!(named(passwd, 0), Some("root"));
        assert_eq!(named(passwd, 7), None);
        assert!(!user(None).is_empty());
    }
}
