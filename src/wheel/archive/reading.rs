//! A member's bytes, held to what the central directory says of them while they go by.

use std::io::{self, Read};
use std::ops::Range;

use flate2::read::DeflateDecoder;

use super::{Entry, Method, ReadAt};

/// A reader of the member whose compressed bytes are at `range`.
pub(super) fn checked<'a, R: ReadAt>(reader: &'a R, entry: &Entry, range: Range<u64>) -> impl Read + use<'a, R> {
    let raw = Segment {
        reader,
        at: range.start,
        end: range.end,
    };
    let inner = match entry.method {
        Method::Stored => Inner::Stored(raw),
        Method::Deflate => Inner::Deflate(Box::new(DeflateDecoder::new_with_buf(raw, vec![0; 1 << 16]))),
    };
    Checked {
        inner,
        left: entry.size,
        compressed: entry.compressed,
        crc: crc32fast::Hasher::new(),
        expected: entry.crc32,
    }
}

/// The compressed bytes of one member.
struct Segment<'a, R> {
    reader: &'a R,
    at: u64,
    end: u64,
}

impl<R: ReadAt> Read for Segment<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = usize::try_from(self.end - self.at)
            .unwrap_or(usize::MAX)
            .min(buffer.len());
        self.reader.read_exact_at(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

enum Inner<R> {
    Stored(R),
    Deflate(Box<DeflateDecoder<R>>),
}

/// Enforces size and CRC while the bytes go by, so that a bomb stops at the size that the central directory states.
struct Checked<R> {
    inner: Inner<R>,
    left: u64,
    compressed: u64,
    crc: crc32fast::Hasher,
    expected: u32,
}

fn invalid(message: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let count = match &mut self.inner {
            Inner::Stored(reader) => reader.read(buffer)?,
            Inner::Deflate(reader) => reader.read(buffer)?,
        };
        if count == 0 {
            if self.left != 0 {
                return Err(invalid("it is shorter than the central directory says"));
            }
            if let Inner::Deflate(reader) = &self.inner
                && reader.total_in() != self.compressed
            {
                return Err(invalid("its compressed data ends before its compressed size"));
            }
            return if self.crc.clone().finalize() == self.expected {
                Ok(0)
            } else {
                Err(invalid("its CRC does not match"))
            };
        }
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or(invalid("it is longer than the central directory says"))?;
        self.crc.update(&buffer[..count]);
        Ok(count)
    }
}
