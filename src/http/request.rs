//! One GET request: redirects, retries, and the body with its bounds.

use std::io::Read as _;
use std::time::{Duration, Instant};

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::credentials::Login;
use super::error::{Error, ShownUrl, before_head, host, in_body, without_userinfo};
use super::{Http, MAX_REDIRECTS, retry};
use crate::html;

/// A GET request that is not sent yet.
#[derive(Debug)]
#[must_use]
pub struct Request<'a> {
    http: &'a Http,
    url: Url,
    headers: HeaderMap,
    bulk: bool,
}

impl<'a> Request<'a> {
    pub(super) fn new(http: &'a Http, url: Url) -> Self {
        Self {
            http,
            url,
            headers: HeaderMap::new(),
            bulk: false,
        }
    }

    /// Sets a header. A value that no header can hold is left out: such values only come from servers (an `ETag` to
    /// send back), and without them the request is still right.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(HeaderName::from_static(name), value);
        }
        self
    }

    /// Asks for the bytes from `first` on, to `last` inclusive where given.
    pub fn range(self, first: u64, last: Option<u64>) -> Self {
        let last = last.map(|last| last.to_string()).unwrap_or_default();
        self.bytes_as_they_are()
            .header("range", &format!("bytes={first}-{last}"))
    }

    /// Asks for the last `count` bytes.
    pub fn suffix(self, count: u64) -> Self {
        self.bytes_as_they_are().header("range", &format!("bytes=-{count}"))
    }

    /// Announces a large file: a connection of its own, no compression on the way. An HTML page is no answer to it.
    pub fn bulk(mut self) -> Self {
        self.bulk = true;
        self.bytes_as_they_are()
    }

    /// Offsets and digests are about the file itself, so no coding may be applied on the way.
    fn bytes_as_they_are(self) -> Self {
        self.header("accept-encoding", "identity")
    }

    /// Sends once, following redirects; answers other than 2xx and 304 are [`Error::Status`].
    pub fn send_once(&self) -> Result<Response, Error> {
        if self.http.is_offline() {
            return Err(Error::Offline {
                url: (&self.url).into(),
            });
        }
        let mut hop = self.url.clone();
        let mut before: Vec<Url> = Vec::new();
        for _ in 0..=MAX_REDIRECTS {
            if let Some(reason) = self.http.refusal(&hop) {
                return Err(Error::Refused {
                    url: (&hop).into(),
                    reason,
                });
            }
            let answer = self.exchange(&hop, &before)?;
            let status = answer.status().as_u16();
            match status {
                200..=299 | 304 => {
                    let mut response = Response::new(answer, self.url.clone(), hop);
                    // A part of a file says nothing of its beginning.
                    if self.bulk && status != 206 {
                        response.refuse_page()?;
                    }
                    return Ok(response);
                }
                301 | 302 | 303 | 307 | 308 if answer.headers().contains_key("location") => {
                    let next = self.next_hop(&hop, &answer)?;
                    before.push(std::mem::replace(&mut hop, next));
                }
                code => {
                    let retry_after = answer
                        .headers()
                        .get("retry-after")
                        .and_then(|value| value.to_str().ok())
                        .and_then(retry::retry_after);
                    return Err(Error::Status {
                        host: host(&hop),
                        code,
                        url: (&self.url).into(),
                        retry_after,
                    });
                }
            }
        }
        Err(Error::TooManyRedirects {
            url: (&self.url).into(),
            limit: MAX_REDIRECTS,
        })
    }

    /// Sends, and again where that may help.
    pub fn send(&self) -> Result<Response, Error> {
        self.http.retry().run(|| self.send_once())
    }

    /// Fetches a small document whole, and again where that may help; more than `limit` bytes are an error.
    pub fn document(&self, limit: u64) -> Result<Document, Error> {
        self.http.retry().run(|| {
            let response = self.send_once()?;
            response.into_document(limit, self.http.options.document_timeout)
        })
    }

    /// One request to one host, which `before` redirected to. The login goes along only where it belongs.
    fn exchange(&self, hop: &Url, before: &[Url]) -> Result<reqwest::blocking::Response, Error> {
        let client = self.http.client(hop, self.bulk)?;
        let ask = |login: Option<&Login>| {
            let mut request = client.get(hop.clone()).headers(self.headers.clone());
            if let Some(Login { user, password }) = login {
                request = request.basic_auth(user, password.as_ref());
            }
            request.send().map_err(|source| before_head(source, &self.url, hop))
        };
        let logins = &self.http.logins;
        let login = logins.of(hop, before);
        let answer = ask(login.as_ref())?;
        if answer.status().as_u16() == 401
            && let Some(other) = logins.after_refusal(hop, before, login.as_ref())
        {
            return ask(Some(&other));
        }
        Ok(answer)
    }

    /// Where a redirect leads, if it may be followed.
    fn next_hop(&self, hop: &Url, answer: &reqwest::blocking::Response) -> Result<Url, Error> {
        let location = answer
            .headers()
            .get("location")
            .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
            .unwrap_or_default();
        let refused = |to: String, reason| Error::RedirectRefused {
            url: (&self.url).into(),
            to,
            reason,
        };
        let next = hop
            .join(&location)
            .map_err(|_| refused("an unreadable address".to_owned(), "it is no URL"))?;
        let next = without_userinfo(next);
        if hop.scheme() == "https" && next.scheme() == "http" {
            return Err(refused(ShownUrl::from(&next).to_string(), "it leaves https for http"));
        }
        if let Some(reason) = self.http.refusal(&next) {
            return Err(refused(ShownUrl::from(&next).to_string(), reason));
        }
        Ok(next)
    }
}

