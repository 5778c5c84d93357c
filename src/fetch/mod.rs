//! Downloads of wheels into the cache: in parallel, resumed across runs, checked against their digests.
//!
//! Owns: what is fetched in which order, from which of several places, by which of several processes. Refuses: bytes
//! with another digest or size than the lockfile's (they never get a wheel's name), a download for which the space is
//! missing, the network in offline mode. A wheel that stands in the cache is taken as it is, unread. Of a wheel whose
//! digest nobody states the server says whether it is still the one that came before, whole or in part.

use std::collections::{HashMap, VecDeque};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use url::Url;

use crate::cache::Cache;
use crate::checkpoint;
use crate::fsx::{PathError, free_bytes};
use crate::http::{Cause, Http};
use crate::progress::{Event, Reporter};
use crate::space::Shortage;
use crate::threads;

mod arrival;
mod download;
mod error;
mod extents;
mod guard;
mod part;
mod places;
mod split;
mod wheel;

use arrival::Arrival;
use download::{Download, Ranges};
pub use error::{Error, Missing};
use guard::Guard;
use part::Part;
pub use part::arrived_earlier;
use places::has_local_source;
use split::Connections;
pub use wheel::{Evidence, VerifiedWheel, Wanted};

/// Says where else a wheel may be; asked when [`Wanted::urls`] are used up.
pub type Locate<'a> = dyn Fn(&Wanted) -> Result<Vec<Url>, Cause> + Sync + 'a;

/// Called with the index among the wanted wheels as soon as a wheel is there, from any thread.
pub type Ready<'a> = dyn Fn(usize, &VerifiedWheel) + Sync + 'a;

/// How to fetch.
#[derive(Clone, Copy)]
pub struct FetchOptions<'a> {
    /// How many wheels are fetched at the same time.
    pub jobs: usize,
    /// How many connections there are at the same time at most, all wheels together; at least one for each.
    pub connections: usize,
    /// Wheels of which at least this much is missing, in bytes, are fetched over several connections.
    pub split_from: u64,
    /// How much one connection fetches at a time, in bytes; a multiple of 1 MiB writes fastest.
    pub segment: u64,
    /// Where wheels are whose URLs are not known or do not work.
    pub locate: &'a Locate<'a>,
    /// Told of each wheel as soon as it is there, so that it can be unpacked while others still arrive.
    pub ready: &'a Ready<'a>,
}

impl Default for FetchOptions<'_> {
    fn default() -> Self {
        Self {
            jobs: 4,
            connections: 12,
            split_from: 32 << 20,
            segment: 16 << 20,
            locate: &|_| Ok(Vec::new()),
            ready: &|_, _| {},
        }
    }
}

/// Fetches wheels into a cache.
#[derive(Clone, Copy)]
pub struct Fetcher<'a> {
    http: &'a Http,
    cache: &'a Cache,
    free_space: fn(&Path) -> Result<u64, PathError>,
}

/// What the workers of one fetch share.
struct Run<'a> {
    options: &'a FetchOptions<'a>,
    reporter: &'a dyn Reporter,
    stopped: AtomicBool,
    /// Those beyond the first of each wheel.
    connections: Connections,
}

impl Run<'_> {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn report(&self, event: Event<'_>) {
        self.reporter.event(event);
    }

    /// Waits, but not after another wheel has failed.
    fn sleep(&self, wait: Duration) {
        let until = Instant::now() + wait;
        while !self.is_stopped() {
            match until.checked_duration_since(Instant::now()) {
                Some(rest) if !rest.is_zero() => std::thread::sleep(rest.min(Duration::from_millis(50))),
                _ => break,
            }
        }
    }
}

impl<'a> Fetcher<'a> {
    /// Fetches by `http` into `cache`.
    #[must_use]
    pub fn new(http: &'a Http, cache: &'a Cache) -> Self {
        Self {
            http,
            cache,
            free_space: free_bytes,
        }
    }

    /// The wheels among `wanted` that are not in the cache.
    pub fn missing(&self, wanted: &[Wanted]) -> Result<Vec<Missing>, Error> {
        let mut missing = Vec::new();
        for one in wanted {
            if self.find(one)?.is_none() {
                missing.extend(missing_one(one));
            }
        }
        Ok(missing)
    }

