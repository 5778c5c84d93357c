//! Digests that no index states: of what was downloaded, and where they are known already.

use std::collections::BTreeSet;
use std::io::Write as _;

use super::network::Network;
use crate::digest::{Hasher, WheelDigest};
use crate::fsx::PathContext as _;
use crate::http::Error as HttpError;
use crate::index::IndexFile;
use crate::lockfile::Lockfile;
use crate::resolve::{BoxError, Resolution, Upgrade};
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

/// The Pythons that would get `file`.
pub(super) fn pythons_of(resolutions: &[Resolution], file: &IndexFile) -> BTreeSet<PythonMinor> {
    let gets = |resolution: &&Resolution| {
        let wheels = resolution.packages.iter().flat_map(|package| &package.wheels);
        wheels.into_iter().any(|wheel| wheel.file == file.file)
    };
    let targets = resolutions.iter().filter(gets);
    targets.map(|resolution| resolution.target.python).collect()
}

/// Downloads a wheel for which the index states no digest, hashes it and keeps it in the cache.
pub(super) fn download(network: &Network, file: &IndexFile) -> Result<(WheelDigest, u64), BoxError> {
    let folder = network.cache.partial_folder()?;
    let mut temporary = tempfile::Builder::new()
        .prefix("unstated-")
        .suffix(".part")
        .tempfile_in(&folder)
        .at("create a file in", &folder)?;
    let mut disk = Ok(());
    let (digest, size) = network.http.retry().run(|| {
        let mut response = network.http.get(&file.url).bulk().send_once()?;
        let (mut hasher, mut size) = (Hasher::new(), 0);
        disk = temporary
            .as_file()
            .set_len(0)
            .and_then(|()| std::io::Seek::rewind(&mut temporary));
        let mut buffer = vec![0; 1 << 18];
        while disk.is_ok() {
            let count = response.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
            size += count as u64;
            disk = temporary.write_all(&buffer[..count]);
        }
        Ok::<_, HttpError>((WheelDigest::from_bytes(hasher.finish()), size))
    })?;
    disk.at("write", temporary.path())?;
    let path = temporary.into_temp_path();
    network.cache.admit_wheel(&path, &digest, &file.file)?;
    // Renamed away: nothing is left to delete.
    path.keep().ok();
    Ok((digest, size))
}
