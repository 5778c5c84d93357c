//! Passwords kept by the user's keyring, asked through the `keyring` program as pip and uv do.
//!
//! The program is `keyring` of the `PATH`, run as `keyring get SERVICE USER`; the service is the index's URL, then its
//! host. Its answer lives in this process alone. It has no terminal and its errors are not shown: what it prints may
//! hold secrets.

use std::process::Command;
use std::str::FromStr;
use std::time::Duration;

use crate::process::{Limits, Outcome, run};

/// How long the keyring may take; it may have to ask the user to unlock it.
const TIME: Duration = Duration::from_mins(2);
/// The user whose password is asked for where the URL names none, as with pip.
const TOKEN_USER: &str = "__token__";

/// When the keyring is asked (pip's `keyring-provider`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Keyring {
    /// When a server wants credentials that nothing else gives, and there is such a program.
    #[default]
    Auto,
    /// Before the first request to an index whose URL names a user without a password, too.
    Subprocess,
    /// Never.
    Disabled,
}

impl FromStr for Keyring {
    type Err = String;

    /// pip's words; `import` means a library inside pip, whose place the program takes here.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "auto" => Ok(Self::Auto),
            "subprocess" | "import" => Ok(Self::Subprocess),
            "disabled" => Ok(Self::Disabled),
            other => Err(format!(
                "`{other}` is no keyring provider; expected one of auto, disabled, import, subprocess"
            )),
        }
    }
}

/// Asks for the password of `user` at the first of `services` that has one. Returns user and password.
pub(super) fn ask(services: &[String], user: Option<&str>) -> Option<(String, String)> {
    // A name that begins with a dash would be an option.
    let user = Some(user.unwrap_or(TOKEN_USER)).filter(|user| !user.starts_with('-'))?;
    services.iter().find_map(|service| {
        let mut command = Command::new("keyring");
        command.args(["get", service, user]).env("PYTHONIOENCODING", "utf-8");
        let limits = Limits {
            time: TIME,
            output: 1 << 16,
        };
        match run(command, limits) {
            Outcome::Finished(done) if done.exit == 0 => {
                let password = done.stdout.trim_end_matches(['\r', '\n']);
                (!password.is_empty()).then(|| (user.to_owned(), password.to_owned()))
            }
            _ => None,
        }
    })
}
