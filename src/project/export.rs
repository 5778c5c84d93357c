//! A lockfile in forms that other tools install from: PEP 751 with complete URLs, and hashed requirements for one
//! target.
//!
//! Wheels of the package index have no URL in a lockfile; here they get the one that this machine's index has for their
//! digest. Nothing is resolved: what an index does not list under the locked digest is refused.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use url::Url;

use super::Project;
use super::lockfiles::ReadLockfile;
use super::network::{Network, NetworkError};
use crate::backend::is_family;
use crate::index::ProjectPage;
use crate::lockfile::text::local_path;
use crate::lockfile::{LockedWheel, Lockfile, Origin, SelectError, Selected};
use crate::pep::PackageName;
use crate::python::Interpreter;
use crate::requirement;
use crate::target::Target;

/// Why a lockfile cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// An index did not answer.
    #[error("cannot ask for {name}")]
    Index {
        /// The package.
        name: PackageName,
        /// Why.
        #[source]
        source: Box<crate::index::Error>,
    },
    /// The index does not list a locked wheel.
    #[error("{place} does not list {file} with the digest that is locked")]
    Unlisted {
        /// The wheel.
        file: String,
        /// Where was looked.
        place: String,
    },
    /// The lockfile does not install.
    #[error("the lockfile {} does not install", path.display())]
    Select {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: SelectError,
    },
}

impl Project<'_> {
    /// The lockfile with a URL for every wheel, except local ones.
    pub fn with_urls(&self, lockfile: &Lockfile, interpreter: Option<&Interpreter>) -> Result<Lockfile, ExportError> {
        let mut lockfile = lockfile.clone();
        let is_indexed = |wheel: &LockedWheel| wheel.origin == Origin::Index;
        if !lockfile
            .packages
            .iter()
            .any(|package| package.wheels.iter().any(is_indexed))
        {
            return Ok(lockfile);
        }
        let network = self.network(&lockfile.channel, interpreter)?;
        let packages = lockfile.packages.iter_mut();
        for package in packages.filter(|package| package.wheels.iter().any(is_indexed)) {
            let page = network
                .sources
                .page(&package.name)
                .map_err(|error| index(&package.name, error))?;
            for wheel in package.wheels.iter_mut().filter(|wheel| is_indexed(wheel)) {
                wheel.origin = Origin::Url(url_of(&package.name, wheel, page.as_ref(), &network)?);
            }
        }
        Ok(lockfile)
    }
}

/// The lockfile as it stands in another folder: paths of local wheels lead to the same files.
#[must_use]
pub fn moved(read: &ReadLockfile, folder: &Path) -> Lockfile {
    let mut lockfile = read.lockfile.clone();
    let absolute = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path)).ok();
    let (Some(from), Some(to)) = (absolute(read.folder()), absolute(folder)) else {
        return lockfile;
    };
    for wheel in lockfile.packages.iter_mut().flat_map(|package| &mut package.wheels) {
        if let Origin::Path(path) = &mut wheel.origin
            && !path.starts_with('/')
        {
            let seen = requirement::between(&to, &from.join(path.replace('\\', "/")));
            *path = local_path(&seen.to_string_lossy());
        }
    }
    lockfile
}

fn index(name: &PackageName, error: crate::index::Error) -> ExportError {
    ExportError::Index {
        name: name.clone(),
        source: Box::new(error),
    }
}

fn url_of(
    name: &PackageName,
    wheel: &LockedWheel,
    page: Option<&Arc<ProjectPage>>,
    network: &Network,
) -> Result<Url, ExportError> {
    let is_it = |file: &&crate::index::IndexFile| file.file == wheel.file && file.digest == Some(wheel.digest);
    if let Some(file) = page.and_then(|page| page.wheels.iter().find(is_it)) {
        return Ok(file.url.clone());
    }
    // The page may be older than the wheel: it is asked for once more.
    let found = network
        .sources
        .locate(name, &wheel.file, &wheel.digest)
        .map_err(|error| index(name, error))?;
    found.map(|file| file.url).ok_or_else(|| ExportError::Unlisted {
        file: wheel.file.clone(),
        place: network
            .sources
            .place(name)
            .map_or_else(|_| "the package index".to_owned(), |place| place.to_string()),
    })
}

/// The requirements file of one target: every package with the digest of the one wheel that the target installs.
///
/// Wheels of a channel, and those that a requirement names by URL, are named by URL, so that no second index is needed
/// (two indexes for one name are how strangers' packages get installed); all others by version.
pub fn requirements(read: &ReadLockfile, target: &Target) -> Result<String, ExportError> {
    let lockfile = &read.lockfile;
    let selected = lockfile.select(target).map_err(|source| ExportError::Select {
        path: read.path.clone(),
        source,
    })?;
    let direct = lockfile.direct();
    let mut text = format!(
        "# Made by `flambeau export --format requirements --channel {} --target {target}`.\n",
        lockfile.channel
    );
    for Selected { package, wheel } in selected {
        let of_channel = is_family(&package.name) && !lockfile.channel.is_pip();
        let (name, version) = (&package.name, &package.version);
        let what = match &wheel.origin {
            Origin::Url(url) if of_channel || direct.contains(name) => format!("{name} @ {url}"),
            Origin::Path(path) => local_path(path),
            Origin::Url(_) | Origin::Index => format!("{name}=={version}"),
        };
        // Writing to a string cannot fail.
        let _ = write!(text, "{what} \\\n    --hash=sha256:{}\n", wheel.digest);
    }
    Ok(text)
}
