//! Digests that no index states: of what was downloaded, and where they are known already.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Project;
use super::network::Network;
use super::relock::RelockError;
use crate::digest::WheelDigest;
use crate::env::admission;
use crate::env::tree::TreeError;
use crate::index::IndexFile;
use crate::lockfile::Lockfile;
use crate::progress::Event;
use crate::resolve::{Resolution, Upgrade};
use crate::target::PythonMinor;

/// What an earlier lock found out about `file` by downloading it, unless its package is to be chosen anew.
pub(super) fn known(existing: &Lockfile, file: &IndexFile, upgrade: &Upgrade) -> Option<(WheelDigest, u64)> {
    let name = &file.filename.name;
    let kept = match upgrade {
        Upgrade::None => true,
        Upgrade::All => false,
        Upgrade::Packages(names) => !names.contains(name),
    };
    if !kept || !existing.settings.hashed_by_download.contains(&file.file) {
        return None;
    }
    let same = existing.packages.iter().filter(|package| package.name == *name);
    let wheel = same
        .flat_map(|package| &package.wheels)
        .find(|wheel| wheel.file == file.file)?;
    let size = wheel.size?;
    file.size
        .is_none_or(|stated| stated == size)
        .then_some((wheel.digest, size))
}

impl Project<'_> {
    /// Downloads the wheels whose digests nobody states, all at once, and refuses those that no build would take.
    pub(super) fn download_unstated(
        &self,
        network: &Network,
        resolutions: &[Resolution],
        known: &dyn Fn(&IndexFile) -> Option<(WheelDigest, u64)>,
    ) -> Result<(), RelockError> {
        let mut unstated = unstated(resolutions);
        unstated.retain(|(file, _)| known(file).is_none());
        let files: Vec<&IndexFile> = unstated.iter().map(|(file, _)| *file).collect();
        let arrived = network.sources.whole().fetch(&files, self.reporter);
        let arrived = arrived.map_err(|source| RelockError::Unstated(Box::new(source)))?;
        for ((file, pythons), wheel) in unstated.into_iter().zip(arrived) {
            self.check_whole(file, wheel.path(), pythons).map_err(|source| {
                network.sources.whole().forget(file);
                RelockError::Refused(Box::new(source))
            })?;
        }
        Ok(())
    }

    /// Refuses a wheel that is at hand whole as unpacking it for one of `pythons` would, before it is locked.
    pub(super) fn check_whole(
        &self,
        file: &IndexFile,
        path: &Path,
        pythons: BTreeSet<PythonMinor>,
    ) -> Result<(), TreeError> {
        let allowed = self.config.allow_unrecorded;
        let unrecorded = admission::check((&file.file, &file.filename), path, pythons, allowed)?;
        if let Some(message) = admission::unrecorded_warning(&file.file, &unrecorded) {
            self.reporter.event(Event::Warning { message: &message });
        }
        Ok(())
    }
}

/// The wheels of these resolutions for which the index states no digest, each once, with the Pythons that would get it.
fn unstated(resolutions: &[Resolution]) -> Vec<(&IndexFile, BTreeSet<PythonMinor>)> {
    let mut all: BTreeMap<&str, (&IndexFile, BTreeSet<PythonMinor>)> = BTreeMap::new();
    for resolution in resolutions {
        let wheels = resolution.packages.iter().flat_map(|package| &package.wheels);
        for wheel in wheels {
            let (listed, pythons) = all.entry(&wheel.file).or_insert((wheel, BTreeSet::new()));
            // One file may be listed twice, and only once with its digest.
            if wheel.digest.is_some() {
                *listed = wheel;
            }
            pythons.insert(resolution.target.python);
        }
    }
    all.into_values().filter(|(file, _)| file.digest.is_none()).collect()
}
