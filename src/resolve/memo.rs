//! What the index has said so far: each page and each metadata file is asked for once in a resolution.
//!
//! Latency dominates, so what will be needed next is asked for at once, on a few threads. Nothing here decides
//! anything: answers are the same whatever the order in which they arrive, and a failed early request is reported
//! only to whoever really needs its answer.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use super::{BoxError, PackageSource, ResolveError};
use crate::index::{CoreMetadata, IndexFile, ProjectPage};
use crate::pep::{PackageName, Version};
use crate::policy::Cutoff;
use crate::threads;

/// Requests on the way at one time.
const PARALLEL: usize = 16;

/// A project page, its wheels grouped by version.
#[derive(Debug)]
pub(super) struct Catalog {
    pub(super) page: Arc<ProjectPage>,
    /// Positions in `page.wheels`.
    pub(super) versions: BTreeMap<Version, Vec<usize>>,
    /// Versions all of whose wheels were uploaded too late, with the first time of upload.
    pub(super) too_new: BTreeMap<Version, String>,
    /// Whether some version is neither a pre-release nor yanked.
    pub(super) has_stable: bool,
}

/// An index that does not say when its files were uploaded.
#[derive(Debug, thiserror::Error)]
#[error("{place} does not say when the files of {name} were uploaded, so exclude-newer cannot be obeyed")]
pub struct NoUploadTimes {
    name: PackageName,
    place: String,
}

impl Catalog {
    /// These wheels of one name and no others.
    pub(super) fn of(name: &PackageName, wheels: Vec<IndexFile>) -> Self {
        let page = ProjectPage {
            wheels,
            ..ProjectPage::default()
        };
        Self::new(name, Arc::new(page), None)
    }

    fn new(name: &PackageName, page: Arc<ProjectPage>, cutoff: Option<Cutoff>) -> Self {
        let mut versions: BTreeMap<Version, Vec<usize>> = BTreeMap::new();
        let mut too_new: BTreeMap<Version, String> = BTreeMap::new();
        let mut has_stable = false;
        for (position, wheel) in page.wheels.iter().enumerate() {
            if wheel.filename.name != *name {
                continue;
            }
            let version = &wheel.filename.version;
            let time = wheel.upload_time.as_deref().unwrap_or("an unknown time");
            // What cannot be shown to be old enough is left out.
            if cutoff.is_some_and(|cutoff| cutoff.admits(time) != Some(true)) {
                let first = too_new.entry(version.clone()).or_insert_with(|| time.to_owned());
                if time < first.as_str() {
                    time.clone_into(first);
                }
                continue;
            }
            // Looked up first: a version has many files, and is seldom new.
            match versions.get_mut(version) {
                Some(positions) => positions.push(position),
                None => drop(versions.insert(version.clone(), vec![position])),
            }
            has_stable |= wheel.yanked.is_none() && !version.any_prerelease();
        }
        too_new.retain(|version, _| !versions.contains_key(version));
        Self {
            page,
            versions,
            too_new,
            has_stable,
        }
    }
}

/// Answers, or the error of an early request that nobody has asked for yet.
type Answers<K, V> = Mutex<HashMap<K, Result<V, BoxError>>>;

/// A [`PackageSource`] that remembers.
pub(super) struct Memo<'a> {
    source: &'a dyn PackageSource,
    exclude_newer: Option<Cutoff>,
    catalogs: Answers<PackageName, Option<Arc<Catalog>>>,
    metadata: Answers<String, Arc<CoreMetadata>>,
}

impl<'a> Memo<'a> {
    pub(super) fn new(source: &'a dyn PackageSource, exclude_newer: Option<Cutoff>) -> Self {
        Self {
            source,
            exclude_newer,
            catalogs: Mutex::default(),
            metadata: Mutex::default(),
        }
    }

    /// Where `name` is looked for, in words.
    pub(super) fn place(&self, name: &PackageName) -> String {
        self.source.place(name)
    }

    /// The wheels of a project; none where the index does not know it.
    pub(super) fn catalog(&self, name: &PackageName) -> Result<Option<Arc<Catalog>>, ResolveError> {
        get(&self.catalogs, name.clone(), || self.ask(name)).map_err(|source| ResolveError::Page {
            name: name.clone(),
            place: self.place(name),
            source,
        })
    }

