//! The backend of a torch wheel that no channel tells: read from its `torch/version.py` as text, by range requests
//! where the wheel is not in the cache. Nothing is executed.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use url::Url;

use super::network::Network;
use crate::backend::Backend;
use crate::cache::Cache;
use crate::digest::WheelDigest;
use crate::index::IndexFile;
use crate::index::remote::RemoteFile;
use crate::lockfile::{Origin, Selected};
use crate::resolve::{BoxError, Resolution};
use crate::target::{Platform, Target};
use crate::threads;
use crate::wheel::archive::{Archive, ArchiveError, LocalFile, ReadAt};

/// A `torch/version.py` larger than this is none.
const VERSION_FILE_MAX: u64 = 1 << 16;

/// A torch wheel that does not tell its backend.
#[derive(Debug, thiserror::Error)]
pub(super) enum BackendError {
    #[error("cannot read {file} at its place on the index")]
    Remote {
        file: String,
        #[source]
        source: BoxError,
    },
    #[error("{file} cannot be read")]
    Archive {
        file: String,
        #[source]
        source: ArchiveError,
    },
    #[error("{0} has no torch/version.py")]
    NoVersionFile(String),
    #[error("{0} is nowhere to be found")]
    Nowhere(String),
    #[error("the server of {0} does not answer range requests")]
    NoRanges(String),
}

/// What the torch wheel of a target says of itself, read by range requests from its `torch/version.py` and remembered
/// under its digest.
pub(super) fn of_wheel(network: &Network, target: &Target, torch: &IndexFile) -> Result<Backend, BackendError> {
    // Neither vendor has had a driver for macOS since long before wheels were made for it.
    if matches!(target.platform, Platform::MacOs(..)) {
        return Ok(Backend::Cpu);
    }
    let answer = torch.digest.map(|digest| {
        network
            .cache
            .answer_path(&format!("the backend of the torch wheel {digest}"))
    });
    let stored = answer.as_ref().and_then(|path| Cache::read(path).ok().flatten());
    let stored = stored.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    if let Some(backend) = stored {
        return Ok(backend);
    }
    let backend = read(network, torch)?;
    if let (Some(path), Ok(bytes)) = (answer, serde_json::to_vec(&backend)) {
        // Kept to save time only.
        network.cache.write(&path, &bytes).ok();
    }
    Ok(backend)
}

/// Reads the torch wheels of all targets at once, so that they are remembered when each is asked for.
pub(super) fn ask_early(network: &Network, resolutions: &[Resolution]) {
    let torch = |resolution: &'_ Resolution| {
        let package = resolution
            .packages
            .iter()
            .find(|package| package.name.as_str() == "torch")?;
        Some((resolution.target, package.wheels.first()?.clone()))
    };
    let wheels: BTreeMap<String, (Target, IndexFile)> = resolutions
        .iter()
        .filter_map(torch)
        .map(|(target, wheel)| (wheel.file.clone(), (target, wheel)))
        .collect();
    let waiting = Mutex::new(wheels.values());
    threads::share(wheels.len().saturating_sub(1), || {
        loop {
            let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((target, wheel)) = next else { return };
            // Whoever needs the answer asks again, and gets the error.
            of_wheel(network, target, wheel).ok();
        }
    });
}

fn read(network: &Network, torch: &IndexFile) -> Result<Backend, BackendError> {
    let file = || torch.file.clone();
    if let Some(digest) = &torch.digest
        && let Some(backend) = of_cached(network, digest, &torch.file)?
    {
        return Ok(backend);
    }
    if torch.url.scheme() == "file" {
        let path = torch.url.to_file_path().map_err(|()| BackendError::Nowhere(file()))?;
        let local = std::fs::File::open(path).map_err(|source| BackendError::Remote {
            file: file(),
            source: source.into(),
        })?;
        return of_file(local, &torch.file);
    }
    let remote = RemoteFile::open(&network.http, &torch.url)
        .map_err(|source| BackendError::Remote {
            file: file(),
            source: source.into(),
        })?
        .ok_or_else(|| BackendError::NoRanges(file()))?;
    read_backend(remote, &torch.file)
}

