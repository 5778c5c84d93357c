//! A file behind HTTP, read piece by piece with range requests: a wheel's METADATA without the wheel.
//!
//! Owns: finding out the length, fetching and keeping pieces. Refuses: answers that are not exactly the range asked
//! (a server that ignores `Range` sends the whole file), files that change in between.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use url::Url;

use crate::http::{Document, Error as HttpError, Http, ShownUrl};
use crate::wheel::archive::ReadAt;

/// What is fetched first: more than the 65,557 bytes in which a ZIP file's end record may stand, and the central
/// directory of all but the largest wheels fits.
const TAIL: u64 = 72 << 10;

/// The least that is fetched at a time after that.
const PIECE: u64 = 32 << 10;

/// More than this is never fetched piecemeal; whoever asks for it wants the whole file.
const BUDGET: u64 = 64 << 20;

/// How long one piece may take altogether.
const PATIENCE: Duration = Duration::from_mins(2);

/// A piece that is not what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RangeError {
    /// The server answered another range, another length or the whole file.
    #[error("the server did not answer the range that was asked of {url}")]
    WrongRange {
        /// The file.
        url: ShownUrl,
    },
    /// The file is not the one that the first piece came from.
    #[error("{url} changed while it was read")]
    Changed {
        /// The file.
        url: ShownUrl,
    },
    /// Too much would be fetched.
    #[error("too much of {url} is asked piece by piece")]
    Budget {
        /// The file.
        url: ShownUrl,
    },
}

#[derive(Debug)]
struct Piece {
    offset: u64,
    bytes: Vec<u8>,
}

impl Piece {
    fn end(&self) -> u64 {
        self.offset + self.bytes.len() as u64
    }
}

/// A remote file of known length.
#[derive(Debug)]
pub struct RemoteFile<'a> {
    http: &'a Http,
    url: Url,
    length: u64,
    etag: Option<String>,
    /// Sorted, without overlaps.
    pieces: Mutex<Vec<Piece>>,
}

impl<'a> RemoteFile<'a> {
    /// Opens `url` by fetching its tail; `None` where the server has no ranges for it.
    pub fn open(http: &'a Http, url: &Url) -> Result<Option<Self>, HttpError> {
        let file = Self {
            http,
            url: url.clone(),
            length: 0,
            etag: None,
            pieces: Mutex::default(),
        };
        match file.ask(|request| request.suffix(TAIL))? {
            Some(tail) => Ok(file.with_first(&tail)),
            // Some servers know ranges but not the suffix form: learn the length from one byte.
            None => match file.ask(|request| request.range(0, Some(0)))? {
                Some(byte) => Ok(file.with_first(&byte)),
                None => Ok(None),
            },
        }
    }

    /// Takes length and validator from a first piece.
    fn with_first(mut self, document: &Document) -> Option<Self> {
        let range = document.content_range()?;
        self.length = range.total?;
        if range.last - range.first + 1 != document.body.len() as u64 {
            return None;
        }
        self.etag = document.header("etag").map(str::to_owned);
        self.pieces = Mutex::new(vec![Piece {
            offset: range.first,
            bytes: document.body.clone(),
        }]);
        Some(self)
    }

