//! One large wheel over several connections.
//!
//! The answer to the first request is read as long as its next bytes are wanted; beside it, further connections fetch
//! later segments by range. Each connection takes the lowest segment that nobody has, so that the digest can follow.
//! What breaks is tried again per segment, not per file. A server that refuses ranges, or answers others than asked,
//! is read front to back instead.
//!
//! Source of the rules: RFC 9110 §13.1.5 (`If-Range`), §14 (ranges).

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use url::Url;

use super::error::Error;
use super::part::{Origin, Part};
use super::{Fetcher, Run, Wanted};
use crate::fsx::{PathContext as _, PathError};
use crate::http::{self, Response};
use crate::progress::Event;
use crate::threads;

/// Bytes are written in blocks of this size, each of which counts once it is written.
const BLOCK: usize = 1 << 20;

/// One wheel has no more connections than this beside its first: several wheels are fetched at a time.
const MAX_HELPERS: usize = 7;

/// Connections beyond the first of each wheel that a run may still open. Many connections at once time out on slow
/// lines, so there is one bound for all wheels together.
#[derive(Debug)]
pub(super) struct Connections(AtomicUsize);

/// One connection of [`Connections`], given back when dropped.
struct Permit<'a>(&'a AtomicUsize);

impl Connections {
    pub(super) fn new(count: usize) -> Self {
        Self(AtomicUsize::new(count))
    }

    fn take(&self) -> Option<Permit<'_>> {
        let less = |count: usize| count.checked_sub(1);
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
            .ok()
            .map(|_| Permit(&self.0))
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// So often it is noted what has arrived.
const NOTE_EVERY: Duration = Duration::from_millis(250);

/// How a split download ended that did not complete the part.
pub(super) enum Trouble {
    /// Trying again, or another source, may help.
    Failed(Error),
    /// The server does not answer ranges as it should: the file must be read front to back.
    NoRanges,
}

/// One wheel that is being fetched in segments.
pub(super) struct Split<'a> {
    pub(super) fetcher: &'a Fetcher<'a>,
    pub(super) run: &'a Run<'a>,
    pub(super) wanted: &'a Wanted,
    pub(super) url: &'a Url,
    /// The length of the whole file.
    pub(super) total: u64,
    /// What the first answer said of the file.
    pub(super) origin: Origin,
    /// Whether the server offers ranges.
    pub(super) ranges: bool,
}

struct State<'a> {
    part: &'a mut Part,
    /// Segments that nobody has taken, in ascending order.
    pending: VecDeque<(u64, u64)>,
    /// Ranges are not answered as they should be.
    refused: bool,
    /// What ended a connection for good; the last one counts.
    failure: Option<Error>,
    /// What ends all of them: a full disk, another wheel's failure.
    fatal: bool,
    /// When the sidecar was written last.
    noted: Instant,
}

impl State<'_> {
    /// Whoever is interrupted in the middle of a segment loses no more than the last moment of it.
    fn note_from_time_to_time(&mut self) -> Result<(), PathError> {
        if self.noted.elapsed() < NOTE_EVERY {
            return Ok(());
        }
        self.noted = Instant::now();
        self.part.note_ranges()
    }

    fn give_back(&mut self, first: u64, end: u64) {
        if first < end {
            let at = self.pending.partition_point(|segment| segment.0 < first);
            self.pending.insert(at, (first, end));
        }
    }
}

/// Why one segment is not complete.
enum Broken {
    Http(http::Error),
    NoRanges,
    Fatal(Error),
}

