//! The package index of this machine, and whether anything replaces the one that is built into the interpreter's pip.
//!
//! Both are answered here alone, so that what is asked while locking and what counts as replaced cannot differ.

use url::Url;

use super::{Given, PipError, PipSettings, Surroundings};
use crate::http::ShownUrl;
use crate::index::links::may_hold_wheels;

/// The package index and who named it. The URL may hold credentials until an [`crate::index::Index`] takes them out.
#[derive(Clone, PartialEq, Eq)]
pub struct PackageIndex {
    /// Its base URL.
    pub url: Url,
    /// Who named it, as messages say it.
    pub origin: String,
}

impl std::fmt::Debug for PackageIndex {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PackageIndex")
            .field("url", &ShownUrl::from(&self.url))
            .field("origin", &self.origin)
            .finish()
    }
}

/// The package index of this machine: `asked` (the command line's or the project's, strongest first), variables,
/// pip's files, and last `builtin`, which asks the interpreter's pip and is called only then. `None` where nobody
/// names one.
pub fn package_index<E>(
    asked: &[Given<String>],
    settings: &PipSettings,
    builtin: impl FnOnce() -> Result<Option<String>, E>,
) -> Result<Option<PackageIndex>, E>
where
    E: From<PipError>,
{
    let given = match named(asked, settings) {
        Some(given) => given.clone(),
        None => match builtin()? {
            Some(value) => Given {
                value,
                origin: "the default of this interpreter's pip".to_owned(),
            },
            None => return Ok(None),
        },
    };
    match read(&given.value) {
        Some(url) => Ok(Some(PackageIndex {
            url,
            origin: given.origin,
        })),
        None => Err(PipError::Url { origin: given.origin }.into()),
    }
}

/// What makes other wheels available than the index that is built into the interpreter's pip has, as messages say it:
/// another address, `find-links` that may hold a wheel, `no-index`, or an `extra-index-url` that no URL of `declared` accounts for. `builtin`
/// asks the interpreter's pip; it is called only where an address must be compared.
pub fn replacement<E>(
    asked: &[Given<String>],
    settings: &PipSettings,
    declared: &[Url],
    builtin: impl FnOnce() -> Result<Option<String>, E>,
) -> Result<Option<String>, E> {
    if settings.no_index {
        return Ok(Some("`no-index`".to_owned()));
    }
    if settings.find_links.iter().any(|location| may_hold_wheels(location)) {
        return Ok(Some("`find-links`".to_owned()));
    }
    if settings.check_extra(declared).is_err() {
        return Ok(Some("`extra-index-url`".to_owned()));
    }
    let Some(given) = named(asked, settings) else {
        return Ok(None);
    };
    let plain = |text: &str| Some(read(text)?.as_str().trim_end_matches('/').to_owned());
    // What is no URL is told by whoever asks it.
    let same = plain(&given.value).is_some() && builtin()?.as_deref().and_then(plain) == plain(&given.value);
    Ok((!same).then(|| given.origin.clone()))
}

/// The index that somebody names.
fn named<'a>(asked: &'a [Given<String>], settings: &'a PipSettings) -> Option<&'a Given<String>> {
    asked.first().or(settings.index_url.as_ref())
}

/// uv's variable, which is stronger than pip's.
pub(super) fn of_uv(around: Surroundings<'_>) -> Option<Given<String>> {
    const NAME: &str = "UV_DEFAULT_INDEX";
    let value = (around.variable)(NAME).filter(|value| !value.is_empty())?;
    Some(Given {
        value: unnamed(&value).to_owned(),
        origin: NAME.to_owned(),
    })
}

fn read(text: &str) -> Option<Url> {
    let url = Url::parse(text.trim()).ok()?;
    matches!(url.scheme(), "https" | "http").then_some(url)
}

/// The URL of `name=url`, or the text itself.
pub(super) fn unnamed(text: &str) -> &str {
    match text.split_once('=') {
        Some((name, url)) if !name.contains([':', '/', '?']) => url,
        _ => text,
    }
}
