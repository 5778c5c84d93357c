//! One index: project pages by name.
//!
//! Owns: where a project's page is, and which answers mean that there is none. Pages are read once a process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use super::store::{Freshness, PageStore};
use super::{Error, ProjectPage};
use crate::pep::PackageName;

/// Hosts of the PyTorch project's own index.
pub(super) const PYTORCH_HOSTS: [&str; 2] = ["download.pytorch.org", "download-r2.pytorch.org"];

/// What an index is for; decides what a refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    /// A channel of PyTorch or a mirror of one. Its storage answers 403 for what is not there.
    Channel,
    /// Any other index: 403 is a refusal.
    Package,
}

/// Pages already read, by project.
type Memo = Mutex<HashMap<PackageName, Option<Arc<ProjectPage>>>>;

/// An index under one base URL.
#[derive(Debug)]
pub struct Index {
    base: Url,
    kind: IndexKind,
    store: PageStore,
    memo: Memo,
}

impl Index {
    /// The index at `base`. Credentials in it are taken out and kept for its host alone.
    #[must_use]
    pub fn new(base: Url, kind: IndexKind, store: PageStore) -> Self {
        let mut base = store.http().adopt(base);
        base.set_fragment(None);
        // Without the slash, joining a name would replace the last segment.
        if !base.path().ends_with('/') {
            let path = format!("{}/", base.path());
            base.set_path(&path);
        }
        Self {
            base,
            kind,
            store,
            memo: Memo::default(),
        }
    }

    /// Its base URL, with a trailing slash and without credentials.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.base
    }

    /// The URL of a project's page.
    #[must_use]
    pub fn page_url(&self, name: &PackageName) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{name}/", self.base.path()));
        url
    }

    /// The page of `name`, or `None` where the index has no such project.
    pub fn page(&self, name: &PackageName) -> Result<Option<Arc<ProjectPage>>, Error> {
        if let Some(page) = self.memo().get(name) {
            return Ok(page.clone());
        }
        self.fetch(name, Freshness::Usual)
    }

    /// The page of `name` as the server has it now (as stored, offline).
    pub fn current_page(&self, name: &PackageName) -> Result<Option<Arc<ProjectPage>>, Error> {
        self.fetch(name, Freshness::Asked)
    }

    fn fetch(&self, name: &PackageName, freshness: Freshness) -> Result<Option<Arc<ProjectPage>>, Error> {
        let url = self.page_url(name);
        let page = match self.store.get(&url, freshness)? {
            Ok(fetched) => {
                let page = ProjectPage::parse(name, &fetched.url, fetched.content_type.as_deref(), &fetched.body)
                    .map_err(|source| {
                        // Kept, it would be confirmed by its own validators for ever.
                        self.store.forget(&url);
                        Error::Page {
                            url: (&url).into(),
                            source,
                        }
                    })?;
                Some(Arc::new(page))
            }
            Err(error) if error.status().is_some_and(|code| self.means_absent(code)) => None,
            Err(source) => {
                return Err(Error::Fetch {
                    url: (&url).into(),
                    source,
                });
            }
        };
        self.memo().insert(name.clone(), page.clone());
        Ok(page)
    }

    fn means_absent(&self, code: u16) -> bool {
        let forbids =
            self.kind == IndexKind::Channel || self.base.host_str().is_some_and(|host| PYTORCH_HOSTS.contains(&host));
        matches!(code, 404 | 410) || code == 403 && forbids
    }

    fn memo(&self) -> std::sync::MutexGuard<'_, HashMap<PackageName, Option<Arc<ProjectPage>>>> {
        self.memo.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Cache;
    use crate::http::testing::{Reply, Server, http};

    fn index(server: &Server, path: &str, kind: IndexKind, folder: &tempfile::TempDir) -> Index {
        let store = PageStore::new(Arc::new(http()), Cache::new(folder.path()));
        Index::new(server.at(path), kind, store)
    }

    fn name(text: &str) -> PackageName {
        text.parse().expect("a name")
    }

    #[test]
    fn pages_are_asked_once_under_the_normalised_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Server::start(|_| {
            Reply::new(200, "<a href='torch_vision-1-py3-none-any.whl'>x</a>").with("content-type", "text/html")
        });
        let index = index(&server, "whl/cpu", IndexKind::Channel, &folder);
        for _ in 0..2 {
            let page = index.page(&name("Torch_Vision")).expect("answered").expect("there");
            assert_eq!(
                page.wheels[0].url,
                server.at("whl/cpu/torch-vision/torch_vision-1-py3-none-any.whl")
            );
        }
        assert_eq!(server.paths(), ["/whl/cpu/torch-vision/"]);
        index.current_page(&name("torch-vision")).expect("answered");
        assert_eq!(server.seen().len(), 2);
    }

    #[test]
    fn only_a_channel_may_say_403_for_what_it_does_not_have() {
        for (kind, code, absent) in [
            (IndexKind::Channel, 403, true),
            (IndexKind::Channel, 404, true),
            (IndexKind::Package, 404, true),
            (IndexKind::Package, 410, true),
            (IndexKind::Package, 403, false),
            (IndexKind::Package, 401, false),
            (IndexKind::Channel, 500, false),
        ] {
            let folder = tempfile::tempdir().expect("a folder");
            let server = Server::start(move |_| Reply::new(code, "<Error/>"));
            let answer = index(&server, "simple/", kind, &folder).page(&name("nothing"));
            assert_eq!(matches!(answer, Ok(None)), absent, "{kind:?} {code}: {answer:?}");
        }
    }

    #[test]
    fn relative_links_follow_a_redirected_page_and_the_login_stays_home() {
        let folder = tempfile::tempdir().expect("a folder");
        let other = Server::start(|_| {
            Reply::new(200, "<a href='a-1-py3-none-any.whl'>x</a>").with("content-type", "text/html")
        });
        let target = other.at("elsewhere/a/").to_string();
        let server = Server::start(move |_| Reply::new(302, "").with("location", target.clone()));
        let mut base = server.at("simple");
        base.set_username("u").expect("a user");
        base.set_password(Some("secret")).expect("a password");
        let store = PageStore::new(Arc::new(http()), Cache::new(folder.path()));
        let index = Index::new(base, IndexKind::Package, store);
        let page = index.page(&name("a")).expect("answered").expect("there");
        assert_eq!(page.wheels[0].url, other.at("elsewhere/a/a-1-py3-none-any.whl"));
        assert!(server.seen()[0].header("authorization").is_some());
        assert!(other.seen()[0].header("authorization").is_none());
        assert!(!format!("{index:?}{page:?}").contains("secret"));
        let stored = std::fs::read_dir(folder.path().join("pages"))
            .expect("stored")
            .next()
            .expect("one");
        let text = std::fs::read_to_string(stored.expect("readable").path()).expect("text");
        assert!(!text.contains("secret"));
    }
}
