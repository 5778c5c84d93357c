//! Which index a name comes from, and from nowhere else.
//!
//! A name that two indexes could serve is how strangers' packages get installed (dependency confusion), so each name
//! has exactly one place: the PyTorch family the channel's index, names that a private index claims that index, every
//! other name the package index. pip's `find-links` add wheels to names of the package index, and with `no-index`
//! replace it. On the channel `pip` the family comes from the package index like everything else.

use std::fmt;
use std::sync::Arc;

use url::Url;

use super::client::{Index, IndexKind};
use super::links::Links;
use super::mirror::Mirror;
use super::store::PageStore;
use super::{CoreMetadata, Error, IndexFile, MetadataStore, NamePattern, ProjectPage, WholeWheels};
use crate::backend::{Channel, is_family};
use crate::cache::Cache;
use crate::digest::WheelDigest;
use crate::http::{Http, ShownUrl};
use crate::pep::PackageName;
use crate::progress::Reporter;

/// A private index and the names that come from it: exact names, or patterns with `*` (`corp-*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrivateIndex {
    /// How messages name it.
    pub name: String,
    /// Its base URL, possibly with credentials.
    pub url: Url,
    /// Names and patterns.
    pub packages: Vec<NamePattern>,
}

/// What is configured.
#[derive(Debug, Clone)]
pub struct SourcesOptions {
    /// The channel that the PyTorch family comes from.
    pub channel: Channel,
    /// The channel's index where the project replaces it; the mirror does not apply to it.
    pub channel_index: Option<Url>,
    /// `FLAMBEAU_PYTORCH_MIRROR`.
    pub mirror: Option<Url>,
    /// The package index, possibly with credentials.
    pub package_index: Option<Url>,
    /// `[[tool.flambeau.index]]`.
    pub private: Vec<PrivateIndex>,
    /// pip's `find-links`.
    pub find_links: Vec<String>,
    /// pip's `no-index`.
    pub no_index: bool,
}

impl SourcesOptions {
    /// A channel and the package index, nothing else.
    #[must_use]
    pub fn new(channel: Channel, package_index: Option<Url>) -> Self {
        Self {
            channel,
            channel_index: None,
            mirror: None,
            package_index,
            private: Vec::new(),
            find_links: Vec::new(),
            no_index: false,
        }
    }
}

/// Where a name comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// The channel's index.
    Channel(Url),
    /// A private index.
    Private(String, Url),
    /// The package index.
    Package(Url),
    /// The `find-links` locations alone.
    Links,
    /// Nowhere: no package index is known, or none may be used.
    Nowhere,
}

impl fmt::Display for Place {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(url) => write!(formatter, "the channel's index {}", ShownUrl::from(url)),
            Self::Private(name, url) => write!(formatter, "the index `{name}` ({})", ShownUrl::from(url)),
            Self::Package(url) => write!(formatter, "the package index {}", ShownUrl::from(url)),
            Self::Links => formatter.write_str("pip's find-links (no-index is set)"),
            Self::Nowhere => formatter.write_str("a package index"),
        }
    }
}

#[derive(Debug)]
struct Claimed {
    name: String,
    index: Index,
    packages: Vec<NamePattern>,
}

/// Every source of wheels, routed by name.
#[derive(Debug)]
pub struct Sources {
    channel: Option<Index>,
    package: Option<Index>,
    private: Vec<Claimed>,
    links: Links,
    no_index: bool,
    offline: bool,
    mirror: Mirror,
    metadata: MetadataStore,
}

enum Route<'a> {
    Index(&'a Index, Place),
    Package,
}

impl Sources {
    /// The sources that `options` describe. Asks nothing yet.
    #[must_use]
    pub fn new(http: &Arc<Http>, cache: &Cache, options: SourcesOptions) -> Self {
        let store = PageStore::new(Arc::clone(http), cache.clone());
        let index = |url: Url, kind| Index::new(url, kind, store.clone());
        // Credentials of the mirror go along with pages and wheels alike.
        let mirror = Mirror::new(options.mirror.map(|url| http.adopt(url)));
        let channel = (!options.channel.is_pip())
            .then(|| {
                options
                    .channel_index
                    .or_else(|| mirror.channel_index(options.channel.as_str()))
            })
            .flatten();
        let private = options.private.into_iter().map(|private| Claimed {
            name: private.name,
            index: index(private.url, IndexKind::Package),
            packages: private.packages,
        });
        Self {
            channel: channel.map(|url| index(url, IndexKind::Channel)),
            package: options.package_index.map(|url| index(url, IndexKind::Package)),
            private: private.collect(),
            links: Links::new(&options.find_links, store.clone()),
            no_index: options.no_index,
            offline: http.is_offline(),
            mirror,
            metadata: MetadataStore::new(Arc::clone(http), cache.clone()),
        }
    }

    /// Where `name` comes from.
    pub fn place(&self, name: &PackageName) -> Result<Place, Error> {
        Ok(match (self.route(name)?, &self.package) {
            (Route::Index(_, place), _) => place,
            (Route::Package, _) if self.no_index && !self.links.is_empty() => Place::Links,
            (Route::Package, _) if self.no_index => Place::Nowhere,
            (Route::Package, Some(index)) => Place::Package(index.url().clone()),
            (Route::Package, None) => Place::Nowhere,
        })
    }