/// What a locked torch wheel says of itself.
pub(super) fn of_locked(network: &Network, torch: &Selected<'_>) -> Result<Backend, BoxError> {
    let wheel = torch.wheel;
    let listed = |url: Url| IndexFile {
        filename: wheel.filename.clone(),
        file: wheel.file.clone(),
        url,
        digest: Some(wheel.digest),
        size: wheel.size,
        requires_python: None,
        yanked: None,
        metadata: None,
        upload_time: None,
    };
    if let Some(backend) = of_cached(network, &wheel.digest, &wheel.file)? {
        return Ok(backend);
    }
    let listed = match &wheel.origin {
        Origin::Url(url) => Some(listed(network.sources.fetch_url(url))),
        Origin::Index | Origin::Path(_) => network
            .sources
            .locate(&torch.package.name, &wheel.file, &wheel.digest)?,
    };
    let listed = listed.ok_or_else(|| BackendError::Nowhere(wheel.file.clone()))?;
    Ok(read(network, &listed)?)
}

fn of_cached(network: &Network, digest: &WheelDigest, file: &str) -> Result<Option<Backend>, BackendError> {
    match std::fs::File::open(network.cache.wheel_path(digest, file)) {
        Ok(local) => of_file(local, file).map(Some),
        Err(_) => Ok(None),
    }
}

fn of_file(local: std::fs::File, file: &str) -> Result<Backend, BackendError> {
    let local = LocalFile::new(local).map_err(|source| BackendError::Remote {
        file: file.to_owned(),
        source: source.into(),
    })?;
    read_backend(local, file)
}

fn read_backend(reader: impl ReadAt, torch: &str) -> Result<Backend, BackendError> {
    let archive_error = |source| BackendError::Archive {
        file: torch.to_owned(),
        source,
    };
    let archive = Archive::open(reader).map_err(archive_error)?;
    let entry = archive
        .find("torch/version.py")
        .ok_or_else(|| BackendError::NoVersionFile(torch.to_owned()))?;
    let text = archive.read(entry, VERSION_FILE_MAX).map_err(archive_error)?;
    Ok(backend_of_version_file(&String::from_utf8_lossy(&text)))
}

/// Reads `cuda: Optional[str] = '12.6'` and `hip: Optional[str] = None` as text; nothing is executed.
fn backend_of_version_file(text: &str) -> Backend {
    let is_set = |name: &str| {
        text.lines().any(|line| {
            let Some((left, right)) = line.split_once('=') else {
                return false;
            };
            let variable = left.split(':').next().unwrap_or(left).trim();
            variable == name && right.trim().starts_with(['\'', '"'])
        })
    };
    if is_set("hip") {
        Backend::Rocm
    } else if is_set("cuda") {
        Backend::Cuda
    } else {
        Backend::Cpu
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backend_is_read_from_the_text_of_version_py() {
        let real = "from typing import Optional\n\n__all__ = ['__version__', 'debug', 'cuda', 'git_version', 'hip', 'xpu']\n\
                    __version__ = '2.7.0+cu126'\ndebug = False\ncuda: Optional[str] = '12.6'\ngit_version = 'abc'\n\
                    hip: Optional[str] = None\nxpu: Optional[str] = None\n";
        assert_eq!(backend_of_version_file(real), Backend::Cuda);
        assert_eq!(backend_of_version_file(&real.replace("'12.6'", "None")), Backend::Cpu);
        assert_eq!(
            backend_of_version_file(
                &real
                    .replace("'12.6'", "None")
                    .replace("hip: Optional[str] = None", "hip = \"6.3\"")
            ),
            Backend::Rocm
        );
        assert_eq!(backend_of_version_file(""), Backend::Cpu);
    }
}