/// What a `Content-Range` header says of a 206 answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    /// The first byte's offset.
    pub first: u64,
    /// The last byte's offset.
    pub last: u64,
    /// The length of the whole file, where the server tells it.
    pub total: Option<u64>,
}

impl ContentRange {
    /// Reads `bytes 0-99/1234` or `bytes 0-99/*`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (range, total) = text.trim().strip_prefix("bytes ")?.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let total = match total {
            "*" => None,
            total => Some(total.parse().ok()?),
        };
        let range = Self {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
            total,
        };
        let sound = range.first <= range.last && range.total.is_none_or(|total| range.last < total);
        sound.then_some(range)
    }
}

/// An answer whose body is still to be read.
#[derive(Debug)]
pub struct Response {
    inner: reqwest::blocking::Response,
    asked: Url,
    hop: Url,
    received: u64,
    length: Option<u64>,
    /// Bytes that arrived and were not asked for yet.
    ahead: Vec<u8>,
}

impl Response {
    fn new(inner: reqwest::blocking::Response, asked: Url, hop: Url) -> Self {
        // The body's own length; unknown where it is decoded on the way or sent in chunks.
        let length = inner.content_length();
        Self {
            inner,
            asked,
            hop,
            received: 0,
            length,
            ahead: Vec::new(),
        }
    }

    /// Reads the beginning of the body, and refuses an HTML page.
    fn refuse_page(&mut self) -> Result<(), Error> {
        let mut head = vec![0; html::HEAD];
        let mut filled = 0;
        while html::is_undecided(&head[..filled]) {
            match self.receive(&mut head[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if filled == 0 => return Err(error),
                // What arrived counts; whoever reads on meets the error again.
                Err(_) => break,
            }
        }
        head.truncate(filled);
        if html::is_page(&head, self.header("content-type")) {
            return Err(Error::HtmlPage {
                host: host(&self.hop),
                url: (&self.asked).into(),
            });
        }
        self.ahead = head;
        Ok(())
    }

    /// The status code: 2xx or 304.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.inner.status().as_u16()
    }

    /// The URL that answered, after redirects; without user information, but with its query.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.hop
    }

    /// A header's value, where it is there and text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.inner.headers().get(name)?.to_str().ok()
    }

    /// The length of the body, where it is known beforehand.
    #[must_use]
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The range of a 206 answer, where the header is there and sound.
    #[must_use]
    pub fn content_range(&self) -> Option<ContentRange> {
        ContentRange::parse(self.header("content-range")?)
    }

    /// Reads the next bytes of the body; 0 is its end, and only a complete body has one.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        if self.ahead.is_empty() {
            return self.receive(buffer);
        }
        let count = buffer.len().min(self.ahead.len());
        buffer[..count].copy_from_slice(&self.ahead[..count]);
        self.ahead.drain(..count);
        Ok(count)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let count = loop {
            match self.inner.read(buffer) {
                Ok(count) => break count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(in_body(error, &self.asked, &self.hop, self.received)),
            }
        };
        self.received += count as u64;
        if count == 0 && !buffer.is_empty() && self.length.is_some_and(|length| self.received < length) {
            return Err(Error::Truncated {
                url: (&self.asked).into(),
                received: self.received,
                source: None,
            });
        }
        Ok(count)
    }

    /// Reads the whole body; more than `limit` bytes, or more than `patience` altogether, are an error.
    pub fn into_document(mut self, limit: u64, patience: Duration) -> Result<Document, Error> {
        let too_large = || Error::TooLarge {
            url: (&self.asked).into(),
            limit,
        };
        if self.length.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let started = Instant::now();
        let mut body = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let count = self.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            body.extend_from_slice(&buffer[..count]);
            if body.len() as u64 > limit {
                return Err(Error::TooLarge {
                    url: (&self.asked).into(),
                    limit,
                });
            }
            // A server that sends a byte a second never runs into the read timeout.
            if started.elapsed() > patience {
                return Err(Error::Timeout {
                    host: host(&self.hop),
                    url: (&self.asked).into(),
                });
            }
        }
        Ok(Document {
            status: self.status(),
            url: self.hop.clone(),
            headers: self.inner.headers().clone(),
            body,
        })
    }
}

/// An answer with its whole body.
#[derive(Debug, Clone)]
pub struct Document {
    /// The status code: 2xx or 304.
    pub status: u16,
    /// The URL that answered, after redirects.
    pub url: Url,
    /// The body.
    pub body: Vec<u8>,
    headers: HeaderMap,
}

impl Document {
    /// A header's value, where it is there and text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The range of a 206 answer, where the header is there and sound.
    #[must_use]
    pub fn content_range(&self) -> Option<ContentRange> {
        ContentRange::parse(self.header("content-range")?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read_strictly() {
        let range = |first, last, total| Some(ContentRange { first, last, total });
        assert_eq!(ContentRange::parse("bytes 0-99/1234"), range(0, 99, Some(1234)));
        assert_eq!(ContentRange::parse("bytes 5-5/*"), range(5, 5, None));
        for text in [
            "bytes 9-5/100",
            "bytes 0-100/100",
            "bytes */100",
            "items 0-1/2",
            "bytes 0-1",
            "",
        ] {
            assert_eq!(ContentRange::parse(text), None, "{text}");
        }
    }
}
