//! The ZIP container, read strictly: the central directory alone is believed.

use std::io;

/// Bytes that can be read at any offset: a file, or a remote file by range requests.
pub trait ReadAt {
    /// The length in bytes.
    fn len(&self) -> u64;

    /// Whether there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buffer` from `offset` on; too few bytes are `UnexpectedEof`.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
}