impl Split<'_> {
    /// Fetches all that is missing. `front` is the answer whose body starts where the part ends.
    pub(super) fn fetch(&self, part: &mut Part, front: Response) -> Result<(), Trouble> {
        let failed = |error: crate::fsx::PathError| Trouble::Failed(error.into());
        part.set_origin_of_ranges(self.origin.clone()).map_err(failed)?;
        let file = part.handle().map_err(failed)?;
        let have = part.have();
        let state = Mutex::new(State {
            pending: part.missing(self.total, self.run.options.segment).into(),
            part,
            refused: !self.ranges,
            failure: None,
            fatal: false,
            noted: Instant::now(),
        });
        let helpers = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let (state, file, helpers) = (&state, &file, &helpers);
            let widen = || {
                // A connection for the last segment or two would only be set up to be closed.
                let waiting = lock(state).pending.len().saturating_sub(2);
                while self.ranges && helpers.load(Ordering::Acquire) < waiting.min(MAX_HELPERS) {
                    let Some(permit) = self.run.connections.take() else {
                        break;
                    };
                    helpers.fetch_add(1, Ordering::AcqRel);
                    let started = threads::spawn_in(scope, move || {
                        self.help(state, file);
                        helpers.fetch_sub(1, Ordering::AcqRel);
                        drop(permit);
                    });
                    if !started {
                        helpers.fetch_sub(1, Ordering::AcqRel);
                        break;
                    }
                }
            };
            self.read_front(front, have, (state, file), &widen);
            self.help(state, file);
        });
        let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
        let noted = state.part.note_ranges();
        if state.part.have() == self.total {
            return Ok(());
        }
        match state.failure {
            Some(failure) if state.fatal || !state.refused || !self.ranges => Err(Trouble::Failed(failure)),
            _ if state.refused && self.ranges => Err(Trouble::NoRanges),
            _ => {
                noted.map_err(failed)?;
                Err(Trouble::Failed(self.failed(http::Error::Truncated {
                    url: self.url.into(),
                    received: state.part.total(),
                    source: None,
                })))
            }
        }
    }

    /// Reads the first answer as long as its next bytes are nobody else's.
    fn read_front(&self, mut front: Response, have: u64, (state, file): (&Mutex<State<'_>>, &File), widen: &dyn Fn()) {
        let mut at = have;
        let mut block = vec![0; BLOCK];
        loop {
            let end = {
                let mut state = lock(state);
                match state.pending.front() {
                    Some(&(first, end)) if first == at && !state.fatal => {
                        state.pending.pop_front();
                        end
                    }
                    _ => return,
                }
            };
            widen();
            if let Err(broken) = self.read(&mut front, (&mut at, end), state, file, &mut block) {
                let mut state = lock(state);
                state.give_back(at, end);
                self.note(&mut state, broken);
                return;
            }
        }
    }

    /// Fetches segments until none is left.
    fn help(&self, state: &Mutex<State<'_>>, file: &File) {
        let mut block = vec![0; BLOCK];
        loop {
            let (mut at, end) = {
                let mut state = lock(state);
                match state.pending.pop_front() {
                    Some(segment) if !state.refused && !state.fatal => segment,
                    Some((first, end)) => return state.give_back(first, end),
                    None => return,
                }
            };
            if let Err(broken) = self.persist((&mut at, end), state, file, &mut block) {
                let mut state = lock(state);
                if matches!(broken, Broken::NoRanges) {
                    // For the front, which may still come by.
                    state.give_back(at, end);
                }
                return self.note(&mut state, broken);
            }
        }
    }

    /// Fetches one segment, trying again where that may help.
    fn persist(
        &self,
        (at, end): (&mut u64, u64),
        state: &Mutex<State<'_>>,
        file: &File,
        block: &mut [u8],
    ) -> Result<(), Broken> {
        let mut attempt = 1;
        loop {
            let before = *at;
            let error = match self.segment((&mut *at, end), state, file, block) {
                Err(Broken::Http(error)) => error,
                other => return other,
            };
            if *at > before {
                attempt = 1;
            }
            match self.fetcher.http.retry().wait(attempt, &error) {
                Some(wait) => self.run.sleep(wait),
                None => return Err(Broken::Http(error)),
            }
            attempt += 1;
        }
    }

    fn note(&self, state: &mut State<'_>, broken: Broken) {
        match broken {
            Broken::Http(error) => state.failure = Some(self.failed(error)),
            Broken::NoRanges => state.refused = true,
            Broken::Fatal(error) => {
                state.fatal = true;
                state.failure = Some(error);
            }
        }
    }

    /// Requests one segment and reads it.
    fn segment(
        &self,
        (at, end): (&mut u64, u64),
        state: &Mutex<State<'_>>,
        file: &File,
        block: &mut [u8],
    ) -> Result<(), Broken> {
        let mut request = self.fetcher.http.get(self.url).bulk().range(*at, Some(end - 1));
        if let Some(validator) = self.origin.validator() {
            request = request.header("if-range", validator);
        }
        let mut response = match request.send_once() {
            Ok(response) => response,
            // The whole file could be had a moment ago: the server dislikes the range.
            Err(error) if error.status().is_some() && !error.is_transient() => return Err(Broken::NoRanges),
            Err(error) => return Err(Broken::Http(error)),
        };
        let range = response.content_range().filter(|_| response.status() == 206);
        let right = range.is_some_and(|range| {
            (range.first, range.last) == (*at, end - 1) && range.total.is_none_or(|total| total == self.total)
        });
        // A server that knows no `If-Range` answers ranges of a file that changed; its tag gives it away.
        if !right || self.origin.differs(&response) || response.length().is_some_and(|length| length != end - *at) {
            return Err(Broken::NoRanges);
        }
        self.read(&mut response, (at, end), state, file, block)
    }

    /// Reads a body up to `end`; `at` moves along with what is written.
    fn read(
        &self,
        response: &mut Response,
        (at, end): (&mut u64, u64),
        state: &Mutex<State<'_>>,
        file: &File,
        block: &mut [u8],
    ) -> Result<(), Broken> {
        while *at < end {
            let room = usize::try_from(end - *at).unwrap_or(BLOCK).min(BLOCK);
            let (filled, result) = fill(response, &mut block[..room], self.run);
            self.write(&block[..filled], at, state, file).map_err(Broken::Fatal)?;
            if self.run.is_stopped() {
                return Err(Broken::Fatal(Error::Stopped {
                    file: self.wanted.file.clone(),
                }));
            }
            result.map_err(Broken::Http)?;
            if filled < room {
                return Err(Broken::Http(http::Error::Truncated {
                    url: self.url.into(),
                    received: *at,
                    source: None,
                }));
            }
        }
        lock(state)
            .part
            .note_ranges()
            .map_err(|error| Broken::Fatal(self.fetcher.explain_full(error, self.total - end)))
    }

    fn write(&self, bytes: &[u8], at: &mut u64, state: &Mutex<State<'_>>, file: &File) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        let written = file.write_all_at(bytes, *at);
        let mut state = lock(state);
        let rest = self.total.saturating_sub(state.part.total());
        written
            .at("write", state.part.path())
            .and_then(|()| state.part.arrived(*at, bytes))
            .and_then(|()| state.note_from_time_to_time())
            .map_err(|error| self.fetcher.explain_full(error, rest))?;
        drop(state);
        *at += bytes.len() as u64;
        self.run.report(Event::FetchAdvanced {
            file: &self.wanted.file,
            bytes: bytes.len() as u64,
        });
        Ok(())
    }

    fn failed(&self, source: http::Error) -> Error {
        Error::Http {
            file: self.wanted.file.clone(),
            source,
        }
    }
}

/// Reads until the buffer is full, the body ends or something breaks; what came before the break counts.
fn fill(response: &mut Response, buffer: &mut [u8], run: &Run<'_>) -> (usize, Result<(), http::Error>) {
    let mut filled = 0;
    while filled < buffer.len() && !run.is_stopped() {
        match response.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) => return (filled, Err(error)),
        }
    }
    (filled, Ok(()))
}

fn lock<'m, 'p>(state: &'m Mutex<State<'p>>) -> MutexGuard<'m, State<'p>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