    /// A wanted wheel where the cache has it under a digest that somebody states.
    fn find(&self, wanted: &Wanted) -> Result<Option<VerifiedWheel>, Error> {
        let Some(digest) = wanted.digest else { return Ok(None) };
        let found = self.cache.find_wheel(&digest, &wanted.file, wanted.size)?;
        Ok(found.map(|found| VerifiedWheel::cached(wanted, digest, found)))
    }

    /// Forgets that the cache has what the place of `wanted` had, so that it is fetched again.
    pub fn forget(&self, wanted: &Wanted) {
        Arrival::forget(self.cache, wanted);
    }

    /// Brings every wanted wheel into the cache; the answer has the order of `wanted`.
    ///
    /// The first failure stops the others; what they received stays and is resumed by the next run.
    pub fn fetch_all(
        &self,
        wanted: &[Wanted],
        options: &FetchOptions<'_>,
        reporter: &dyn Reporter,
    ) -> Result<Vec<VerifiedWheel>, Error> {
        let run = Run {
            options,
            reporter,
            stopped: AtomicBool::new(false),
            connections: Connections::new(options.connections.saturating_sub(options.jobs)),
        };
        let mut found: Vec<Option<VerifiedWheel>> = Vec::with_capacity(wanted.len());
        // One wheel may be wanted twice; it is fetched once.
        let mut queue: Vec<usize> = Vec::new();
        let mut twins: HashMap<(String, &str), usize> = HashMap::new();
        let name = |index: usize| (wanted[index].stem(), wanted[index].file.as_str());
        for (index, one) in wanted.iter().enumerate() {
            let cached = self.find(one)?;
            match &cached {
                Some(wheel) => (options.ready)(index, wheel),
                None if twins.contains_key(&name(index)) => {}
                None => {
                    twins.insert(name(index), index);
                    queue.push(index);
                }
            }
            found.push(cached);
        }
        if !queue.is_empty() {
            self.prepare(wanted, &queue, &run)?;
            for (index, wheel) in self.work(wanted, queue, &run)? {
                found[index] = Some(wheel);
            }
        }
        for index in 0..wanted.len() {
            if found[index].is_none()
                && let Some(twin) = twins.get(&name(index))
            {
                let wheel = found[*twin].clone();
                if let Some(wheel) = &wheel {
                    (options.ready)(index, wheel);
                }
                found[index] = wheel;
            }
        }
        Ok(found.into_iter().flatten().collect())
    }

    /// Refuses what cannot succeed before the first byte is asked for.
    fn prepare(&self, wanted: &[Wanted], queue: &[usize], run: &Run<'_>) -> Result<(), Error> {
        if self.http.is_offline() {
            let missing: Vec<Missing> = queue
                .iter()
                .map(|&index| &wanted[index])
                .filter(|one| !has_local_source(one, run))
                .filter_map(missing_one)
                .collect();
            if !missing.is_empty() {
                return Err(Error::Offline { missing });
            }
        }
        let folder = self.cache.partial_folder()?;
        let sizes = || queue.iter().map(|&index| wanted[index].size.unwrap_or(0));
        let there: u64 = queue
            .iter()
            .filter_map(|&index| std::fs::metadata(folder.join(format!("{}.part", wanted[index].stem()))).ok())
            // A part that is fetched at several places has holes.
            .map(|meta| meta.len().min(meta.blocks() * 512))
            .sum();
        run.report(Event::FetchPlanned {
            files: queue.len(),
            bytes: sizes().sum(),
        });
        self.check_space(sizes().sum::<u64>().saturating_sub(there))
    }

    /// Runs the workers until the queue is empty or one fails.
    fn work(
        &self,
        wanted: &[Wanted],
        mut queue: Vec<usize>,
        run: &Run<'_>,
    ) -> Result<Vec<(usize, VerifiedWheel)>, Error> {
        // Biggest first, so that no large wheel is left for the end alone; only one worker begins with the smallest, which
        // are there at once and give those something to do who wait for wheels. A wheel of unknown size is a channel's,
        // and those are the largest.
        queue.sort_by_key(|&index| std::cmp::Reverse(wanted[index].size.unwrap_or(u64::MAX)));
        let workers = run.options.jobs.clamp(1, queue.len());
        let queue = Mutex::new(VecDeque::from(queue));
        let results = Mutex::new(Vec::new());
        let begun = AtomicUsize::new(0);
        threads::share(workers - 1, || {
            let worker = begun.fetch_add(1, Ordering::Relaxed);
            while !run.is_stopped() {
                let mut waiting = queue.lock().unwrap_or_else(PoisonError::into_inner);
                let next = if worker == 1 {
                    waiting.pop_back()
                } else {
                    waiting.pop_front()
                };
                drop(waiting);
                let Some(index) = next else { break };
                let result = self.fetch_one(&wanted[index], run);
                match &result {
                    Ok(wheel) => (run.options.ready)(index, wheel),
                    Err(_) => run.stopped.store(true, Ordering::Relaxed),
                }
                let result = result.map(|wheel| (index, wheel));
                results.lock().unwrap_or_else(PoisonError::into_inner).push(result);
            }
        });
        let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        // The cause first: the others were stopped because of it.
        if let Some(cause) = results
            .iter()
            .position(|result| matches!(result, Err(error) if !matches!(error, Error::Stopped { .. })))
        {
            results.swap(0, cause);
        }
        results.into_iter().collect()
    }

