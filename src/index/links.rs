//! pip's `find-links`: folders, single wheels and HTML pages that hold wheels of any project.
//!
//! Owns: what a location is and which wheels of a name it has. A folder or file that does not exist holds nothing, as
//! with pip; one that cannot be read is an error. Wheels on this machine get their digest here, since no page states
//! it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use super::metadata::local_path;
use super::page::{Row, Scope, rows};
use super::store::{Freshness, PageStore};
use super::{Error, ProjectPage};
use crate::digest::{WheelDigest, hash_reader};
use crate::fsx::{PathContext as _, PathError};
use crate::pep::PackageName;

/// One configured location.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Location {
    Path(PathBuf),
    Page(Url),
}

impl Location {
    fn of(text: &str) -> Self {
        match Url::parse(text) {
            Ok(url) if url.scheme() == "file" => match url.to_file_path() {
                Ok(path) => Self::Path(path),
                Err(()) => Self::Path(PathBuf::from(text)),
            },
            Ok(url) if matches!(url.scheme(), "http" | "https") => Self::Page(url),
            _ => Self::Path(PathBuf::from(text)),
        }
    }
}

/// Whether a location may hold a wheel; asks no network.
pub(super) fn may_hold_wheels(text: &str) -> bool {
    match Location::of(text) {
        Location::Page(_) => true,
        Location::Path(path) => local_rows(&path).map_or(true, |rows| !rows.is_empty()),
    }
}

/// The configured locations, in order.
#[derive(Debug)]
pub struct Links {
    locations: Vec<Location>,
    store: PageStore,
    memo: Mutex<HashMap<PackageName, Arc<ProjectPage>>>,
}

impl Links {
    /// Reads locations as pip's configuration writes them: paths, `file:` URLs, pages.
    #[must_use]
    pub fn new(locations: &[String], store: PageStore) -> Self {
        let adopted = |text: &String| match Location::of(text) {
            Location::Page(url) => Location::Page(store.http().adopt(url)),
            path @ Location::Path(_) => path,
        };
        Self {
            locations: locations.iter().map(adopted).collect(),
            store,
            memo: Mutex::default(),
        }
    }

    /// Whether nothing is configured.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.locations.is_empty()
    }

    /// The wheels of `name` in all locations.
    pub fn page(&self, name: &PackageName) -> Result<Arc<ProjectPage>, Error> {
        let memo = || self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(page) = memo().get(name) {
            return Ok(Arc::clone(page));
        }
        let mut all = Vec::new();
        for location in &self.locations {
            all.extend(match location {
                Location::Path(path) => local_rows(path).map_err(|source| Error::Links {
                    location: path.display().to_string(),
                    source,
                })?,
                Location::Page(url) => self.page_rows(url)?,
            });
        }
        let mut page = ProjectPage::collect(name, all, Scope::Links);
        for wheel in page.wheels.iter_mut().filter(|wheel| wheel.url.scheme() == "file") {
            let path = local_path(&wheel.url)?;
            let (digest, size) = std::fs::File::open(&path).and_then(hash_reader).at("read", &path)?;
            // A local page may state a digest; the bytes are here to be asked.
            if wheel.digest.is_none() {
                wheel.digest = Some(WheelDigest::from_bytes(digest));
            }
            wheel.size = Some(size);
        }
        let page = Arc::new(page);
        memo().insert(name.clone(), Arc::clone(&page));
        Ok(page)
    }

    fn page_rows(&self, url: &Url) -> Result<Vec<Result<Row, String>>, Error> {
        let fetched = self.store.get(url, Freshness::Usual)?.map_err(|source| Error::Fetch {
            url: url.into(),
            source,
        })?;
        rows(&fetched.url, fetched.content_type.as_deref(), &fetched.body).map_err(|source| Error::Page {
            url: url.into(),
            source,
        })
    }
}

/// The rows of a folder, a wheel or an HTML page on this machine.
fn local_rows(path: &Path) -> Result<Vec<Result<Row, String>>, PathError> {
    let path = &std::path::absolute(path).at("make absolute", path)?;
    let meta = match std::fs::metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).at("look at", path),
    };
    let url_of =
        |path: &Path| Url::from_file_path(path).map_err(|()| format!("{} cannot be written as a URL", path.display()));
    let row_of = |path: &Path| url_of(path).and_then(|url| Row::new(&url, ""));
    if meta.is_dir() {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(path).at("list", path)? {
            files.push(entry.at("list", path)?.path());
        }
        // The order of a folder's entries means nothing; results must not depend on it.
        files.sort();
        files.retain(|file| file.extension().is_some_and(|extension| extension == "whl"));
        return Ok(files.iter().map(|file| row_of(file)).collect());
    }
    if path.extension().is_some_and(|extension| extension == "whl") {
        return Ok(vec![row_of(path)]);
    }
    let body = std::fs::read(path).at("read", path)?;
    match url_of(path) {
        Ok(url) => Ok(rows(&url, Some("text/html"), &body).unwrap_or_default()),
        Err(reason) => Ok(vec![Err(reason)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::http::testing::{Reply, Server, http};

    fn links(locations: &[String], folder: &Path) -> Links {
        Links::new(
            locations,
            PageStore::new(Arc::new(http()), Cache::new(folder.join("cache"))),
        )
    }

    fn files(links: &Links, name: &str) -> Vec<String> {
        let page = links.page(&name.parse().expect("a name")).expect("readable");
        page.wheels.iter().map(|wheel| wheel.url.to_string()).collect()
    }

    #[test]
    fn folders_files_and_pages_are_searched_by_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let wheels = folder.path().join("my wheels");
        std::fs::create_dir(&wheels).expect("a folder");
        for file in [
            "a-1+local-py3-none-any.whl",
            "b-1-py3-none-any.whl",
            "a-1.tar.gz",
            "nonsense.whl",
        ] {
            std::fs::write(wheels.join(file), b"bytes").expect("written");
        }
        let page = folder.path().join("page.html");
        std::fs::write(&page, "<a href='my wheels/b-1-py3-none-any.whl'>b</a><a href='https://example.org/a-2-py3-none-any.whl#sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'>a</a>")
            .expect("written");
        let server = Server::start(|_| {
            Reply::new(
                200,
                "<a href='a-3-py3-none-any.whl'>a</a><a href='c-3-py3-none-any.whl'>c</a>",
            )
            .with("content-type", "text/html")
        });
        let locations = [
            wheels.display().to_string(),
            Url::from_file_path(&page).expect("a URL").to_string(),
            server.at("links.html").to_string(),
            folder.path().join("absent").display().to_string(),
            wheels.join("b-1-py3-none-any.whl").display().to_string(),
        ];
        let links = links(&locations, folder.path());
        let a = links.page(&"A".parse().expect("a name")).expect("readable");
        let versions: Vec<_> = a
            .wheels
            .iter()
            .map(|wheel| wheel.filename.version.to_string())
            .collect();
        assert_eq!(versions, ["1+local", "2", "3"]);
        assert_eq!(a.wheels[0].digest, Some(WheelDigest::of(b"bytes")));
        assert_eq!((a.wheels[0].size, a.wheels[2].digest), (Some(5), None));
        assert_eq!(files(&links, "b").len(), 3);
        assert_eq!(files(&links, "absent"), [""; 0]);
        assert_eq!(files(&links, "c"), [server.at("c-3-py3-none-any.whl").to_string()]);
    }
}
