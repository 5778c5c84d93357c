//! Exit codes of wheels that cannot be read: their content is refused (3), or it could not be had; see [`super::explain`].

use std::error::Error as StdError;
use std::io;

use super::explain::{Advice, advice, find};
use crate::error::Kind;
use crate::http;
use crate::index::remote::RangeError;
use crate::wheel::archive::ArchiveError;
use crate::wheel::metadata::MetadataError;

/// What a wheel's archive or METADATA, wherever it was read, comes to.
pub(super) fn wheel(error: &(dyn StdError + 'static)) -> Option<Advice> {
    None.or_else(|| find::<ArchiveError>(error).map(archive))
        .or_else(|| find::<MetadataError>(error).map(|_| advice(Kind::Integrity, [])))
}

pub(super) fn archive(error: &ArchiveError) -> Advice {
    let kind = match error {
        error if error.is_of_content() => Kind::Integrity,
        ArchiveError::Read(source) | ArchiveError::Damaged { source, .. } if is_remote(source) => Kind::Network,
        _ => Kind::User,
    };
    advice(kind, [])
}

/// Whether the bytes were to come over the network.
fn is_remote(error: &io::Error) -> bool {
    let inner = error.get_ref();
    inner.is_some_and(|inner| inner.is::<http::Error>() || inner.is::<RangeError>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_told_from_disks_and_networks() {
        let read = |source| archive(&ArchiveError::Read(source)).0;
        assert_eq!(read(io::ErrorKind::UnexpectedEof.into()), Kind::Integrity);
        assert_eq!(
            read(io::Error::new(io::ErrorKind::InvalidInput, "corrupt deflate stream")),
            Kind::Integrity
        );
        // EINVAL and EIO.
        assert_eq!(read(io::Error::from_raw_os_error(22)), Kind::User);
        assert_eq!(read(io::Error::from_raw_os_error(5)), Kind::User);
        let url = url::Url::parse("https://example.org/a.whl").expect("a URL");
        let remote = http::Error::Offline { url: (&url).into() };
        assert_eq!(read(io::Error::other(remote)), Kind::Network);
        assert_eq!(archive(&ArchiveError::Container("x")).0, Kind::Integrity);
    }
}
