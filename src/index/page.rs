//! Project pages in both forms, PEP 503 HTML and PEP 691 JSON, turned into the same rows.
//!
//! Owns: which form an answer has, what a row means, which rows are wheels of the project. Refuses: answers in another
//! form, pages of an unknown major version. A row that cannot be used never fails the page; it is kept with the reason.

use std::path::Path;

use percent_encoding::percent_decode_str;
use url::Url;

use super::{IndexFile, ProjectPage, html, json};
use crate::digest::WheelDigest;
use crate::document::DocumentError;
use crate::http::{ShownUrl, without_userinfo};
use crate::pep::{PackageName, WheelFilename};
use crate::wheel::metadata::requires_python;

/// The `Accept` header of requests for pages: JSON, then HTML that names its version, then any HTML.
pub const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";

/// An answer that is no page.
#[derive(Debug, thiserror::Error)]
pub enum PageError {
    /// Neither HTML nor JSON.
    #[error("{url} is neither an HTML nor a JSON index page (its type is `{content_type}`)")]
    Form {
        /// The page.
        url: ShownUrl,
        /// The stated type.
        content_type: String,
    },
    /// A format that was defined after this program.
    #[error("{url} is an index page of version {version}; version 1 is known")]
    Version {
        /// The page.
        url: ShownUrl,
        /// The version it states.
        version: String,
    },
    /// JSON that is no page.
    #[error("{url} is not a sound JSON index page")]
    Json {
        /// The page.
        url: ShownUrl,
        /// Why.
        #[source]
        source: DocumentError,
    },
}

/// One link of a page, before anybody asked whether it is a wheel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The last segment of the URL, decoded.
    pub file: String,
    /// Absolute, without user information and fragment.
    pub url: Url,
    /// The stated SHA-256, as text that is yet to be parsed.
    pub sha256: Option<String>,
    /// Size in bytes.
    pub size: Option<u64>,
    /// `requires-python` as written.
    pub requires_python: Option<String>,
    /// The reason of a yanked file.
    pub yanked: Option<String>,
    /// Whether metadata is advertised, and its SHA-256.
    pub metadata: Option<Option<WheelDigest>>,
    /// `upload-time` as written.
    pub upload_time: Option<String>,
}

impl Row {
    /// A row for `href` on a page at `base`; the fragment's `sha256=` becomes the digest.
    pub(super) fn new(base: &Url, href: &str) -> Result<Self, String> {
        let mut url = base
            .join(href)
            .map_err(|error| format!("`{href}` is no usable link ({error})"))?;
        let local = base.scheme() == "file" && url.scheme() == "file";
        if !local && !matches!(url.scheme(), "https" | "http") {
            return Err(format!("`{href}` is no https or http link"));
        }
        let sha256 = url.fragment().and_then(sha256_of_fragment).map(str::to_owned);
        url.set_fragment(None);
        let url = without_userinfo(url);
        let segment = url.path_segments().and_then(|mut all| all.next_back()).unwrap_or("");
        let file = percent_decode_str(segment)
            .decode_utf8()
            .map_err(|_| format!("the file name of `{href}` is no UTF-8"))?
            .into_owned();
        Ok(Self {
            file,
            url,
            sha256,
            size: None,
            requires_python: None,
            yanked: None,
            metadata: None,
            upload_time: None,
        })
    }

    /// The wheel that this row lists, or why it is none that can be used.
    fn into_wheel(self, filename: WheelFilename) -> Result<IndexFile, String> {
        let digest = match self.sha256 {
            None => None,
            Some(text) => Some(
                text.parse::<WheelDigest>()
                    .map_err(|error| format!("{}: {error}", self.file))?,
            ),
        };
        Ok(IndexFile {
            filename,
            file: self.file,
            url: self.url,
            digest,
            size: self.size,
            requires_python: self.requires_python.and_then(|text| requires_python(&text).ok()),
            yanked: self.yanked,
            metadata: self.metadata,
            upload_time: self.upload_time,
        })
    }
}

/// The digest in a fragment; other algorithms count as none.
fn sha256_of_fragment(fragment: &str) -> Option<&str> {
    fragment.split('&').find_map(|part| part.strip_prefix("sha256="))
}

/// The value of `data-core-metadata` and its older name.
#[expect(clippy::option_option, reason = "the shape of `IndexFile::metadata`")]
pub(super) fn metadata_attribute(value: &str) -> Option<Option<WheelDigest>> {
    match value.trim() {
        "" | "false" => None,
        value => Some(value.strip_prefix("sha256=").and_then(|digest| digest.parse().ok())),
    }
}