    /// Sends a range request. `None` for every answer but 206 that says nothing about the file's existence.
    fn ask(
        &self,
        range: impl Fn(crate::http::Request<'a>) -> crate::http::Request<'a>,
    ) -> Result<Option<Document>, HttpError> {
        let mut request = range(self.http.get(&self.url));
        if let Some(etag) = self.etag.as_deref().filter(|etag| !etag.starts_with("W/")) {
            request = request.header("if-range", etag);
        }
        self.http.retry().run(|| match request.send_once() {
            // The whole file would follow; it is not read.
            Ok(response) if response.status() != 206 => Ok(None),
            Ok(response) => response.into_document(BUDGET, PATIENCE).map(Some),
            Err(error) if matches!(error.status(), Some(400 | 405 | 406 | 412 | 416 | 501)) => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// Fetches `first..end` and keeps it.
    fn fetch(&self, first: u64, end: u64) -> io::Result<Piece> {
        let wrong = || {
            io::Error::other(RangeError::WrongRange {
                url: (&self.url).into(),
            })
        };
        let document = self
            .ask(|request| request.range(first, Some(end - 1)))
            .map_err(io::Error::other)?
            .ok_or_else(wrong)?;
        let range = document.content_range().ok_or_else(wrong)?;
        let sound = range.first == first
            && range.last == end - 1
            && range.total.is_none_or(|total| total == self.length)
            && document.body.len() as u64 == end - first;
        if !sound {
            return Err(wrong());
        }
        if let (Some(old), Some(new)) = (self.etag.as_deref(), document.header("etag"))
            && old != new
        {
            return Err(io::Error::other(RangeError::Changed {
                url: (&self.url).into(),
            }));
        }
        Ok(Piece {
            offset: first,
            bytes: document.body,
        })
    }
}

impl ReadAt for RemoteFile<'_> {
    fn len(&self) -> u64 {
        self.length
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.saturating_add(buffer.len() as u64);
        if end > self.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut pieces = self.pieces.lock().unwrap_or_else(PoisonError::into_inner);
        let mut at = offset;
        while at < end {
            let index = pieces.partition_point(|piece| piece.end() <= at);
            match pieces.get(index) {
                Some(piece) if piece.offset <= at => {
                    let until = piece.end().min(end);
                    let from = usize::try_from(at - piece.offset).map_err(io::Error::other)?;
                    let to = usize::try_from(at - offset).map_err(io::Error::other)?;
                    let count = usize::try_from(until - at).map_err(io::Error::other)?;
                    buffer[to..to + count].copy_from_slice(&piece.bytes[from..from + count]);
                    at = until;
                }
                next => {
                    let border = next.map_or(self.length, |piece| piece.offset);
                    let until = end.max(at + PIECE).min(border);
                    let have: u64 = pieces.iter().map(|piece| piece.bytes.len() as u64).sum();
                    if have + (until - at) > BUDGET {
                        return Err(io::Error::other(RangeError::Budget {
                            url: (&self.url).into(),
                        }));
                    }
                    pieces.insert(index, self.fetch(at, until)?);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::testing::{Reply, Server, http};

    fn content() -> Vec<u8> {
        (0..300_000u32)
            .map(|n| u8::try_from(n * 7 % 251).expect("small"))
            .collect()
    }

    fn check(file: &RemoteFile<'_>, offset: u64, count: usize) {
        let mut buffer = vec![0; count];
        file.read_exact_at(&mut buffer, offset).expect("readable");
        let from = usize::try_from(offset).expect("small");
        assert_eq!(buffer, content()[from..from + count], "{offset}+{count}");
    }

    #[test]
    fn pieces_are_fetched_on_demand_and_kept() {
        let server = Server::start(|seen| Reply::file(seen, &content()).with("etag", "\"a\""));
        let network = http();
        let file = RemoteFile::open(&network, &server.url)
            .expect("answered")
            .expect("ranges");
        assert_eq!(file.len(), 300_000);
        check(&file, 290_000, 10_000);
        assert_eq!(server.seen().len(), 1);
        check(&file, 100, 50);
        check(&file, 120, 1000);
        assert_eq!(server.seen().len(), 2);
        assert_eq!(server.seen()[1].header("if-range"), Some("\"a\""));
        // Over a gap between two pieces that are there.
        check(&file, 0, 300_000);
        assert_eq!(server.seen().len(), 4);
        let error = file.read_exact_at(&mut [0; 2], 299_999).expect_err("behind the end");
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_server_without_the_suffix_form_is_asked_for_one_byte() {
        let server = Server::start(|seen| match seen.header("range") {
            Some(range) if range.starts_with("bytes=-") => Reply::new(416, ""),
            _ => Reply::file(seen, &content()),
        });
        let network = http();
        let file = RemoteFile::open(&network, &server.url)
            .expect("answered")
            .expect("ranges");
        check(&file, 299_000, 1000);
        check(&file, 0, 1);
    }

    #[test]
    fn a_file_smaller_than_the_tail_is_one_request() {
        let server = Server::start(|seen| Reply::file(seen, b"small"));
        let network = http();
        let file = RemoteFile::open(&network, &server.url)
            .expect("answered")
            .expect("ranges");
        let mut buffer = [0; 5];
        file.read_exact_at(&mut buffer, 0).expect("readable");
        assert_eq!((&buffer, server.seen().len()), (b"small", 1));
    }

    #[test]
    fn servers_without_ranges_are_noticed() {
        let replies: [fn() -> Reply; 4] = [
            || Reply::new(200, content()),
            || Reply::new(501, ""),
            || Reply::new(206, "abc"),
            || Reply::new(206, "abc").with("content-range", "bytes 0-2/*"),
        ];
        for reply in replies {
            let server = Server::start(move |_| reply());
            let network = http();
            let file = RemoteFile::open(&network, &server.url).expect("answered");
            assert!(file.is_none(), "{file:?}");
        }
        let server = Server::start(|_| Reply::new(404, ""));
        assert_eq!(
            RemoteFile::open(&http(), &server.url).expect_err("absent").status(),
            Some(404)
        );
    }

    #[test]
    fn f54_wrong_ranges_and_changed_files_are_errors() {
        let later: [fn() -> Reply; 4] = [
            || Reply::new(200, content()),
            || Reply::new(206, "x").with("content-range", "bytes 1-1/300000"),
            || Reply::new(206, vec![0; 32 << 10]).with("content-range", "bytes 0-32767/300001"),
            || {
                Reply::new(206, vec![0; 32 << 10])
                    .with("content-range", "bytes 0-32767/300000")
                    .with("etag", "\"b\"")
            },
        ];
        for reply in later {
            let server = Server::start(move |seen| match seen.header("range") {
                Some("bytes=-73728") => Reply::file(seen, &content()).with("etag", "\"a\""),
                _ => reply(),
            });
            let network = http();
            let file = RemoteFile::open(&network, &server.url)
                .expect("answered")
                .expect("ranges");
            assert!(file.read_exact_at(&mut [0; 8], 0).is_err());
        }
    }
}
