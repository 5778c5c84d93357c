//! Fetched pages and how long they are believed: `pages/` of the cache, revalidated with `ETag` and `Last-Modified`.
//!
//! A stored page is one JSON line (where it came from, validators, when) and the body as it came. A file that does not
//! read so counts as absent. In offline mode a stored page is used whatever its age.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use url::Url;

use super::page::ACCEPT;
use crate::cache::Cache;
use crate::fsx::PathError;
use crate::http::{self, Document, Http, bare};

/// The largest page that is read; the largest known ones have some 30 MB.
const LIMIT: u64 = 256 << 20;

/// No page is believed for longer than this many seconds, whatever the server says.
const MAX_AGE: u64 = 600;

/// How recent a page must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// A stored page may be used for as long as its server allowed, within reason.
    Usual,
    /// The server is asked, unless offline.
    Asked,
}

/// A page as it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The URL that answered, after redirects, without query: what relative links refer to.
    pub url: Url,
    /// The stated content type.
    pub content_type: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    schema: u32,
    url: Url,
    content_type: Option<String>,
    etag: Option<String>,
    last_modified: Option<String>,
    max_age: u64,
    fetched: u64,
}

/// Fetches pages through the cache.
#[derive(Debug, Clone)]
pub struct PageStore {
    http: Arc<Http>,
    cache: Cache,
}

impl PageStore {
    /// Pages fetched by `http`, kept in `cache`.
    #[must_use]
    pub fn new(http: Arc<Http>, cache: Cache) -> Self {
        Self { http, cache }
    }

    /// The page at `url`.
    pub fn get(&self, url: &Url, freshness: Freshness) -> Result<Result<Fetched, http::Error>, PathError> {
        let path = self.cache.page_path(url);
        let stored = Cache::read(&path)?.and_then(|bytes| decode(&bytes));
        if let Some((head, body)) = &stored
            && (self.http.is_offline() || freshness == Freshness::Usual && is_fresh(head, now()))
        {
            return Ok(Ok(fetched(head, body.clone())));
        }
        let mut request = self.http.get(url).header("accept", ACCEPT);
        if let Some((head, _)) = &stored {
            if let Some(etag) = &head.etag {
                request = request.header("if-none-match", etag);
            }
            if let Some(date) = &head.last_modified {
                request = request.header("if-modified-since", date);
            }
        }
        let document = match request.document(LIMIT) {
            Ok(document) => document,
            Err(error) => return Ok(Err(error)),
        };
        let (head, body) = match stored {
            Some((head, body)) if document.status == 304 => (renewed(head, &document), body),
            _ => (head_of(&document), document.body),
        };
        // Pages are kept to save time; a cache that cannot be written (read-only, full) must not stop a resolution.
        self.cache.write(&path, &encode(&head, &body)).ok();
        Ok(Ok(fetched(&head, body)))
    }

    /// Forgets a page that is of no use.
    pub fn forget(&self, url: &Url) {
        // Where that cannot be, the next answer replaces it.
        self.cache.forget(&self.cache.page_path(url)).ok();
    }

    /// The network behind it.
    #[must_use]
    pub fn http(&self) -> &Arc<Http> {
        &self.http
    }

    /// The cache behind it.
    #[must_use]
    pub fn cache(&self) -> &Cache {
        &self.cache
    }
}

fn fetched(head: &Head, body: Vec<u8>) -> Fetched {
    Fetched {
        url: head.url.clone(),
        content_type: head.content_type.clone(),
        body,
    }
}

fn head_of(document: &Document) -> Head {
    let text = |name| document.header(name).map(str::to_owned);
    Head {
        schema: 1,
        url: bare(&document.url),
        content_type: text("content-type"),
        etag: text("etag"),
        last_modified: text("last-modified"),
        max_age: max_age(document.header("cache-control")),
        fetched: now(),
    }
}

/// A stored head after the server confirmed it: the body stays, the clock starts again.
fn renewed(head: Head, document: &Document) -> Head {
    let fresh = head_of(document);
    Head {
        etag: fresh.etag.or(head.etag),
        last_modified: fresh.last_modified.or(head.last_modified),
        max_age: fresh.max_age,
        fetched: fresh.fetched,
        ..head
    }
}