/// Whether a file name is safe to be the name of a file: wheel names need no other characters.
fn is_plain(file: &str) -> bool {
    !file.starts_with('.')
        && file
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"._+!-".contains(&byte))
}

/// The rows of a page that answered from `url`; a row that is none comes as its reason.
pub fn rows(url: &Url, content_type: Option<&str>, body: &[u8]) -> Result<Vec<Result<Row, String>>, PageError> {
    let stated = content_type.unwrap_or_default();
    let essence = stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let form_error = || PageError::Form {
        url: url.into(),
        content_type: stated.to_owned(),
    };
    let first = body.trim_ascii_start().first().copied();
    let first = if body.starts_with(b"\xef\xbb\xbf") {
        Some(b'<')
    } else {
        first
    };
    match essence.as_str() {
        "application/vnd.pypi.simple.v1+json" | "application/json" => json::rows(url, body),
        "application/vnd.pypi.simple.v1+html" | "text/html" | "application/xhtml+xml" => match first {
            Some(b'<') => html::rows(url, body),
            _ => Err(form_error()),
        },
        "" => match first {
            Some(b'{') => json::rows(url, body),
            Some(b'<') => html::rows(url, body),
            _ => Err(form_error()),
        },
        other => match other.strip_prefix("application/vnd.pypi.simple.v") {
            Some(version) => Err(PageError::Version {
                url: url.into(),
                version: version.split('+').next().unwrap_or(version).to_owned(),
            }),
            None => Err(form_error()),
        },
    }
}

/// Refuses a major version other than 1; pages that state none are of version 1.
pub(super) fn check_version(url: &Url, version: &str) -> Result<(), PageError> {
    if version.split('.').next() == Some("1") {
        Ok(())
    } else {
        Err(PageError::Version {
            url: url.into(),
            version: version.to_owned(),
        })
    }
}

/// Whether rows of other projects are worth mentioning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The page is about one project: a wheel of another one is a fault of the page.
    Project,
    /// The page lists whatever its owner keeps (pip's `find-links`).
    Links,
}

impl ProjectPage {
    /// Sorts rows into wheels of `name`, other files and unusable rows.
    #[must_use]
    pub fn collect(name: &PackageName, rows: Vec<Result<Row, String>>, scope: Scope) -> Self {
        let mut page = Self::default();
        for row in rows {
            match row {
                Ok(row) => page.take(name, row, scope),
                Err(reason) if scope == Scope::Project => page.skipped.push(reason),
                Err(_) => {}
            }
        }
        page
    }

    fn take(&mut self, name: &PackageName, row: Row, scope: Scope) {
        if Path::new(&row.file)
            .extension()
            .is_none_or(|extension| extension != "whl")
        {
            if scope == Scope::Project && !row.file.is_empty() {
                self.not_wheels.push(row.file);
            }
            return;
        }
        let filename = match row.file.parse::<WheelFilename>() {
            Ok(filename) if is_plain(&row.file) => filename,
            Ok(_) => return self.skipped.push(format!("{:?}: odd characters", row.file)),
            Err(_) if scope == Scope::Links => return,
            Err(error) => return self.skipped.push(error.to_string()),
        };
        if filename.name == *name {
            match row.into_wheel(filename) {
                Ok(wheel) => self.wheels.push(wheel),
                Err(reason) => self.skipped.push(reason),
            }
        } else if scope == Scope::Project {
            self.skipped.push(format!("{}: not a wheel of {name}", row.file));
        }
    }