    fn route(&self, name: &PackageName) -> Result<Route<'_>, Error> {
        if let Some(channel) = self.channel.as_ref().filter(|_| is_family(name)) {
            return Ok(Route::Index(channel, Place::Channel(channel.url().clone())));
        }
        let claims = |claimed: &&Claimed| claimed.packages.iter().any(|pattern| pattern.matches(name));
        let claimed: Vec<&Claimed> = self.private.iter().filter(claims).collect();
        match claimed.as_slice() {
            [] => Ok(Route::Package),
            [one] => {
                let place = Place::Private(one.name.clone(), one.index.url().clone());
                Ok(Route::Index(&one.index, place))
            }
            several => Err(Error::Ambiguous {
                name: name.clone(),
                indexes: several.iter().map(|claimed| claimed.name.clone()).collect(),
            }),
        }
    }

    /// The page of `name` in its one place; `None` where that place has no such project.
    pub fn page(&self, name: &PackageName) -> Result<Option<Arc<ProjectPage>>, Error> {
        self.page_by(name, Index::page)
    }

    /// The page of `name` as its one place has it now.
    pub fn current_page(&self, name: &PackageName) -> Result<Option<Arc<ProjectPage>>, Error> {
        self.page_by(name, Index::current_page)
    }

    fn page_by(
        &self,
        name: &PackageName,
        ask: impl Fn(&Index, &PackageName) -> Result<Option<Arc<ProjectPage>>, Error>,
    ) -> Result<Option<Arc<ProjectPage>>, Error> {
        match self.route(name)? {
            Route::Index(index, place) => {
                let page = ask(index, name)?;
                Ok(match place {
                    Place::Channel(_) => page.map(|page| self.fetchable(&page)),
                    _ => page,
                })
            }
            Route::Package => self.package_page(name, ask),
        }
    }

    fn package_page(
        &self,
        name: &PackageName,
        ask: impl Fn(&Index, &PackageName) -> Result<Option<Arc<ProjectPage>>, Error>,
    ) -> Result<Option<Arc<ProjectPage>>, Error> {
        let found = (!self.links.is_empty()).then(|| self.links.page(name)).transpose()?;
        let found = found.filter(|page| !page.wheels.is_empty());
        let listed = match &self.package {
            _ if self.no_index && self.links.is_empty() => return Err(Error::NoIndexAllowed { name: name.clone() }),
            _ if self.no_index => None,
            Some(index) => ask(index, name)?,
            // Links alone may be enough for a name; without them there is nothing to ask.
            None if found.is_none() && self.offline => return Err(Error::Offline { name: name.clone() }),
            None if found.is_none() => return Err(Error::NoIndex { name: name.clone() }),
            None => None,
        };
        Ok(match (found, listed) {
            (None, listed) => listed,
            (found, None) => found,
            (Some(found), Some(listed)) => Some(Arc::new(merged(&found, &listed))),
        })
    }

    /// A channel's page with official hosts replaced by the mirror, which stands in for them altogether.
    fn fetchable(&self, page: &Arc<ProjectPage>) -> Arc<ProjectPage> {
        if page
            .wheels
            .iter()
            .all(|wheel| self.mirror.fetch_url(&wheel.url) == wheel.url)
        {
            return Arc::clone(page);
        }
        let mut page = ProjectPage::clone(page);
        for wheel in &mut page.wheels {
            wheel.url = self.mirror.fetch_url(&wheel.url);
        }
        Arc::new(page)
    }

    /// The metadata of a listed wheel. `reporter` hears of a wheel that has to be fetched whole for it.
    pub fn metadata(&self, file: &IndexFile, reporter: &dyn Reporter) -> Result<Arc<CoreMetadata>, Error> {
        self.metadata.get(file, reporter)
    }

    /// Wheels that are needed whole.
    #[must_use]
    pub fn whole(&self) -> &WholeWheels {
        self.metadata.whole_wheels()
    }

    /// The metadata of a listed wheel where this machine has it; asks nobody.
    pub fn kept_metadata(&self, file: &IndexFile) -> Result<Option<Arc<CoreMetadata>>, Error> {
        self.metadata.kept(file)
    }

    /// The wheel `file` with `digest` as the name's one place lists it. A page that does not have it is asked for
    /// again, in case it is older than the wheel.
    pub fn locate(&self, name: &PackageName, file: &str, digest: &WheelDigest) -> Result<Option<IndexFile>, Error> {
        let find = |page: Option<Arc<ProjectPage>>| {
            page?
                .wheels
                .iter()
                .find(|wheel| wheel.file == file && wheel.digest.as_ref() == Some(digest))
                .cloned()
        };
        if let Some(found) = find(self.page(name)?) {
            return Ok(Some(found));
        }
        Ok(find(self.page_by(name, Index::current_page)?))
    }

    /// The mapping between canonical URLs and the mirror's.
    #[must_use]
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The URL that a lockfile holds for a wheel of the channel.
    #[must_use]
    pub fn canonical_url(&self, url: &Url) -> Url {
        self.mirror.canonical_url(url)
    }

    /// Where a lockfile's URL is fetched from.
    #[must_use]
    pub fn fetch_url(&self, canonical: &Url) -> Url {
        self.mirror.fetch_url(canonical)
    }
}

/// Wheels on this machine first; a listed wheel of the same file name is left out.
fn merged(found: &ProjectPage, listed: &ProjectPage) -> ProjectPage {
    let mut page = found.clone();
    let others = listed
        .wheels
        .iter()
        .filter(|wheel| found.wheels.iter().all(|have| have.file != wheel.file));
    page.wheels.extend(others.cloned());
    page.not_wheels.extend(listed.not_wheels.iter().cloned());
    page.skipped.extend(listed.skipped.iter().cloned());
    page
}

#[cfg(test)]
mod tests;
