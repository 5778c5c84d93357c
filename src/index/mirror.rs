//! `FLAMBEAU_PYTORCH_MIRROR`: one base URL that stands in for `https://download.pytorch.org/whl`.
//!
//! Lockfiles hold canonical URLs only, so that they are the same behind every mirror. The rule, in this order:
//!
//! 1. `/whl/…` of `download.pytorch.org` or of the host that its pages link to (`download-r2.pytorch.org`) is the
//!    canonical host's same path.
//! 2. A URL below the mirror's base is the canonical index followed by what stands behind the base. A page copied
//!    verbatim holds root-relative links (`/whl/cu118/…`); where the base is the mirror's root they land below it with
//!    a `whl/` too many, which is dropped (the canonical index has no folder of that name).
//! 3. `/whl/…` on the mirror's host, but not below its base, is such a verbatim link too.
//! 4. Everything else (link pages lead to other hosts) stays what it is.
//!
//! Canonical URLs have no query and write `+` as `%2B`, as the canonical index does.

use url::Url;

use super::client::PYTORCH_HOSTS;
use crate::backend::PYTORCH_INDEX;

const PREFIX: &str = "/whl/";

/// The mapping between canonical URLs and those that are fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirror {
    /// Without a trailing slash, credentials, query and fragment.
    base: Option<Url>,
}

impl Mirror {
    /// The mirror at `base`, or the canonical index itself.
    #[must_use]
    pub fn new(base: Option<Url>) -> Self {
        let base = base.map(|base| {
            let mut base = crate::http::bare(&base);
            let path = base.path().trim_end_matches('/').to_owned();
            base.set_path(&path);
            base
        });
        Self { base }
    }

    /// The index of a channel, with a trailing slash: `<base>/<tag>/`.
    #[must_use]
    pub fn channel_index(&self, tag: &str) -> Option<Url> {
        let base = match &self.base {
            Some(base) => base.as_str().trim_end_matches('/'),
            None => PYTORCH_INDEX,
        };
        Url::parse(&format!("{base}/{tag}/")).ok()
    }

    /// The canonical form of a URL that a channel's page lists.
    #[must_use]
    pub fn canonical_url(&self, url: &Url) -> Url {
        if let Some(rest) = official(url) {
            return canonical(rest).unwrap_or_else(|| url.clone());
        }
        let Some(base) = self.base.as_ref().filter(|base| same_origin(base, url)) else {
            return url.clone();
        };
        let below = url
            .path()
            .strip_prefix(base.path().trim_end_matches('/'))
            .filter(|rest| rest.starts_with('/'))
            .map(|rest| rest.strip_prefix(PREFIX).unwrap_or(&rest[1..]));
        below
            .or_else(|| url.path().strip_prefix(PREFIX))
            .and_then(canonical)
            .unwrap_or_else(|| url.clone())
    }

    /// Where a canonical URL is fetched from; other URLs stay what they are.
    #[must_use]
    pub fn fetch_url(&self, canonical: &Url) -> Url {
        let mapped = self.base.as_ref().and_then(|base| {
            let rest = official(canonical)?;
            Url::parse(&format!("{}/{rest}", base.as_str().trim_end_matches('/'))).ok()
        });
        mapped.unwrap_or_else(|| canonical.clone())
    }
}

/// What stands behind `/whl/` on the official hosts.
fn official(url: &Url) -> Option<&str> {
    let host = url.host_str()?;
    (url.scheme() == "https" && url.port().is_none() && PYTORCH_HOSTS.contains(&host))
        .then(|| url.path().strip_prefix(PREFIX))
        .flatten()
}

fn canonical(rest: &str) -> Option<Url> {
    Url::parse(&format!("{PYTORCH_INDEX}/{}", rest.replace('+', "%2B"))).ok()
}

fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "torch-2.7.0%2Bcu118-cp312-cp312-manylinux_2_28_x86_64.whl";

    fn url(text: &str) -> Url {
        Url::parse(text).expect("a URL")
    }

    /// What a link on the page of `torch` under `base` becomes.
    fn canonical_of(base: Option<&str>, href: &str) -> String {
        let mirror = Mirror::new(base.map(url));
        let page = mirror
            .channel_index("cu118")
            .and_then(|index| index.join("torch/").ok())
            .expect("a page");
        mirror.canonical_url(&page.join(href).expect("a link")).into()
    }

    #[test]
    fn every_form_of_link_has_one_canonical_url() {
        let expected = format!("{PYTORCH_INDEX}/cu118/{FILE}");
        let root_relative = format!("/whl/cu118/{FILE}");
        let relative = format!("../{FILE}");
        let other_host = format!("https://download-r2.pytorch.org/whl/cu118/{FILE}");
        let official = format!("https://download.pytorch.org/whl/cu118/{FILE}?signature=x");
        let plus = root_relative.replace("%2B", "+");
        for base in [
            None,
            Some("https://mirror.example.org/whl"),
            Some("https://mirror.example.org/whl/"),
            Some("https://mirror.example.org/pytorch/whl"),
            Some("https://mirror.example.org"),
            Some("http://127.0.0.1:8080/whl"),
        ] {
            for href in [&root_relative, &relative, &other_host, &official, &plus] {
                assert_eq!(canonical_of(base, href), expected, "{href} under {base:?}");
            }
        }
    }

    #[test]
    fn wheels_at_the_root_of_the_index_stay_there() {
        let file = "pytorch_triton_rocm-3.3.0-cp312-cp312-linux_x86_64.whl";
        for base in [
            None,
            Some("https://mirror.example.org/a/b"),
            Some("https://mirror.example.org/"),
        ] {
            for href in [format!("/whl/{file}"), format!("../../{file}")] {
                assert_eq!(
                    canonical_of(base, &href),
                    format!("{PYTORCH_INDEX}/{file}"),
                    "{href} under {base:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_not_the_mirrors_is_left_alone() {
        for (base, href) in [
            (
                Some("https://mirror.example.org/whl"),
                "https://files.example.org/whl/cu118/a.whl",
            ),
            (
                Some("https://mirror.example.org/whl"),
                "https://mirror.example.org/packages/a.whl",
            ),
            (
                Some("https://mirror.example.org/pytorch"),
                "https://mirror.example.org/pytorch-nightly/a.whl",
            ),
            (
                Some("https://mirror.example.org/whl"),
                "https://mirror.example.org:8443/whl/a.whl",
            ),
            (None, "https://download.pytorch.org/libtorch/a.zip"),
            (None, "https://download.pytorch.org.example.org/whl/a.whl"),
        ] {
            assert_eq!(canonical_of(base, href), href, "{base:?}");
        }
    }

    #[test]
    fn canonical_urls_are_fetched_from_the_mirror() {
        let canonical = url(&format!("{PYTORCH_INDEX}/cu118/{FILE}"));
        assert_eq!(Mirror::default().fetch_url(&canonical), canonical);
        for (base, expected) in [
            ("https://mirror.example.org", "https://mirror.example.org/cu118/"),
            ("http://127.0.0.1:8080/a/", "http://127.0.0.1:8080/a/cu118/"),
            (
                "https://user:secret@mirror.example.org/whl",
                "https://mirror.example.org/whl/cu118/",
            ),
        ] {
            let mirror = Mirror::new(Some(url(base)));
            let fetched = mirror.fetch_url(&canonical);
            assert_eq!(fetched.as_str(), format!("{expected}{FILE}"));
            assert_eq!(mirror.canonical_url(&fetched), canonical, "{base}");
        }
        let other = url("https://files.example.org/whl/a.whl");
        assert_eq!(
            Mirror::new(Some(url("https://mirror.example.org"))).fetch_url(&other),
            other
        );
    }
}