    /// Reads the page of `name` that answered from `url`.
    pub fn parse(name: &PackageName, url: &Url, content_type: Option<&str>, body: &[u8]) -> Result<Self, PageError> {
        Ok(Self::collect(name, rows(url, content_type, body)?, Scope::Project))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "ac1849553ee673dfafb44c610c60cb60a2890f0e117f43599a526cf777eb8b8c";

    fn parse(name: &str, base: &str, content_type: &str, body: &str) -> Result<ProjectPage, PageError> {
        let url = Url::parse(base).expect("a URL");
        ProjectPage::parse(
            &name.parse().expect("a name"),
            &url,
            Some(content_type),
            body.as_bytes(),
        )
    }

    fn html(body: &str) -> ProjectPage {
        parse(
            "torch",
            "https://download.pytorch.org/whl/cu128/torch/",
            "text/html",
            body,
        )
        .expect("a page")
    }

    #[test]
    fn the_pytorch_rows_of_2025_and_2026_are_read() {
        let page = html(&format!(
            "<!DOCTYPE html>\n<html><body><h1>Links for torch</h1>\n\
             <a href=\"/whl/cu128/torch-2.7.0%2Bcu128-cp310-cp310-manylinux_2_28_x86_64.whl#sha256={HASH}\" \
             data-dist-info-metadata=\"sha256={HASH}\" data-core-metadata=\"sha256={HASH}\">\
             torch-2.7.0+cu128-cp310-cp310-manylinux_2_28_x86_64.whl</a><br/>\n\
             <a href=\"https://download-r2.pytorch.org/whl/cu118/torch-2.7.0%2Bcu118-cp312-cp312-win_amd64.whl\" \
             data-upload-time=\"2025-04-22T18:15:02Z\" data-core-metadata=\"true\" \
             data-requires-python=\"&gt;=3.10\">x</a><br/>\n\
             <a href=\"/whl/pytorch_triton-3.0-cp310-cp310-linux_x86_64.whl\">y</a><br/>\n\
             </body></html><!--TIMESTAMP 1745880000-->"
        ));
        assert_eq!(page.wheels.len(), 2);
        let [old, new] = [&page.wheels[0], &page.wheels[1]];
        assert_eq!(
            old.url.as_str(),
            "https://download.pytorch.org/whl/cu128/torch-2.7.0%2Bcu128-cp310-cp310-manylinux_2_28_x86_64.whl"
        );
        assert_eq!(old.file, "torch-2.7.0+cu128-cp310-cp310-manylinux_2_28_x86_64.whl");
        assert_eq!(old.filename.version.to_string(), "2.7.0+cu128");
        let digest = HASH.parse().ok();
        assert_eq!((old.digest, old.metadata, old.size), (digest, Some(digest), None));
        assert_eq!(new.url.host_str(), Some("download-r2.pytorch.org"));
        assert_eq!((new.digest, new.metadata), (None, Some(None)));
        assert_eq!(new.upload_time.as_deref(), Some("2025-04-22T18:15:02Z"));
        assert_eq!(
            new.requires_python.as_ref().map(ToString::to_string).as_deref(),
            Some(">=3.10")
        );
        assert_eq!(
            page.skipped,
            ["pytorch_triton-3.0-cp310-cp310-linux_x86_64.whl: not a wheel of torch"]
        );
    }

    #[test]
    fn base_yanked_and_relative_links_follow_pep_503() {
        let page = html(
            "<html><head><base href=\"https://files.example.org/a/b/\"></head><body>\
             <a href=\"../torch-1-py3-none-any.whl#md5=00\" data-yanked>1</a>\
             <a href='torch-2-py3-none-any.whl#egg=x&amp;sha256=nonsense' data-yanked='broken &amp; bad'>2</a>\
             <a href=\"//other.example.org/torch-3-py3-none-any.whl\" data-yanked=\"broken &amp; bad\" \
             data-requires-python=\"garbage\">3</a>\
             <a href=\"torch-4.tar.gz\">4</a><a href=\"torch-nonsense.whl\">5</a>\
             <a href=\"file:///etc/torch-6-py3-none-any.whl\">6</a><a>no link</a><a href=\"http://[\">7</a>\
             <a href=\"..%2Ftorch-8-py3-none-any.whl\">8</a><a href=\"https://u:p@example.org/torch-9-py3-none-any.whl\">9</a>",
        );
        let wheels: Vec<_> = page
            .wheels
            .iter()
            .map(|wheel| (wheel.url.as_str(), wheel.yanked.as_deref()))
            .collect();
        assert_eq!(
            wheels,
            [
                ("https://files.example.org/a/torch-1-py3-none-any.whl", Some("")),
                (
                    "https://other.example.org/torch-3-py3-none-any.whl",
                    Some("broken & bad")
                ),
                ("https://example.org/torch-9-py3-none-any.whl", None),
            ]
        );
        assert_eq!(page.wheels[0].digest, None);
        assert_eq!(page.wheels[1].requires_python, None);
        assert_eq!(page.not_wheels, ["torch-4.tar.gz"]);
        assert_eq!(page.skipped.len(), 5, "{:?}", page.skipped);
    }

    #[test]
    fn pep_691_rows_are_read_and_bad_ones_skipped() {
        let page = parse(
            "sympy",
            "https://index.example.org/simple/sympy/",
            "application/vnd.pypi.simple.v1+json; charset=utf-8",
            &format!(
                r#"{{"meta": {{"api-version": "1.4"}}, "name": "sympy", "files": [
                {{"filename": "sympy-1.14.0-py3-none-any.whl", "url": "../../f/sympy-1.14.0-py3-none-any.whl",
                  "hashes": {{"sha256": "{HASH}", "md5": "00"}}, "requires-python": ">=3.9", "size": 6299353,
                  "upload-time": "2025-04-27T18:04:59Z", "yanked": false, "core-metadata": {{"sha256": "{HASH}"}}}},
                {{"filename": "sympy-1.13.0-py3-none-any.whl", "url": "https://f.example.org/sympy-1.13.0-py3-none-any.whl",
                  "hashes": {{}}, "yanked": true, "dist-info-metadata": true, "core-metadata": null}},
                {{"filename": "sympy-1.12-py3-none-any.whl", "url": "https://f.example.org/sympy-1.12-py3-none-any.whl",
                  "hashes": {{}}, "yanked": "wrong pin", "core-metadata": false, "requires-python": null}},
                {{"filename": "sympy-1.11-py3-none-any.whl", "url": "https://f.example.org/other-1-py3-none-any.whl", "hashes": {{}}}},
                {{"filename": 7}}, "text",
                {{"filename": "sympy-1.14.0.tar.gz", "url": "sympy-1.14.0.tar.gz", "hashes": {{"sha256": "x"}}}}]}}"#
            ),
        )
        .expect("a page");
        let digest = HASH.parse().ok();
        let [a, b, c] = page.wheels.as_slice() else {
            panic!("{page:?}")
        };
        assert_eq!(
            a.url.as_str(),
            "https://index.example.org/f/sympy-1.14.0-py3-none-any.whl"
        );
        assert_eq!(
            (a.digest, a.size, a.metadata, a.yanked.as_deref()),
            (digest, Some(6_299_353), Some(digest), None)
        );
        assert_eq!(
            (b.digest, b.metadata, b.yanked.as_deref()),
            (None, Some(None), Some(""))
        );
        assert_eq!((c.metadata, c.yanked.as_deref()), (None, Some("wrong pin")));
        assert_eq!(page.not_wheels, ["sympy-1.14.0.tar.gz"]);
        assert_eq!(page.skipped.len(), 3, "{:?}", page.skipped);
    }

    #[test]
    fn what_is_no_page_says_so() {
        let rows = [
            (
                "application/vnd.pypi.simple.v1+json",
                r#"{"meta": {"api-version": "2.0"}, "files": []}"#,
                "version 2.0",
            ),
            ("application/vnd.pypi.simple.v2+json", "{}", "version 2"),
            ("application/vnd.pypi.simple.v1+json", "<html>", "not a sound JSON"),
            (
                "application/vnd.pypi.simple.v1+json",
                r#"{"meta": {}}"#,
                "not a sound JSON",
            ),
            (
                "application/xml",
                "<Error><Code>AccessDenied</Code></Error>",
                "application/xml",
            ),
            ("application/octet-stream", "\u{0}", "neither"),
            ("text/html", "Service unavailable", "neither"),
            ("", "hello", "neither"),
            (
                "text/html",
                "<meta name=\"pypi:repository-version\" content=\"2.0\"><a href=\"x\">x</a>",
                "version 2.0",
            ),
        ];
        for (content_type, body, part) in rows {
            let error = parse("torch", "https://example.org/torch/?key=secret", content_type, body).expect_err(body);
            assert!(error.to_string().contains(part), "{error}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
        assert!(parse("torch", "https://example.org/", "", " {\"files\": []}").is_ok());
        assert!(
            parse(
                "torch",
                "https://example.org/",
                "TEXT/HTML; charset=utf-8",
                "<html></html>"
            )
            .is_ok()
        );
    }

    proptest::proptest! {
        #[test]
        fn any_body_is_a_page_or_an_error(body in "\\PC{0,200}", json in proptest::bool::ANY) {
            let content_type = if json { "application/json" } else { "text/html" };
            parse("torch", "https://example.org/torch/", content_type, &body).ok();
            html(&format!("<a href=\"{body}\" data-core-metadata='{body}'>x"));
        }
    }
}
