//! PEP 691: the same page as JSON. Each row is read on its own, so that a bad one costs only itself.

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::page::{PageError, Row, check_version};
use crate::digest::WheelDigest;
use crate::document::DocumentError;

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    meta: Meta,
    files: Vec<Value>,
}

#[derive(Deserialize, Default)]
struct Meta {
    #[serde(rename = "api-version")]
    api_version: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: Hashes,
    requires_python: Option<String>,
    size: Option<u64>,
    upload_time: Option<String>,
    yanked: Option<Yanked>,
    core_metadata: Option<Advertised>,
    /// What `core-metadata` was called before PEP 714.
    dist_info_metadata: Option<Advertised>,
}

#[derive(Deserialize, Default)]
struct Hashes {
    sha256: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Yanked {
    Flag(bool),
    Reason(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Advertised {
    Flag(bool),
    Hashes(Hashes),
}

impl Advertised {
    #[expect(clippy::option_option, reason = "the shape of `IndexFile::metadata`")]
    fn into_metadata(self) -> Option<Option<WheelDigest>> {
        match self {
            Self::Flag(false) => None,
            Self::Flag(true) => Some(None),
            Self::Hashes(hashes) => Some(hashes.sha256.and_then(|digest| digest.parse().ok())),
        }
    }
}

/// The rows of a JSON page that answered from `url`.
pub(super) fn rows(url: &Url, body: &[u8]) -> Result<Vec<Result<Row, String>>, PageError> {
    let page: Page = serde_json::from_slice(body).map_err(|error| PageError::Json {
        url: url.into(),
        source: DocumentError::json(body, &error),
    })?;
    if let Some(version) = page.meta.api_version {
        check_version(url, &version)?;
    }
    Ok(page.files.into_iter().map(|file| row(url, file)).collect())
}

fn row(base: &Url, file: Value) -> Result<Row, String> {
    let file: File = serde_json::from_value(file)
        .map_err(|error| format!("a row of the page is unsound: {}", DocumentError::json(b"", &error)))?;
    let mut row = Row::new(base, &file.url)?;
    if row.file != file.filename {
        return Err(format!("{}: its URL ends in {:?}", file.filename, row.file));
    }
    row.sha256 = file.hashes.sha256.or(row.sha256);
    row.requires_python = file.requires_python;
    row.size = file.size;
    row.upload_time = file.upload_time;
    row.yanked = match file.yanked {
        None | Some(Yanked::Flag(false)) => None,
        Some(Yanked::Flag(true)) => Some(String::new()),
        Some(Yanked::Reason(reason)) => Some(reason),
    };
    row.metadata = file
        .core_metadata
        .or(file.dist_info_metadata)
        .and_then(Advertised::into_metadata);
    Ok(row)
}
