//! One wheel from one place: request, resume, write, check.

use std::io::Read as _;

use url::Url;

use super::arrival::Arrival;
use super::error::Error;
use super::part::{Origin, Part};
use super::split::{Split, Trouble};
use super::{Fetcher, Run, VerifiedWheel, Wanted};
use crate::fsx::{PathContext as _, PathError};
use crate::http::{self, Response, bare};
use crate::progress::Event;

/// Bytes are read and written in pieces of this size.
const PIECE: usize = 256 << 10;

/// This many new bytes make a failed try count as progress, and trying starts anew. So a connection that breaks every
/// few megabytes still ends with the whole wheel, and one that breaks every few bytes ends with an error.
const PROGRESS: u64 = 256 << 10;

/// One wheel's download.
pub(super) struct Download<'a> {
    pub(super) fetcher: &'a Fetcher<'a>,
    pub(super) run: &'a Run<'a>,
    pub(super) wanted: &'a Wanted,
    pub(super) part: Part,
    pub(super) started: bool,
    /// Whether the size was told that was not known beforehand.
    pub(super) sized: bool,
    /// What is known of this source's ranges.
    pub(super) ranges: Ranges,
    /// What came from this place before, where nobody states a digest.
    pub(super) arrival: Option<Arrival>,
    /// Whether the server says that it still has that.
    pub(super) unchanged: bool,
}

/// Whether a source's ranges are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Ranges {
    /// Not yet.
    #[default]
    Untried,
    /// Several answers were put together.
    Used,
    /// They have failed, so the file is read front to back.
    Failed,
}

