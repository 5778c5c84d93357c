//! Where the wheels of a lockfile are fetched from, and which of this machine's files may be opened for them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Project;
use super::lockfiles::ReadLockfile;
use super::network::Network;
use super::realise::RealiseError;
use crate::cache::Cache;
use crate::fetch;
use crate::lockfile::foreign::inside;
use crate::lockfile::{Origin, Selected};
use crate::pep::PackageName;

/// Where the wheels of a lockfile may be.
#[derive(Debug, Clone)]
pub(super) struct Homes {
    /// The lockfile's folder, which its paths start at.
    folder: PathBuf,
    /// The folder that local wheels must be in: the project's for its own lockfiles, else the lockfile's.
    root: PathBuf,
    /// Whether they may be anywhere.
    anywhere: bool,
    /// Packages that no index is asked for.
    pub(super) direct: BTreeSet<PackageName>,
}

impl Homes {
    /// Refuses a local wheel that may not be opened. The cache is asked first: what it has needs no path.
    pub(super) fn check(&self, selected: &Selected<'_>, cache: &Cache) -> Result<(), RealiseError> {
        let wheel = selected.wheel;
        let path = match &wheel.origin {
            Origin::Path(path) => self.path(path),
            Origin::Url(url) if url.scheme() == "file" => url.to_file_path().unwrap_or_default(),
            Origin::Url(_) | Origin::Index => return Ok(()),
        };
        let cached = cache.find_wheel(&wheel.digest, &wheel.file, wheel.size);
        if self.allows(&path) || cached.is_ok_and(|found| found.is_some()) {
            return Ok(());
        }
        Err(RealiseError::Outside {
            file: wheel.file.clone(),
            path,
            root: self.root.clone(),
        })
    }

    /// PEP 751: either separator.
    fn path(&self, path: &str) -> PathBuf {
        self.folder.join(path.replace('\\', "/"))
    }

    /// Links are followed before it is asked whether the file is inside.
    fn allows(&self, path: &Path) -> bool {
        self.anywhere || std::path::absolute(path).is_ok_and(|path| inside(&self.root, &path))
    }
}

impl Project<'_> {
    /// Where the wheels of a lockfile may be.
    pub(super) fn homes(&self, read: &ReadLockfile) -> Homes {
        let folder = read.folder().to_owned();
        let real = |path: &Path| path.canonicalize().ok();
        let own = real(&folder).is_some() && real(&folder) == real(&self.lockfiles_dir());
        Homes {
            root: if own {
                self.config.project.clone()
            } else {
                folder.clone()
            },
            folder,
            anywhere: self.config.allow_path,
            direct: read.lockfile.direct(),
        }
    }
}

/// Where a lockfile's wheel is fetched from.
pub(super) fn wanted(selected: &Selected<'_>, network: &Network, homes: &Homes) -> fetch::Wanted {
    let local = |path: PathBuf| {
        let path = std::path::absolute(path).ok().filter(|path| homes.allows(path));
        path.and_then(|path| url::Url::from_file_path(path).ok())
    };
    let urls = match &selected.wheel.origin {
        Origin::Url(url) if url.scheme() == "file" => url.to_file_path().ok().and_then(local).into_iter().collect(),
        Origin::Url(url) => vec![network.sources.fetch_url(url)],
        Origin::Path(path) => local(homes.path(path)).into_iter().collect(),
        Origin::Index => Vec::new(),
    };
    let wheel = selected.wheel;
    fetch::Wanted {
        file: wheel.file.clone(),
        digest: Some(wheel.digest),
        size: wheel.size,
        urls,
    }
}
