//! Faults: what can go wrong between an index and its client, armed by path.
//!
//! Owns: which request a fault hits and how it changes the answer. Several faults may hit one request; they are applied
//! in the order in which they were armed.

use super::http::{LoggedRequest, Response};

/// What goes wrong. Byte positions count from the start of the body that is sent.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// The connection is closed in order after so many bytes of the body.
    Truncate(usize),
    /// The connection is reset after so many bytes of the body.
    Reset(usize),
    /// Nothing more is sent after so many bytes of the body, and the connection stays open.
    Stall(usize),
    /// The connection is accepted, and no answer comes.
    StallBeforeHead,
    /// One bit of the byte at this position of the file (not of the range) is flipped.
    Flip(usize),
    /// Another body, with the status and headers of the right one.
    Body(Vec<u8>),
    /// Another status, with headers and a short text.
    Status(u16, &'static [(&'static str, &'static str)]),
    /// The whole file, whatever range was asked for.
    IgnoreRange,
    /// A `Content-Range` that starts this many bytes too late, with the bytes that were asked for.
    ShiftContentRange(u64),
    /// No `Content-Length`; the body ends with the connection.
    NoContentLength,
    /// No `Content-Length`; the body is chunked.
    Chunked,
    /// Another `ETag` each time.
    ChangingEtag,
    /// Neither `ETag` nor `Last-Modified`.
    NoValidators,
    /// So many bytes a second.
    Slow(u64),
    /// A redirect. `{base}` stands for this server, `{path}` for the path that was asked for.
    Redirect(u16, String),
}

/// A fault in the making: an action, and the requests that it hits.
#[derive(Debug, Clone)]
#[must_use]
pub(crate) struct Fault {
    pattern: String,
    action: Action,
    method: Option<&'static str>,
    ranged: Option<bool>,
    skip: usize,
    times: usize,
}

impl Fault {
    /// Hits every request whose path (percent-decoded) contains `pattern`; where it ends in `$`, ends with it.
    pub(crate) fn on(pattern: &str, action: Action) -> Self {
        Self {
            pattern: pattern.to_owned(),
            action,
            method: None,
            ranged: None,
            skip: 0,
            times: usize::MAX,
        }
    }

    /// Hits this many requests and then no more.
    pub(crate) fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Lets this many requests pass first.
    pub(crate) fn after(mut self, skip: usize) -> Self {
        self.skip = skip;
        self
    }

    /// Hits requests of this method alone.
    pub(crate) fn method(mut self, method: &'static str) -> Self {
        self.method = Some(method);
        self
    }

    /// Hits only requests with a `Range` header, or only those without.
    pub(crate) fn ranged(mut self, ranged: bool) -> Self {
        self.ranged = Some(ranged);
        self
    }

    pub(super) fn arm(self) -> Armed {
        Armed { fault: self, seen: 0 }
    }
}

/// A fault that counts the requests it has seen.
#[derive(Debug)]
pub(super) struct Armed {
    fault: Fault,
    seen: usize,
}

impl Armed {
    /// The action, where this request is to be hit; counts it.
    fn hit(&mut self, request: &LoggedRequest) -> Option<(Action, usize)> {
        let fault = &self.fault;
        let path_matches = match fault.pattern.strip_suffix('$') {
            Some(end) => request.path.ends_with(end),
            None => request.path.contains(&fault.pattern),
        };
        let matches = path_matches
            && fault.method.is_none_or(|method| method == request.method)
            && fault.ranged.is_none_or(|ranged| ranged == request.range().is_some());
        if !matches {
            return None;
        }
        let number = self.seen;
        self.seen += 1;
        let active = number >= fault.skip && number - fault.skip < fault.times;
        active.then(|| (fault.action.clone(), number))
    }
}

/// How a response leaves the server.
#[derive(Debug, Clone, Default)]
pub(super) struct Delivery {
    pub(super) end: End,
    pub(super) framing: Framing,
    pub(super) bytes_per_second: Option<u64>,
}

/// Where the body stops.
#[derive(Debug, Clone, Copy, Default)]
pub(super) enum End {
    #[default]
    Whole,
    Truncate(usize),
    Reset(usize),
    Stall(usize),
    StallBeforeHead,
}

/// How the client learns where the body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Framing {
    #[default]
    Length,
    Chunked,
    Close,
}

/// The actions that hit a request.
pub(super) fn hits(faults: &mut [Armed], request: &LoggedRequest) -> Vec<(Action, usize)> {
    faults.iter_mut().filter_map(|fault| fault.hit(request)).collect()
}

/// Changes the request as the server sees it: a server without ranges never sees the header.
pub(super) fn blind(request: &LoggedRequest, hits: &[(Action, usize)]) -> LoggedRequest {
    let mut seen = request.clone();
    if hits.iter().any(|(action, _)| matches!(action, Action::IgnoreRange)) {
        seen.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("range"));
    }
    seen
}

/// Applies the actions to a response and says how to deliver it.
pub(super) fn apply(
    hits: Vec<(Action, usize)>,
    request: &LoggedRequest,
    base: &str,
    response: &mut Response,
) -> Delivery {
    let mut delivery = Delivery::default();
    for (action, number) in hits {
        match action {
            Action::Truncate(at) => delivery.end = End::Truncate(at),
            Action::Reset(at) => delivery.end = End::Reset(at),
            Action::Stall(at) => delivery.end = End::Stall(at),
            Action::StallBeforeHead => delivery.end = End::StallBeforeHead,
            Action::NoContentLength => delivery.framing = Framing::Close,
            Action::Chunked => delivery.framing = Framing::Chunked,
            Action::Slow(rate) => delivery.bytes_per_second = Some(rate),
            Action::Flip(at) => {
                let mut bytes = response.body.to_vec();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 0x20;
                }
                response.body = bytes.into();
            }
            Action::Body(bytes) => {
                response.part = 0..bytes.len();
                response.body = bytes.into();
            }
            Action::Status(status, headers) => {
                *response = Response::new(status, "text/plain", format!("fault {status}\n"));
                for (name, value) in headers {
                    response.set(name, *value);
                }
            }
            Action::IgnoreRange => response.remove("Accept-Ranges"),
            Action::ShiftContentRange(by) => {
                if response.status == 206 {
                    let (start, end) = (response.part.start as u64 + by, response.part.end as u64 + by - 1);
                    response.set("Content-Range", format!("bytes {start}-{end}/{}", response.body.len()));
                }
            }
            Action::ChangingEtag => response.set("ETag", format!("\"etag-{number}\"")),
            Action::NoValidators => {
                response.remove("ETag");
                response.remove("Last-Modified");
            }
            Action::Redirect(status, target) => {
                let target = target.replace("{base}", base).replace("{path}", &request.raw_path);
                *response = Response::new(status, "text/plain", "").with("Location", target);
            }
        }
    }
    delivery
}