fn max_age(cache_control: Option<&str>) -> u64 {
    let directives = || cache_control.unwrap_or_default().split(',').map(str::trim);
    if directives().any(|one| one.eq_ignore_ascii_case("no-cache") || one.eq_ignore_ascii_case("no-store")) {
        return 0;
    }
    directives()
        .find_map(|one| one.to_ascii_lowercase().strip_prefix("max-age=")?.parse().ok())
        .unwrap_or(0)
        .min(MAX_AGE)
}

/// A page from the future was stored under another clock; it is asked for again.
fn is_fresh(head: &Head, now: u64) -> bool {
    now.checked_sub(head.fetched)
        .is_some_and(|age| age < head.max_age.min(MAX_AGE))
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

fn encode(head: &Head, body: &[u8]) -> Vec<u8> {
    let mut bytes = serde_json::to_vec(head).unwrap_or_default();
    bytes.push(b'\n');
    bytes.extend_from_slice(body);
    bytes
}

fn decode(bytes: &[u8]) -> Option<(Head, Vec<u8>)> {
    let end = bytes.iter().position(|&byte| byte == b'\n')?;
    let head: Head = serde_json::from_slice(&bytes[..end]).ok()?;
    (head.schema == 1).then(|| (head, bytes[end + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{Reply, Server, http, options};

    fn store(folder: &tempfile::TempDir, http: Http) -> PageStore {
        PageStore::new(Arc::new(http), Cache::new(folder.path()))
    }

    fn get(store: &PageStore, url: &Url, freshness: Freshness) -> Fetched {
        store.get(url, freshness).expect("a readable cache").expect("an answer")
    }

    #[test]
    fn pages_are_revalidated_and_read_offline() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start(|seen| match seen.header("if-none-match") {
            Some("\"one\"") => Reply::new(304, ""),
            _ => Reply::new(200, "<html>")
                .with("etag", "\"one\"")
                .with("content-type", "text/html"),
        });
        let url = server.at("simple/a/");
        let first = get(&store(&folder, http()), &url, Freshness::Usual);
        let again = get(&store(&folder, http()), &url, Freshness::Usual);
        assert_eq!(first, again);
        assert_eq!(again.body, b"<html>");
        assert_eq!(server.seen().len(), 2);
        assert!(
            server.seen()[1]
                .header("accept")
                .is_some_and(|accept| accept.starts_with("application/vnd"))
        );

        let offline = Http::new(http::Options {
            offline: true,
            ..options()
        });
        let offline = store(&folder, offline);
        assert_eq!(get(&offline, &url, Freshness::Asked), first);
        let absent = offline
            .get(&server.at("simple/b/"), Freshness::Usual)
            .expect("readable");
        assert!(matches!(absent, Err(http::Error::Offline { .. })), "{absent:?}");
        assert_eq!(server.seen().len(), 2);
    }

    #[test]
    fn a_page_is_believed_for_its_max_age_unless_asked() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start(|_| Reply::new(200, "<html>").with("cache-control", "public, max-age=600"));
        let store = store(&folder, http());
        get(&store, &server.url, Freshness::Usual);
        get(&store, &server.url, Freshness::Usual);
        assert_eq!(server.seen().len(), 1);
        get(&store, &server.url, Freshness::Asked);
        assert_eq!(server.seen().len(), 2);
    }

    #[test]
    fn ages_have_bounds() {
        for (header, seconds) in [
            (None, 0),
            (Some("max-age=60"), 60),
            (Some("max-age=31536000, immutable"), MAX_AGE),
            (Some("no-cache,no-store,must-revalidate,max-age=60"), 0),
            (Some("max-age=soon"), 0),
        ] {
            assert_eq!(max_age(header), seconds, "{header:?}");
        }
        let head = Head {
            schema: 1,
            url: Url::parse("https://example.org/").expect("a URL"),
            content_type: None,
            etag: None,
            last_modified: None,
            max_age: 10,
            fetched: 1000,
        };
        assert!(is_fresh(&head, 1009));
        assert!(!is_fresh(&head, 1010));
        assert!(!is_fresh(&head, 999), "stored in the future");
    }

    #[test]
    fn damaged_files_count_as_absent() {
        for bytes in [&b""[..], b"{}", b"{}\n", b"no json\nbody", b"{\"schema\":2}\n"] {
            assert!(decode(bytes).is_none());
        }
    }
}
