//! Requests and responses of HTTP/1.1, as far as an index server needs them.
//!
//! Owns: parsing a request head, percent decoding, byte ranges. Refuses nothing politely: a request that is not
//! understood ends its connection, and the test that sent it.

use std::fmt;
use std::io::{self, BufRead};
use std::ops::Range;
use std::sync::Arc;

/// A request as the log keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LoggedRequest {
    pub(crate) method: String,
    /// As it stood on the request line.
    pub(crate) raw_path: String,
    /// Percent-decoded, without the query.
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    /// The status that was sent; 0 where the connection was ended without one.
    pub(crate) status: u16,
}

impl LoggedRequest {
    /// A header by its name, in any case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// The `Range` header.
    pub(crate) fn range(&self) -> Option<&str> {
        self.header("range")
    }
}

impl fmt::Display for LoggedRequest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.method, self.path)?;
        if let Some(range) = self.range() {
            write!(formatter, " [{range}]")?;
        }
        write!(formatter, " -> {}", self.status)
    }
}

/// Reads one request head; `None` at the end of the connection. Bodies are not expected.
pub(crate) fn read_request(reader: &mut impl BufRead) -> io::Result<Option<LoggedRequest>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::Error::other("no request line"));
    };
    let raw_path = target.to_owned();
    let mut request = LoggedRequest {
        method: method.to_owned(),
        path: decode(raw_path.split(['?', '#']).next().unwrap_or_default()),
        raw_path,
        headers: Vec::new(),
        status: 0,
    };
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::Error::other("the head ends early"));
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            return Ok(Some(request));
        };
        request.headers.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// A response before faults are applied to it.
#[derive(Debug, Clone)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Arc<[u8]>,
    /// The part of `body` to send.
    pub(super) part: Range<usize>,
}

impl Response {
    pub(super) fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::shared(status, content_type, body.into().into())
    }

    pub(super) fn shared(status: u16, content_type: &str, body: Arc<[u8]>) -> Self {
        Self {
            status,
            headers: vec![("Content-Type".to_owned(), content_type.to_owned())],
            part: 0..body.len(),
            body,
        }
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    /// Sets a header, replacing one of the same name.
    pub(super) fn set(&mut self, name: &str, value: impl Into<String>) {
        self.remove(name);
        self.headers.push((name.to_owned(), value.into()));
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.headers.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Turns a whole file into what the request's `Range` and `If-Range` ask for.
    pub(super) fn ranged(mut self, request: &LoggedRequest) -> Self {
        self.set("Accept-Ranges", "bytes");
        let whole = self.body.len();
        let validator = request.header("if-range");
        let unchanged = validator
            .is_none_or(|wanted| self.header("etag") == Some(wanted) || self.header("last-modified") == Some(wanted));
        let Some(wanted) = request.range().filter(|_| unchanged) else {
            return self;
        };
        match parse_range(wanted, whole) {
            Wanted::Everything => {}
            Wanted::Part(part) => {
                self.status = 206;
                self.set(
                    "Content-Range",
                    format!("bytes {}-{}/{whole}", part.start, part.end - 1),
                );
                self.part = part;
            }
            Wanted::Nothing => {
                self.status = 416;
                self.set("Content-Range", format!("bytes */{whole}"));
                self.part = 0..0;
            }
        }
        self
    }
}

enum Wanted {
    Everything,
    Part(Range<usize>),
    Nothing,
}

/// RFC 9110, 14.1.2, for one range; several ranges and other units are answered with the whole file.
fn parse_range(header: &str, whole: usize) -> Wanted {
    let spec = header.strip_prefix("bytes=").filter(|spec| !spec.contains(','));
    let Some((first, last)) = spec.and_then(|spec| spec.split_once('-')) else {
        return Wanted::Everything;
    };
    let (first, last) = (first.trim().parse::<usize>(), last.trim().parse::<usize>());
    let part = match (first, last) {
        (Ok(first), Ok(last)) if first <= last => first..last.saturating_add(1).min(whole),
        (Ok(first), Err(_)) => first..whole,
        (Err(_), Ok(suffix)) => whole.saturating_sub(suffix)..whole,
        _ => return Wanted::Everything,
    };
    if part.is_empty() {
        Wanted::Nothing
    } else {
        Wanted::Part(part)
    }
}

/// Percent decoding; `+` stays `+`.
pub(super) fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = (*first == b'%').then(|| tail.get(..2)).flatten();
        let value = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.unwrap_or(*first));
        rest = if value.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The reason phrase of a status.
pub(super) const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        416 => "Range Not Satisfiable",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Status",
    }
}