    /// Brings one wheel into the cache, once no other process is at it.
    fn fetch_one(&self, wanted: &Wanted, run: &Run<'_>) -> Result<VerifiedWheel, Error> {
        let folder = self.cache.partial_folder()?;
        let stem = wanted.stem();
        let guard = Guard::take(&folder.join(format!("{stem}.guard")), |first| {
            if first {
                run.report(Event::Waiting { what: &wanted.file });
            }
            !run.is_stopped()
        })?;
        let Some(guard) = guard else {
            return Err(Error::Stopped {
                file: wanted.file.clone(),
            });
        };
        // Whoever held the guard before may have brought it.
        if let Some(wheel) = self.find(wanted)? {
            run.report(Event::FetchFinished { file: &wanted.file });
            return Ok(wheel);
        }
        // Without guards two processes may be here; each then writes its own part.
        let stem = if guard.is_exclusive() {
            stem
        } else {
            format!("{stem}-{}", std::process::id())
        };
        let mut download = Download {
            fetcher: self,
            run,
            wanted,
            part: Part::open(&folder, &stem, wanted.size, wanted.digest.is_none())?,
            started: false,
            sized: false,
            ranges: Ranges::default(),
            arrival: Arrival::read(self.cache, wanted)?,
            unchanged: false,
        };
        checkpoint::reach("fetch.opened");
        self.try_sources(&mut download, run)?;
        if download.unchanged {
            if let Some(wheel) = download.arrived_before()? {
                download.part.discard()?;
                run.report(Event::FetchFinished { file: &wanted.file });
                return Ok(wheel);
            }
            // It was taken out of the cache a moment ago.
            self.try_sources(&mut download, run)?;
        }
        checkpoint::reach("fetch.received");
        let wheel = self.admit(download)?;
        checkpoint::reach("fetch.finished");
        run.report(Event::FetchFinished { file: &wanted.file });
        Ok(wheel)
    }

    /// Makes what a download brought a wheel of the cache.
    fn admit(&self, download: Download<'_>) -> Result<VerifiedWheel, Error> {
        let Download { wanted, part, .. } = download;
        let (size, digest) = (part.have(), part.digest());
        let path = self.cache.admit_wheel(part.path(), &digest, &wanted.file)?;
        Arrival::write(self.cache, wanted, digest, part.origin());
        // The wheel is in the cache; what is left of the download goes with the next collection.
        part.finish().ok();
        Ok(VerifiedWheel::downloaded(wanted, digest, (path, size)))
    }

    /// Refuses to write `needed` more bytes where they do not fit.
    fn check_space(&self, needed: u64) -> Result<(), Error> {
        let path = self.cache.partial_folder()?;
        let free = (self.free_space)(&path)?;
        if free < needed {
            return Err(Error::NoSpace(Shortage::expected(&path, needed, free)));
        }
        Ok(())
    }

    /// Adds figures to an error that says that there are no bytes left.
    fn explain_full(&self, error: PathError, needed: u64) -> Error {
        match Shortage::of(&error.source, &error.path) {
            Some(shortage) if shortage.is_of_bytes() => {
                let path = self.cache.root().join("partial");
                let free = (self.free_space)(&path).unwrap_or(0);
                Error::NoSpace(Shortage::expected(&path, needed, free))
            }
            _ => error.into(),
        }
    }
}

/// A wheel that is not in the cache, where its digest says which that is.
fn missing_one(wanted: &Wanted) -> Option<Missing> {
    Some(Missing {
        file: wanted.file.clone(),
        digest: wanted.digest?,
        size: wanted.size,
    })
}

#[cfg(test)]
mod split_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unstated_tests;
