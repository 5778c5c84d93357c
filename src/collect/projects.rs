//! What projects and out-links keep, and what becomes of roots that lead nowhere.
//!
//! A project that is not found keeps what it was last seen to need for a stated time: its disk may not be mounted. The
//! same holds for one whose folder is there without a trace of flambeau (an empty mount point), and for an out-link
//! whose folder is gone. An out-link that was deleted or leads elsewhere ends at once, as in Nix.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::CollectError;
use super::survey::Reason;
use crate::profile::Profile;
use crate::store::Store;
use crate::store::roots::{Note, environment_of_link};
use crate::store::times::{Now, Stamp};

/// What roots come to.
#[derive(Debug, Default)]
pub(super) struct Rooted {
    /// By environment.
    pub(super) reasons: BTreeMap<String, Vec<Reason>>,
    /// Roots whose time is up, or whose link is gone.
    pub(super) ended: Vec<PathBuf>,
    /// What to remember beside roots.
    pub(super) notes: Vec<(PathBuf, Note)>,
    /// Missing roots of which nothing is remembered: they may need anything.
    pub(super) unknown: Vec<Reason>,
    /// The folders of the projects that are there.
    pub(super) projects: Vec<PathBuf>,
    /// What could not be read, where that is no reason to stop.
    pub(super) problems: Vec<CollectError>,
}

/// What is read beside the roots.
pub(super) struct Reading<'a> {
    pub(super) store: &'a Store,
    pub(super) now: &'a Now,
    pub(super) vanished_after: Duration,
    /// Whether to go on after a root that cannot be read: for whoever only tells.
    pub(super) tolerant: bool,
}

impl Reading<'_> {
    pub(super) fn read(&self) -> Result<Rooted, CollectError> {
        let mut rooted = Rooted::default();
        let roots = self.store.project_roots();
        for root in roots.map_err(|error| CollectError::root(&self.store.roots_dir(), error))? {
            let read = self.project(&root.root, &root.project, &mut rooted);
            self.tolerate(read, &mut rooted)?;
        }
        let links = self.store.out_links();
        for link in links.map_err(|error| CollectError::root(&self.store.roots_dir(), error))? {
            let read = self.out_link(&link.root, &link.link, &mut rooted);
            self.tolerate(read, &mut rooted)?;
        }
        let pins = self.store.pins();
        for pin in pins.map_err(|error| CollectError::root(&self.store.roots_dir(), error))? {
            rooted.keep(pin.environment, Reason::Pin { name: pin.name });
        }
        Ok(rooted)
    }

    fn tolerate(&self, read: Result<(), CollectError>, rooted: &mut Rooted) -> Result<(), CollectError> {
        match read {
            Err(problem) if self.tolerant => {
                rooted.problems.push(problem);
                Ok(())
            }
            read => read,
        }
    }

    fn project(&self, root: &Path, project: &Path, rooted: &mut Rooted) -> Result<(), CollectError> {
        match std::fs::metadata(project) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.missing(root, project, rooted);
            }
            Err(error) => return Err(CollectError::root(project, error)),
        }
        let profile = Profile::new(project);
        let failed = |error| CollectError::profile(project, error);
        let generations = profile.generations().map_err(failed)?;
        let active = profile.active_path().map_err(failed)?;
        let records = count_records(project)?;
        if records == 0 && active.is_none() {
            return self.missing(root, project, rooted);
        }
        let current = profile.current().map_err(failed)?.map(|generation| generation.number);
        let mut environments = BTreeSet::new();
        for generation in &generations {
            let Some(name) = name_of(&generation.path) else {
                continue;
            };
            environments.insert(name.clone());
            let reason = Reason::Generation {
                project: project.to_owned(),
                number: generation.number,
                active: current == Some(generation.number),
            };
            rooted.keep(name, reason);
        }
        if let Some(name) = active.as_deref().and_then(name_of) {
            environments.insert(name.clone());
            if current.is_none() {
                let project = project.to_owned();
                rooted.keep(name, Reason::Active { project });
            }
        }
        // A generation that cannot be read was one once: what was known of it counts.
        if generations.len() < records {
            let note = self.note(root)?;
            for name in note.map(|note| note.environments).unwrap_or_default() {
                environments.insert(name.clone());
                let project = project.to_owned();
                rooted.keep(name, Reason::Remembered { project });
            }
        }
        rooted.projects.push(project.to_owned());
        rooted
            .notes
            .push((root.to_owned(), Note::new(project, environments, None)));
        Ok(())
    }

    fn out_link(&self, root: &Path, link: &Path, rooted: &mut Rooted) -> Result<(), CollectError> {
        match std::fs::read_link(link) {
            Ok(target) => match environment_of_link(&target) {
                Some(name) => {
                    let path = link.to_owned();
                    rooted.keep(name.to_owned(), Reason::OutLink { path });
                }
                None => rooted.ended.push(root.to_owned()),
            },
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => rooted.ended.push(root.to_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if link.parent().is_some_and(Path::is_dir) {
                    rooted.ended.push(root.to_owned());
                } else {
                    self.missing(root, link, rooted)?;
                }
            }
            Err(error) => return Err(CollectError::root(link, error)),
        }
        Ok(())
    }

    fn note(&self, root: &Path) -> Result<Option<Note>, CollectError> {
        self.store.note(root).map_err(|error| CollectError::root(root, error))
    }

    /// What a root leads to is not found.
    fn missing(&self, root: &Path, path: &Path, rooted: &mut Rooted) -> Result<(), CollectError> {
        let note = self.note(root)?;
        let since = note.as_ref().and_then(|note| note.missing.clone());
        let age = since.as_ref().map_or(Duration::ZERO, |since| since.age(self.now));
        if age >= self.vanished_after {
            rooted.ended.push(root.to_owned());
            return Ok(());
        }
        let reason = Reason::Missing {
            path: path.to_owned(),
            days: age.as_secs() / 86_400,
            counts_for_days: self.vanished_after.as_secs() / 86_400,
        };
        let missing = Some(since.unwrap_or_else(Stamp::now));
        let Some(note) = note.filter(|note| !note.unknown) else {
            // It was registered by a version that took no notes. From now on the time runs.
            rooted.unknown.push(reason);
            let mut unknown = Note::new(path, BTreeSet::new(), missing);
            unknown.unknown = true;
            rooted.notes.push((root.to_owned(), unknown));
            return Ok(());
        };
        for name in &note.environments {
            rooted.keep(name.clone(), reason.clone());
        }
        rooted
            .notes
            .push((root.to_owned(), Note::new(path, note.environments, missing)));
        Ok(())
    }
}

impl Rooted {
    fn keep(&mut self, environment: String, reason: Reason) {
        self.reasons.entry(environment).or_default().push(reason);
    }
}

/// The environment that a path means. The name alone counts: a store that was moved keeps what its projects need.
fn name_of(path: &Path) -> Option<String> {
    path.file_name()?.to_str().map(str::to_owned)
}

/// How many generations were ever written and not deleted, readable or not.
fn count_records(project: &Path) -> Result<usize, CollectError> {
    let folder = project.join(".flambeau/generations");
    let entries = match std::fs::read_dir(&folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(CollectError::root(&folder, error)),
        Ok(entries) => entries,
    };
    let mut count = 0;
    for entry in entries {
        let name = entry.map_err(|error| CollectError::root(&folder, error))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".json"));
        count += usize::from(number.is_some_and(|number| number.parse::<u64>().is_ok()));
    }
    Ok(count)
}
