//! PEP 503: a page is a list of links, and what is known about a file stands in attributes.

use scraper::{Html, Selector};
use url::Url;

use super::page::{PageError, Row, check_version, metadata_attribute};

/// The rows of an HTML page that answered from `url`.
pub(super) fn rows(url: &Url, body: &[u8]) -> Result<Vec<Result<Row, String>>, PageError> {
    let document = Html::parse_document(&String::from_utf8_lossy(body));
    let first = |selector: &str, attribute: &str| {
        let selector = Selector::parse(selector).ok()?;
        let element = document.select(&selector).next()?;
        element.attr(attribute).map(str::to_owned)
    };
    if let Some(version) = first("meta[name='pypi:repository-version']", "content") {
        check_version(url, &version)?;
    }
    let base = first("base[href]", "href")
        .and_then(|href| url.join(&href).ok())
        .unwrap_or_else(|| url.clone());
    let Ok(links) = Selector::parse("a[href]") else {
        return Ok(Vec::new());
    };
    Ok(document
        .select(&links)
        .map(|link| {
            let attribute = |name| link.attr(name);
            let mut row = Row::new(&base, attribute("href").unwrap_or_default())?;
            row.requires_python = attribute("data-requires-python").map(str::to_owned);
            row.yanked = attribute("data-yanked").map(str::to_owned);
            row.metadata = attribute("data-core-metadata")
                .or_else(|| attribute("data-dist-info-metadata"))
                .and_then(metadata_attribute);
            row.upload_time = attribute("data-upload-time").map(str::to_owned);
            Ok(row)
        })
        .collect())
}
