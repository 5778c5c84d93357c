//! What a place had when a wheel came from it whose digest nobody states: kept, so that the server is asked whether it
//! still has the same rather than for all of it once more.
//!
//! Kept among the cache's answers. Refuses: what the server cannot be asked about (no validator), and what has gone from
//! the cache.

use serde::{Deserialize, Serialize};

use super::part::Origin;
use super::{VerifiedWheel, Wanted};
use crate::cache::Cache;
use crate::digest::WheelDigest;
use crate::fsx::PathError;
use crate::http::Request;

/// A wheel that came from a place, and what the server said of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Arrival {
    schema: u32,
    digest: WheelDigest,
    origin: Origin,
}

fn path(cache: &Cache, wanted: &Wanted) -> std::path::PathBuf {
    cache.answer_path(&format!("what arrived of {}", wanted.place()))
}

impl Arrival {
    /// What arrived of a wheel without a stated digest, as far as it is still of use.
    pub(super) fn read(cache: &Cache, wanted: &Wanted) -> Result<Option<Self>, PathError> {
        if wanted.digest.is_some() {
            return Ok(None);
        }
        let arrival = Cache::read(&path(cache, wanted))?;
        let arrival = arrival.and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        let Some(arrival) = arrival.filter(|arrival| arrival.schema == 1) else {
            return Ok(None);
        };
        Ok(arrival.wheel(cache, wanted)?.map(|_| arrival))
    }

    /// The wheel in the cache.
    pub(super) fn wheel(&self, cache: &Cache, wanted: &Wanted) -> Result<Option<VerifiedWheel>, PathError> {
        let found = cache.find_wheel(&self.digest, &wanted.file, self.origin.length)?;
        Ok(found.map(|found| VerifiedWheel::cached(wanted, self.digest, found)))
    }

    /// Keeps what arrived of a wheel without a stated digest. It saves time only, so that a failure is none.
    pub(super) fn write(cache: &Cache, wanted: &Wanted, digest: WheelDigest, origin: Option<&Origin>) {
        let origin = origin.filter(|origin| wanted.digest.is_none() && origin.validator().is_some());
        let Some(origin) = origin.cloned() else { return };
        let arrival = Self {
            schema: 1,
            digest,
            origin,
        };
        if let Ok(bytes) = serde_json::to_vec(&arrival) {
            cache.write(&path(cache, wanted), &bytes).ok();
        }
    }

    /// Forgets it, so that the wheel is fetched again.
    pub(super) fn forget(cache: &Cache, wanted: &Wanted) {
        cache.forget(&path(cache, wanted)).ok();
    }

    /// The same request, answered with 304 where the server still has the same.
    pub(super) fn unless_unchanged<'a>(&self, request: Request<'a>) -> Request<'a> {
        match (&self.origin.etag, &self.origin.last_modified) {
            (Some(etag), _) => request.header("if-none-match", etag),
            (None, Some(date)) => request.header("if-modified-since", date),
            (None, None) => request,
        }
    }
}
