//! What can go wrong when wheels are fetched.

use std::path::Path;

use crate::digest::WheelDigest;
use crate::fsx::PathError;
use crate::http::{self, Cause, ShownUrl};
use crate::space::Shortage;

/// A wheel that is not in the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// Its file name.
    pub file: String,
    /// Its digest.
    pub digest: WheelDigest,
    /// Its size, where known.
    pub size: Option<u64>,
}

/// A fetch that did not end with every wheel in the cache. What did arrive stays and is resumed next time.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Wheels are missing and the network may not be used.
    #[error(
        "{} not in the cache and the network may not be used (offline): {}",
        if missing.len() == 1 { "1 wheel is".to_owned() } else { format!("{} wheels are", missing.len()) },
        missing.iter().map(|one| one.file.as_str()).collect::<Vec<_>>().join(", ")
    )]
    Offline {
        /// All of them.
        missing: Vec<Missing>,
    },
    /// Too little space for what is still to come.
    #[error("the wheels do not fit into the cache")]
    NoSpace(#[source] Shortage),
    /// The bytes are not those that were asked for; they are kept aside.
    #[error("{file} from {url} has the SHA-256 {actual}, expected {expected}")]
    Digest {
        /// The wheel's file name.
        file: String,
        /// Where the bytes came from.
        url: ShownUrl,
        /// As the lockfile states it.
        expected: WheelDigest,
        /// As it arrived.
        actual: WheelDigest,
        /// Where the bytes are kept.
        kept: Box<Path>,
        /// What the index says by now, where it was asked.
        #[source]
        blame: Option<Cause>,
    },
    /// The server has a file of another size under this name; it was not downloaded.
    #[error("{file} has {actual} bytes at {url}, expected {expected}")]
    Size {
        /// The wheel's file name.
        file: String,
        /// Where it was asked.
        url: ShownUrl,
        /// As the lockfile states it.
        expected: u64,
        /// As the server states it, or sent.
        actual: u64,
    },
    /// The server answers a part although the whole file was asked.
    #[error("{url} answers with a part of {file} that was not asked for")]
    WrongRange {
        /// The wheel's file name.
        file: String,
        /// Where it was asked.
        url: ShownUrl,
    },
    /// A request failed.
    #[error("cannot fetch {file}")]
    Http {
        /// The wheel's file name.
        file: String,
        /// Why.
        #[source]
        source: http::Error,
    },
    /// A file of this machine that was named as the source cannot be read.
    #[error("cannot take {file} from this machine")]
    Local {
        /// The wheel's file name.
        file: String,
        /// Why.
        #[source]
        source: PathError,
    },
    /// Where the wheel is could not be found out.
    #[error("cannot find out where to fetch {file}")]
    Locate {
        /// The wheel's file name.
        file: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// No index lists the wheel under its digest.
    #[error("no index lists {file}{}", digest.map(|digest| format!(" with the SHA-256 {digest}")).unwrap_or_default())]
    Nowhere {
        /// The wheel's file name.
        file: String,
        /// Its digest, where anybody states one.
        digest: Option<WheelDigest>,
    },
    /// A file on this machine cannot be read or written.
    #[error(transparent)]
    Path(#[from] PathError),
    /// Another wheel failed, so this one was not finished.
    #[error("fetching {file} was stopped")]
    Stopped {
        /// The wheel's file name.
        file: String,
    },
}

impl Error {
    /// Whether another place to fetch from can help.
    pub(super) fn is_of_the_source(&self) -> bool {
        match self {
            Self::Digest { .. }
            | Self::Size { .. }
            | Self::WrongRange { .. }
            | Self::Http { .. }
            | Self::Local { .. } => true,
            Self::Offline { .. }
            | Self::NoSpace(_)
            | Self::Locate { .. }
            | Self::Nowhere { .. }
            | Self::Path(_)
            | Self::Stopped { .. } => false,
        }
    }
}
