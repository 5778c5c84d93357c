//! What a build spent its time on: one bar for each wheel and phase, as an HTML page.
//!
//! A [`Recorder`] stands between a build and whoever watches it, and notes when each event came; its page draws what
//! it noted. The page is one file without scripts or anything from elsewhere, and holds names of wheels and times only.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::progress::{Event, Reporter};

mod page;

/// What is done with a wheel, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Its bytes arrive.
    Fetch,
    /// It is there and waits for its turn, or for another process.
    Wait,
    /// It is checked and written into the store.
    Unpack,
    /// Its sources are compiled and its tree becomes visible.
    Compile,
    /// All trees are laid over each other.
    Compose,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Fetch, Self::Wait, Self::Unpack, Self::Compile, Self::Compose];

    /// Its name on the page.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fetch => "fetch",
            Self::Wait => "wait",
            Self::Unpack => "unpack",
            Self::Compile => "compile",
            Self::Compose => "compose",
        }
    }
}

/// One bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    phase: Phase,
    start: Duration,
    /// None while it lasts.
    end: Option<Duration>,
}

/// What is known of one wheel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Work {
    size: Option<u64>,
    fetched: u64,
    spans: Vec<Span>,
}

impl Work {
    fn begin(&mut self, phase: Phase, now: Duration) {
        self.end(now);
        self.spans.push(Span {
            phase,
            start: now,
            end: None,
        });
    }

    fn end(&mut self, now: Duration) {
        if let Some(last) = self.spans.last_mut() {
            last.end = last.end.or(Some(now));
        }
    }
}

/// Notes events and passes them on.
pub struct Recorder<'a> {
    next: &'a dyn Reporter,
    started: Instant,
    works: Mutex<BTreeMap<String, Work>>,
}

/// The row of what is done once for the whole environment; sorts before every wheel and is shown last.
const ENVIRONMENT: &str = "";

impl<'a> Recorder<'a> {
    /// A recorder whose clock starts now.
    #[must_use]
    pub fn new(next: &'a dyn Reporter) -> Self {
        Self {
            next,
            started: Instant::now(),
            works: Mutex::default(),
        }
    }

    fn note(&self, event: &Event<'_>, now: Duration) {
        let mut works = self.works.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(file) = file_of(event) else { return };
        let work = works.entry(file.to_owned()).or_default();
        match event {
            Event::FetchStarted { size, .. } => {
                work.size = *size;
                work.begin(Phase::Fetch, now);
            }
            Event::FetchSized { size, .. } => work.size = Some(*size),
            Event::FetchAdvanced { bytes, .. } => work.fetched += bytes,
            Event::FetchFinished { .. } => work.begin(Phase::Wait, now),
            Event::UnpackStarted { .. } => work.begin(Phase::Unpack, now),
            Event::CompileStarted { .. } => work.begin(Phase::Compile, now),
            Event::ComposeStarted => work.begin(Phase::Compose, now),
            Event::Unpacked { .. } | Event::Compiled { .. } | Event::Composed => work.end(now),
            _ => {}
        }
    }

    /// The page of what was noted so far.
    #[must_use]
    pub fn page(&self, title: &str) -> String {
        let works = self.works.lock().unwrap_or_else(PoisonError::into_inner);
        page::draw(title, self.started.elapsed(), &works)
    }
}

/// The row that an event belongs to.
fn file_of<'e>(event: &Event<'e>) -> Option<&'e str> {
    match event {
        Event::FetchStarted { file, .. }
        | Event::FetchSized { file, .. }
        | Event::FetchAdvanced { file, .. }
        | Event::FetchRestarted { file, .. }
        | Event::FetchFinished { file }
        | Event::UnpackStarted { file }
        | Event::CompileStarted { file }
        | Event::Unpacked { file }
        | Event::Compiled { file } => Some(file),
        Event::ComposeStarted | Event::Composed => Some(ENVIRONMENT),
        Event::Resolving { .. }
        | Event::FetchPlanned { .. }
        | Event::CopyPlanned { .. }
        | Event::UnpackPlanned { .. }
        | Event::VerifyPlanned { .. }
        | Event::VerifyAdvanced { .. }
        | Event::Warning { .. }
        | Event::Waiting { .. } => None,
    }
}

impl Reporter for Recorder<'_> {
    fn event(&self, event: Event<'_>) {
        self.note(&event, self.started.elapsed());
        self.next.event(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    #[test]
    fn events_become_spans_that_follow_each_other() {
        let recorder = Recorder::new(&Silent);
        let at = Duration::from_millis;
        let events = [
            (
                1,
                Event::FetchStarted {
                    file: "a.whl",
                    size: Some(7),
                    have: 0,
                },
            ),
            (
                2,
                Event::FetchAdvanced {
                    file: "a.whl",
                    bytes: 7,
                },
            ),
            (3, Event::FetchFinished { file: "a.whl" }),
            (4, Event::UnpackStarted { file: "a.whl" }),
            (5, Event::Unpacked { file: "a.whl" }),
            (5, Event::CompileStarted { file: "a.whl" }),
            (6, Event::Compiled { file: "a.whl" }),
            (7, Event::ComposeStarted),
        ];
        for (time, event) in &events {
            recorder.note(event, at(*time));
        }
        let works = recorder.works.lock().expect("not poisoned").clone();
        let span = |phase, start, end: Option<u64>| Span {
            phase,
            start: at(start),
            end: end.map(at),
        };
        assert_eq!(
            works["a.whl"],
            Work {
                size: Some(7),
                fetched: 7,
                spans: vec![
                    span(Phase::Fetch, 1, Some(3)),
                    span(Phase::Wait, 3, Some(4)),
                    span(Phase::Unpack, 4, Some(5)),
                    span(Phase::Compile, 5, Some(6)),
                ],
            }
        );
        assert_eq!(works[ENVIRONMENT].spans, [span(Phase::Compose, 7, None)]);
    }
}
