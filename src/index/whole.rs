//! Wheels that a lock needs whole: for a digest that nobody states, for METADATA that nothing else tells.
//!
//! Owns: that each is fetched once, into the cache, by the one downloader; what asks for it later finds it there. Where a
//! digest is stated, only a wheel with that digest counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use super::IndexFile;
use crate::cache::Cache;
use crate::fetch::{self, FetchOptions, Fetcher, VerifiedWheel, Wanted};
use crate::http::Http;
use crate::progress::Reporter;

/// Fetches whole wheels.
#[derive(Debug)]
pub struct WholeWheels {
    http: Arc<Http>,
    cache: Cache,
    /// Those without a stated digest, which only this process knows to be in the cache.
    arrived: Mutex<HashMap<Url, VerifiedWheel>>,
}

impl WholeWheels {
    /// Wheels fetched by `http` into `cache`.
    #[must_use]
    pub fn new(http: Arc<Http>, cache: Cache) -> Self {
        Self {
            http,
            cache,
            arrived: Mutex::default(),
        }
    }

    /// Brings wheels into the cache that are not there; the answer has the order of `files`.
    pub fn fetch(&self, files: &[&IndexFile], reporter: &dyn Reporter) -> Result<Vec<VerifiedWheel>, fetch::Error> {
        let arrived = || self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
        let known = |file: &&IndexFile| match file.digest {
            Some(_) => None,
            None => arrived().get(&file.url).cloned(),
        };
        let found: Vec<Option<VerifiedWheel>> = files.iter().map(known).collect();
        let missing = files.iter().zip(&found).filter(|(_, found)| found.is_none());
        let wanted: Vec<Wanted> = missing.map(|(file, _)| wanted(file)).collect();
        let fetcher = Fetcher::new(&self.http, &self.cache);
        let mut fetched = fetcher
            .fetch_all(&wanted, &FetchOptions::default(), reporter)?
            .into_iter();
        let wheels: Vec<VerifiedWheel> = found
            .into_iter()
            .filter_map(|found| found.or_else(|| fetched.next()))
            .collect();
        for (file, wheel) in files.iter().zip(&wheels).filter(|(file, _)| file.digest.is_none()) {
            arrived().insert(file.url.clone(), wheel.clone());
        }
        Ok(wheels)
    }

    /// One wheel.
    pub fn one(&self, file: &IndexFile, reporter: &dyn Reporter) -> Result<VerifiedWheel, fetch::Error> {
        let nowhere = || fetch::Error::Nowhere {
            file: file.file.clone(),
            digest: file.digest,
        };
        self.fetch(&[file], reporter)?.pop().ok_or_else(nowhere)
    }

    /// Forgets a wheel that is refused, so that the next lock asks for all of it again: the server may have mended it
    /// without saying so.
    pub fn forget(&self, file: &IndexFile) {
        Fetcher::new(&self.http, &self.cache).forget(&wanted(file));
    }
}

fn wanted(file: &IndexFile) -> Wanted {
    Wanted {
        file: file.file.clone(),
        digest: file.digest,
        size: file.size,
        urls: vec![file.url.clone()],
    }
}