    fn ask(&self, name: &PackageName) -> Result<Option<Arc<Catalog>>, BoxError> {
        let Some(page) = self.source.page(name)? else {
            return Ok(None);
        };
        let cutoff = self.exclude_newer.filter(|_| self.source.has_release_times(name));
        let timeless = |wheel: &IndexFile| wheel.upload_time.is_none();
        if cutoff.is_some() && !page.wheels.is_empty() && page.wheels.iter().all(timeless) {
            return Err(Box::new(NoUploadTimes {
                name: name.clone(),
                place: self.place(name),
            }));
        }
        Ok(Some(Arc::new(Catalog::new(name, page, cutoff))))
    }

    /// Whether `exclude-newer` was asked for and does not count for `name`.
    pub(super) fn ignores_times(&self, name: &PackageName) -> bool {
        self.exclude_newer.is_some() && !self.source.has_release_times(name)
    }

    /// What is wrong with metadata that arrived and cannot be understood; none where it did not arrive.
    pub(super) fn is_unsound(&self, error: &BoxError) -> Option<String> {
        self.source.is_unsound(error)
    }

    /// The metadata of one wheel.
    pub(super) fn metadata(&self, file: &IndexFile) -> Result<Arc<CoreMetadata>, ResolveError> {
        get(&self.metadata, file.url.to_string(), || self.source.metadata(file)).map_err(|source| {
            ResolveError::Metadata {
                file: file.file.clone(),
                source,
            }
        })
    }

    /// Asks early for the pages of `names`, and for the metadata of the wheel that `likely` expects of each.
    pub(super) fn prefetch<'n>(
        &self,
        names: impl IntoIterator<Item = &'n PackageName>,
        likely: impl Fn(&PackageName, &Arc<Catalog>) -> Vec<IndexFile> + Sync,
    ) {
        let names: Vec<&PackageName> = names.into_iter().collect();
        concurrently(&names, |name| {
            if let Some(Some(catalog)) = warm(&self.catalogs, (*name).clone(), || self.ask(name)) {
                for file in likely(name, &catalog) {
                    self.prefetch_metadata_of(&file);
                }
            }
        });
    }

    /// Asks early for the metadata of `files`.
    pub(super) fn prefetch_metadata(&self, files: &[IndexFile]) {
        concurrently(files, |file| self.prefetch_metadata_of(file));
    }

    fn prefetch_metadata_of(&self, file: &IndexFile) {
        warm(&self.metadata, file.url.to_string(), || self.source.metadata(file));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A map of finished answers is consistent whenever the guard is free.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The answer for `key`, asked for if need be; an error is handed over and forgotten.
fn get<K: Eq + Hash, V: Clone>(
    answers: &Answers<K, V>,
    key: K,
    ask: impl FnOnce() -> Result<V, BoxError>,
) -> Result<V, BoxError> {
    let known = {
        let mut answers = locked(answers);
        match answers.get(&key) {
            Some(Ok(answer)) => Some(Ok(answer.clone())),
            Some(Err(_)) => answers.remove(&key),
            None => None,
        }
    };
    if let Some(known) = known {
        return known;
    }
    let answer = ask()?;
    locked(answers).insert(key, Ok(answer.clone()));
    Ok(answer)
}

/// Asks unless the answer is there; keeps errors for whoever needs the answer.
fn warm<K: Eq + Hash, V: Clone>(
    answers: &Answers<K, V>,
    key: K,
    ask: impl FnOnce() -> Result<V, BoxError>,
) -> Option<V> {
    if let Some(known) = locked(answers).get(&key) {
        return known.as_ref().ok().cloned();
    }
    let answer = ask();
    let value = answer.as_ref().ok().cloned();
    locked(answers).insert(key, answer);
    value
}

/// Calls `work` for every item, a few at a time, and waits for all.
fn concurrently<T: Sync>(items: &[T], work: impl Fn(&T) + Sync) {
    let queue = Mutex::new(items.iter());
    let run = || {
        loop {
            // Taken in a statement of its own, so that the guard is free while the item is worked on.
            let item = locked(&queue).next();
            match item {
                Some(item) => work(item),
                None => return,
            }
        }
    };
    // The calling thread works too, so that one item costs no thread.
    threads::share(items.len().clamp(1, PARALLEL) - 1, run);
}