impl Download<'_> {
    /// The wheel that came from this place before, where it is still in the cache; else it is forgotten.
    pub(super) fn arrived_before(&mut self) -> Result<Option<VerifiedWheel>, Error> {
        self.unchanged = false;
        let Some(arrival) = self.arrival.take() else {
            return Ok(None);
        };
        Ok(arrival.wheel(self.fetcher.cache, self.wanted)?)
    }

    /// Fetches from `url` until the part is the wanted wheel. The digest is computed on the way and checked here.
    pub(super) fn fetch_from(&mut self, url: &Url) -> Result<(), Error> {
        if self.part.origin().is_some_and(|origin| origin.url != bare(url)) {
            match self.wanted.digest {
                Some(_) => self.part.inherit(),
                None => self.restart()?,
            }
        }
        self.ranges = Ranges::Untried;
        loop {
            if url.scheme() == "file" {
                self.copy(url)?;
            } else {
                self.receive(url)?;
            }
            let actual = self.part.digest();
            let Some(expected) = self.wanted.digest.filter(|expected| *expected != actual) else {
                return Ok(());
            };
            if self.part.is_inherited() || self.ranges == Ranges::Used {
                // Bytes of an earlier run or another source may be wrong, and a file that changes between two ranges
                // fits nothing: only its own bytes, in one piece, blame a server.
                self.restart()?;
                self.ranges = Ranges::Failed;
                continue;
            }
            return Err(Error::Digest {
                file: self.wanted.file.clone(),
                url: url.into(),
                expected,
                actual,
                kept: self.part.set_aside()?.into(),
                blame: None,
            });
        }
    }

    /// Receives the rest of the file, trying again where that may help.
    fn receive(&mut self, url: &Url) -> Result<(), Error> {
        let mut attempt = 1;
        // The most that was ever there. Bytes that are received again after a restart are no progress, else a server
        // that breaks off and then answers wrong ranges would be asked for ever.
        let mut mark = self.part.total();
        loop {
            let error = match self.attempt(url) {
                Ok(true) => return Ok(()),
                // The part was emptied: the next request asks for the whole file.
                Ok(false) => continue,
                Err(Error::Http { source, .. }) => source,
                Err(error) => return Err(error),
            };
            if self.part.total() >= mark + PROGRESS {
                attempt = 1;
            }
            mark = mark.max(self.part.total());
            match self.fetcher.http.retry().wait(attempt, &error) {
                Some(wait) => self.run.sleep(wait),
                None => return Err(self.failed(error)),
            }
            attempt += 1;
        }
    }

    /// One request, or several for a large file. `false`: what was there does not fit the server's file and was dropped,
    /// or the server's ranges are of no use.
    fn attempt(&mut self, url: &Url) -> Result<bool, Error> {
        if self.part.total() > 0 && self.wanted.digest.is_none() && !self.can_ask() {
            self.restart()?;
        }
        let have = self.part.have();
        let expected = self
            .wanted
            .size
            .or_else(|| self.part.origin().and_then(|origin| origin.length));
        if have > 0 && expected == Some(have) {
            self.announce();
            return Ok(true);
        }
        let mut request = self.fetcher.http.get(url).bulk();
        if let Some(arrival) = self.arrival.as_ref().filter(|_| self.part.total() == 0) {
            request = arrival.unless_unchanged(request);
        }
        if have > 0 {
            request = request.range(have, None);
            let same = self.part.origin().filter(|origin| origin.url == bare(url));
            if let Some(validator) = same.and_then(Origin::validator) {
                request = request.header("if-range", validator);
            }
        }
        let response = match request.send_once() {
            Ok(response) => response,
            // Past the end, or, where ranges have failed already, no ranges at all.
            Err(error)
                if have > 0
                    && (error.status() == Some(416) || (self.ranges == Ranges::Failed && error.status().is_some())) =>
            {
                self.restart()?;
                return Ok(false);
            }
            Err(error) => return Err(self.failed(error)),
        };
        if response.status() == 304 {
            self.unchanged = self.arrival.is_some();
            return if self.unchanged {
                Ok(true)
            } else {
                Err(self.wrong_range(url))
            };
        }
        let total = if response.status() == 206 {
            if have == 0 {
                return Err(self.wrong_range(url));
            }
            if !self.continues(url, &response, expected) {
                self.restart()?;
                return Ok(false);
            }
            response.content_range().and_then(|range| range.total).or(expected)
        } else {
            let total = response.length();
            if have > 0 || (self.part.total() > 0 && !self.is_same_file(url, &response, total)) {
                self.restart()?;
            }
            total
        };
        self.accept(url, response, total)
    }

    /// Whether the server can be asked if it still has the file that the bytes so far are of.
    fn can_ask(&self) -> bool {
        self.part.origin().is_some_and(|origin| origin.validator().is_some())
    }

    /// Whether a 206 answer continues exactly what is there, to the file's end.
    fn continues(&self, url: &Url, response: &Response, expected: Option<u64>) -> bool {
        let Some(range) = response.content_range() else {
            return false;
        };
        // A server that knows no `If-Range` continues a file that changed; its tag gives it away.
        let origin = self.part.origin().filter(|origin| origin.url == bare(url));
        let changed = origin.is_some_and(|origin| origin.differs(response));
        let total = range.total.or(expected);
        range.first == self.part.have()
            && !changed
            && expected.is_none_or(|expected| total == Some(expected))
            && total.is_none_or(|total| range.last + 1 == total)
    }

    /// Whether an answer with the whole file is about the file that the part's later bytes came from.
    fn is_same_file(&self, url: &Url, response: &Response, total: Option<u64>) -> bool {
        let now = Origin::new(
            bare(url),
            response.header("etag"),
            response.header("last-modified"),
            total,
        );
        self.part.origin().is_some_and(|then| {
            then.validator().is_some()
                && (&then.url, then.validator(), then.length) == (&now.url, now.validator(), now.length)
        })
    }

    /// Takes the body of a response that starts where the part ends.
    fn accept(&mut self, url: &Url, response: Response, total: Option<u64>) -> Result<bool, Error> {
        if let (Some(expected), Some(actual)) = (self.wanted.size, total)
            && expected != actual
        {
            return Err(self.wrong_size(url, expected, actual));
        }
        let total = total.or(self.wanted.size);
        if let Some(size) = total.filter(|_| self.wanted.size.is_none() && !self.sized) {
            self.sized = true;
            // A size is of a wheel that was begun.
            self.announce();
            self.run.report(Event::FetchSized {
                file: &self.wanted.file,
                size,
            });
        }
        if let Some(total) = total {
            self.fetcher.check_space(total.saturating_sub(self.part.total()))?;
        }
        let origin = self.origin_of(url, &response, total);
        // Pieces of different files are told from each other by the digest, or by what each answer says of its file.
        let told_apart = self.wanted.digest.is_some() || origin.validator().is_some();
        let splits = told_apart && self.ranges != Ranges::Failed;
        match total {
            Some(total) if splits && total - self.part.have() >= self.run.options.split_from => {
                self.split(url, response, (origin, total))
            }
            _ => self.read(url, response, (origin, total)).map(|()| true),
        }
    }

    /// What an answer says of the file; one that goes on with a part need not say again what the first has said.
    fn origin_of(&self, url: &Url, response: &Response, total: Option<u64>) -> Origin {
        let before = self.part.origin();
        let before = before.filter(|before| response.status() == 206 && before.url == bare(url));
        let etag = before.and_then(|before| before.etag.as_deref());
        let date = before.and_then(|before| before.last_modified.as_deref());
        Origin::new(
            bare(url),
            response.header("etag").or(etag),
            response.header("last-modified").or(date),
            total,
        )
    }

    /// Takes the body, and further segments beside it.
    fn split(&mut self, url: &Url, response: Response, (origin, total): (Origin, u64)) -> Result<bool, Error> {
        self.announce();
        let ranges = response.status() == 206 || response.header("accept-ranges") == Some("bytes");
        if ranges {
            self.ranges = Ranges::Used;
        }
        let split = Split {
            fetcher: self.fetcher,
            run: self.run,
            wanted: self.wanted,
            url,
            total,
            origin,
            ranges,
        };
        match split.fetch(&mut self.part, response) {
            Ok(()) => Ok(true),
            Err(Trouble::Failed(error)) => Err(error),
            Err(Trouble::NoRanges) => {
                // What was put together from such answers is not worth continuing.
                self.restart()?;
                self.ranges = Ranges::Failed;
                Ok(false)
            }
        }
    }

    /// Takes the body front to back.
    fn read(&mut self, url: &Url, mut response: Response, (origin, total): (Origin, Option<u64>)) -> Result<(), Error> {
        self.part.set_origin(origin)?;
        self.announce();
        let mut buffer = vec![0; PIECE];
        loop {
            let count = response.read(&mut buffer).map_err(|error| self.failed(error))?;
            if count == 0 {
                break;
            }
            self.append(url, &buffer[..count], total)?;
        }
        match total {
            Some(total) if self.part.have() < total => Err(self.failed(http::Error::Truncated {
                url: url.into(),
                received: self.part.have(),
                source: None,
            })),
            _ => Ok(()),
        }
    }

    /// Copies a file of this machine (pip's `find-links`).
    fn copy(&mut self, url: &Url) -> Result<(), Error> {
        if self.part.have() > 0 {
            self.restart()?;
        }
        let path = url.to_file_path().unwrap_or_else(|()| url.path().into());
        let unreadable = |source| Error::Local {
            file: self.wanted.file.clone(),
            source,
        };
        let mut file = std::fs::File::open(&path).at("open", &path).map_err(unreadable)?;
        let length = file.metadata().at("look at", &path).map_err(unreadable)?.len();
        if let Some(expected) = self.wanted.size.filter(|expected| *expected != length) {
            return Err(self.wrong_size(url, expected, length));
        }
        self.fetcher.check_space(length)?;
        self.announce();
        let mut buffer = vec![0; PIECE];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => self.append(url, &buffer[..count], Some(length))?,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Error::Local {
                        file: self.wanted.file.clone(),
                        source: PathError {
                            action: "read",
                            path,
                            source: error,
                        },
                    });
                }
            }
        }
    }

    fn append(&mut self, url: &Url, bytes: &[u8], total: Option<u64>) -> Result<(), Error> {
        if self.run.is_stopped() {
            return Err(Error::Stopped {
                file: self.wanted.file.clone(),
            });
        }
        let after = self.part.have() + bytes.len() as u64;
        if let Some(total) = total.filter(|total| after > *total) {
            return Err(self.wrong_size(url, total, after));
        }
        self.part.append(bytes).map_err(|error| {
            let rest = total.map_or(bytes.len() as u64, |total| total.saturating_sub(self.part.have()));
            self.fetcher.explain_full(error, rest)
        })?;
        self.run.report(Event::FetchAdvanced {
            file: &self.wanted.file,
            bytes: bytes.len() as u64,
        });
        Ok(())
    }

    /// Says once that this wheel starts, and from where.
    fn announce(&mut self) {
        if !self.started {
            self.started = true;
            self.run.report(Event::FetchStarted {
                file: &self.wanted.file,
                size: self
                    .wanted
                    .size
                    .or_else(|| self.part.origin().and_then(|origin| origin.length)),
                have: self.part.total(),
            });
        }
    }

    fn restart(&mut self) -> Result<(), Error> {
        // Whoever counts bytes must have heard of those that now do not count.
        self.announce();
        self.part.restart()?;
        self.run.report(Event::FetchRestarted {
            file: &self.wanted.file,
            have: 0,
        });
        Ok(())
    }

    fn wrong_range(&self, url: &Url) -> Error {
        Error::WrongRange {
            file: self.wanted.file.clone(),
            url: url.into(),
        }
    }

    fn failed(&self, source: http::Error) -> Error {
        Error::Http {
            file: self.wanted.file.clone(),
            source,
        }
    }

    fn wrong_size(&self, url: &Url, expected: u64, actual: u64) -> Error {
        Error::Size {
            file: self.wanted.file.clone(),
            url: url.into(),
            expected,
            actual,
        }
    }
}
