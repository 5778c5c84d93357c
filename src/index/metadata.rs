//! Core metadata of listed wheels, from the cheapest place that has it.
//!
//! In this order: what this process read before, `metadata/` of the cache, a wheel that stands in the cache, the
//! `.metadata` file that the page advertises (PEP 658), range requests on the wheel, the whole wheel. A wheel that had
//! to be downloaded is kept.
//!
//! What is kept is believed for as long as the digest is: metadata belongs to bytes, and those never change under one
//! SHA-256. Metadata of wheels without a stated digest is kept for this process only.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use url::Url;

use super::remote::RemoteFile;
use super::tail::{self, read_metadata};
use super::{CoreMetadata, Error, IndexFile, WholeWheels};
use crate::cache::Cache;
use crate::digest::WheelDigest;
use crate::fsx::PathContext as _;
use crate::html;
use crate::http::{self, Error as HttpError, Http};
use crate::progress::{Reporter, Silent};
use crate::wheel::archive::{LocalFile, ReadAt};
use crate::wheel::metadata::parse;

/// What identifies a listed wheel within one process.
type Identity = (Url, Option<WheelDigest>);

/// Fetches and keeps metadata.
#[derive(Debug)]
pub struct MetadataStore {
    http: Arc<Http>,
    cache: Cache,
    whole: WholeWheels,
    memo: Mutex<HashMap<Identity, Arc<CoreMetadata>>>,
}

impl MetadataStore {
    /// Metadata fetched by `http`, kept in `cache`.
    #[must_use]
    pub fn new(http: Arc<Http>, cache: Cache) -> Self {
        Self {
            whole: WholeWheels::new(Arc::clone(&http), cache.clone()),
            http,
            cache,
            memo: Mutex::default(),
        }
    }

    /// The wheels that had to be fetched whole.
    pub(super) fn whole_wheels(&self) -> &WholeWheels {
        &self.whole
    }

    /// The metadata of a listed wheel; name and version are checked against its file name. `reporter` hears of a wheel that
    /// has to be fetched whole for it.
    pub fn get(&self, file: &IndexFile, reporter: &dyn Reporter) -> Result<Arc<CoreMetadata>, Error> {
        let identity = (file.url.clone(), file.digest);
        let memo = || self.memo.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = memo().get(&identity) {
            return Ok(Arc::clone(known));
        }
        let metadata = Arc::new(self.stored_or_fetched(file, reporter)?);
        memo().insert(identity, Arc::clone(&metadata));
        Ok(metadata)
    }

    /// The metadata of a listed wheel where this machine has it: kept under its digest, or inside a cached wheel.
    pub fn kept(&self, file: &IndexFile) -> Result<Option<Arc<CoreMetadata>>, Error> {
        let Some(digest) = &file.digest else { return Ok(None) };
        let stored = self.cache.metadata_path(digest).is_file();
        if stored || self.cache.find_wheel(digest, &file.file, file.size)?.is_some() {
            return self.get(file, &Silent).map(Some);
        }
        Ok(None)
    }

    fn stored_or_fetched(&self, file: &IndexFile, reporter: &dyn Reporter) -> Result<CoreMetadata, Error> {
        let understood = |bytes: &[u8]| parse(bytes, &file.file, &file.filename);
        if let Some(digest) = &file.digest {
            let stored = Cache::read(&self.cache.metadata_path(digest))?;
            // What does not read was damaged on disk, or kept by a version that read it otherwise.
            if let Some(metadata) = stored.and_then(|bytes| understood(&bytes).ok()) {
                return Ok(metadata);
            }
        }
        let bytes = self.fetch(file, reporter)?;
        let metadata = understood(&bytes)?;
        if let Some(digest) = &file.digest {
            // As with pages: a cache that cannot be written must not stop a resolution.
            self.cache.write(&self.cache.metadata_path(digest), &bytes).ok();
        }
        Ok(metadata)
    }

    fn fetch(&self, file: &IndexFile, reporter: &dyn Reporter) -> Result<Vec<u8>, Error> {
        if let Some(digest) = &file.digest
            && let Some((path, _)) = self.cache.find_wheel(digest, &file.file, file.size)?
        {
            return inside(&file.file, &open(&path)?, file);
        }
        if file.url.scheme() == "file" {
            let path = local_path(&file.url)?;
            return inside(&file.file, &open(&path)?, file);
        }
        let failed = |source| Error::Metadata {
            file: file.file.clone(),
            source,
        };
        if let Some(expected) = file.metadata
            && let Some(bytes) = self.advertised(file, expected)?
        {
            return Ok(bytes);
        }
        match RemoteFile::open(&self.http, &file.url).map_err(failed)? {
            Some(remote) => inside(&file.file, &remote, file).or_else(|error| {
                // A server that loses its ranges, or a file that changed in between: the whole file settles it.
                if file.size.is_some_and(|size| size > SETTLE_LIMIT) {
                    Err(error)
                } else {
                    self.whole(file, reporter)
                }
            }),
            None => self.whole(file, reporter),
        }
    }

    /// The `.metadata` file beside the wheel; `None` where it is not there after all.
    fn advertised(&self, file: &IndexFile, expected: Option<WheelDigest>) -> Result<Option<Vec<u8>>, Error> {
        let mut url = file.url.clone();
        url.set_path(&format!("{}.metadata", file.url.path()));
        let document = match self.http.get(&url).document(tail::LIMIT) {
            Ok(document) => document,
            Err(error) if matches!(error.status(), Some(403 | 404 | 410)) => return Ok(None),
            Err(source) => {
                return Err(Error::Metadata {
                    file: file.file.clone(),
                    source,
                });
            }
        };
        if html::is_page(&document.body, document.header("content-type")) {
            return Err(Error::Metadata {
                file: file.file.clone(),
                source: HttpError::HtmlPage {
                    host: http::host(&document.url),
                    url: (&url).into(),
                },
            });
        }
        let actual = WheelDigest::of(&document.body);
        match expected {
            Some(expected) if expected != actual => Err(Error::MetadataDigest {
                file: file.file.clone(),
                expected,
                actual,
            }),
            _ => Ok(Some(document.body)),
        }
    }

    /// The METADATA inside the whole wheel, which is kept in the cache.
    fn whole(&self, file: &IndexFile, reporter: &dyn Reporter) -> Result<Vec<u8>, Error> {
        let wheel = self.whole.one(file, reporter);
        let wheel = wheel.map_err(|error| Error::of_wheel(&file.file, error))?;
        inside(&file.file, &open(wheel.path())?, file)
    }
}

/// A larger wheel is not downloaded whole only because its ranges misbehave.
const SETTLE_LIMIT: u64 = 64 << 20;

fn inside(name: &str, reader: &impl ReadAt, file: &IndexFile) -> Result<Vec<u8>, Error> {
    read_metadata(reader, &file.filename).map_err(|source| Error::Archive {
        file: name.to_owned(),
        source: source.into(),
    })
}

/// The bytes of METADATA inside a wheel, which are kept nowhere.
pub fn of_archive(reader: &impl ReadAt, file: &IndexFile) -> Result<Vec<u8>, Error> {
    inside(&file.file, reader, file)
}

/// Reads METADATA; name and version are checked against the wheel's file name.
pub fn read(bytes: &[u8], file: &IndexFile) -> Result<CoreMetadata, Error> {
    Ok(parse(bytes, &file.file, &file.filename)?)
}

fn open(path: &Path) -> Result<LocalFile, Error> {
    Ok(std::fs::File::open(path).and_then(LocalFile::new).at("open", path)?)
}

/// The path of a `file:` URL.
pub(super) fn local_path(url: &Url) -> Result<std::path::PathBuf, Error> {
    url.to_file_path().map_err(|()| Error::NotLocal(url.into()))
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write as _};

    use super::*;
    use crate::http;
    use crate::http::testing::{Reply, Seen, Server, http, options};

    const METADATA: &str = "Metadata-Version: 2.1\nName: Demo\nVersion: 1.0+cu118\nRequires-Dist: numpy\n\nbody\n";
    const FILE: &str = "demo-1.0+cu118-py3-none-any.whl";

    /// A wheel with more than one tail's worth of incompressible bytes before and after its METADATA.
    fn wheel(metadata: &str) -> Vec<u8> {
        let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        let deflated = zip::write::SimpleFileOptions::default();
        for (name, bytes, how) in [
            ("demo/a.bin", vec![1; 200_000], stored),
            (
                "demo-1.0+cu118.dist-info/METADATA",
                metadata.as_bytes().to_vec(),
                deflated,
            ),
            ("demo/vendored.dist-info/METADATA", b"Name: other".to_vec(), stored),
            ("demo/b.bin", vec![2; 200_000], stored),
        ] {
            writer.start_file(name, how).expect("a member");
            writer.write_all(&bytes).expect("written");
        }
        writer.finish().expect("a wheel").into_inner()
    }

    #[expect(clippy::option_option, reason = "the shape of `IndexFile::metadata`")]
    fn listed(server: &Server, digest: Option<WheelDigest>, metadata: Option<Option<WheelDigest>>) -> IndexFile {
        IndexFile {
            filename: FILE.parse().expect("a wheel name"),
            file: FILE.to_owned(),
            url: server.at("whl/demo-1.0%2Bcu118-py3-none-any.whl"),
            digest,
            size: None,
            requires_python: None,
            yanked: None,
            metadata,
            upload_time: None,
        }
    }

    struct World {
        folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            Self {
                folder: tempfile::tempdir().expect("a folder"),
            }
        }

        fn store(&self, http: Http) -> MetadataStore {
            MetadataStore::new(Arc::new(http), Cache::new(self.folder.path()))
        }
    }

    fn is_metadata(seen: &Seen) -> bool {
        seen.path.ends_with("-any.whl.metadata")
    }

    #[test]
    fn an_advertised_metadata_file_is_enough_and_is_kept_for_ever() {
        let world = World::new();
        let server = Server::start(|seen| {
            assert!(is_metadata(seen));
            Reply::new(200, METADATA)
        });
        let digest = WheelDigest::of(b"the wheel");
        let stated = WheelDigest::of(METADATA.as_bytes());
        let file = listed(&server, Some(digest), Some(Some(stated)));
        let store = world.store(http());
        let metadata = store.get(&file, &Silent).expect("read");
        assert_eq!(metadata.requires_dist[0].to_string(), "numpy");
        store.get(&file, &Silent).expect("remembered");
        assert_eq!(server.paths(), ["/whl/demo-1.0%2Bcu118-py3-none-any.whl.metadata"]);

        let offline = Http::new(http::Options {
            offline: true,
            ..options()
        });
        assert_eq!(world.store(offline).get(&file, &Silent).expect("kept"), metadata);
    }

    #[test]
    fn an_advertised_metadata_file_with_other_bytes_is_refused() {
        let world = World::new();
        let server = Server::start(|_| Reply::new(200, METADATA));
        let file = listed(&server, None, Some(Some(WheelDigest::of(b"other"))));
        let error = world.store(http()).get(&file, &Silent).expect_err("tampered");
        assert!(matches!(error, Error::MetadataDigest { .. }), "{error:?}");
    }

    #[test]
    fn a_missing_metadata_file_falls_back_to_ranges() {
        let world = World::new();
        let bytes = wheel(METADATA);
        let digest = WheelDigest::of(&bytes);
        let server = Server::start(move |seen| {
            if is_metadata(seen) {
                Reply::new(404, "")
            } else {
                assert!(seen.header("range").is_some(), "the whole wheel is not needed");
                Reply::file(seen, &bytes)
            }
        });
        let file = listed(&server, Some(digest), Some(None));
        let metadata = world.store(http()).get(&file, &Silent).expect("read");
        assert_eq!(metadata.version.to_string(), "1.0+cu118");
        assert_eq!(server.seen().len(), 3);
    }

    #[test]
    fn without_ranges_the_wheel_is_downloaded_checked_and_kept() {
        let world = World::new();
        let bytes = wheel(METADATA);
        let digest = WheelDigest::of(&bytes);
        let server = Server::start(move |_| Reply::new(200, bytes.clone()));
        world
            .store(http())
            .get(&listed(&server, Some(digest), None), &Silent)
            .expect("read");
        let cache = Cache::new(world.folder.path());
        assert!(cache.find_wheel(&digest, FILE, None).expect("readable").is_some());
        let left = std::fs::read_dir(world.folder.path().join("partial"))
            .expect("a folder")
            .count();
        assert_eq!(left, 0);

        let error = world
            .store(http())
            .get(&listed(&server, Some(WheelDigest::of(b"other")), None), &Silent)
            .expect_err("other bytes");
        assert!(matches!(error, Error::WheelDigest { .. }), "{error:?}");
    }

    #[test]
    fn a_cached_wheel_answers_offline() {
        let world = World::new();
        let bytes = wheel(METADATA);
        let digest = WheelDigest::of(&bytes);
        let cache = Cache::new(world.folder.path());
        let part = cache.partial_folder().expect("a folder").join("x");
        std::fs::write(&part, &bytes).expect("written");
        cache.admit_wheel(&part, &digest, FILE).expect("admitted");
        let server = Server::start(|_| panic!("nobody may ask"));
        let offline = Http::new(http::Options {
            offline: true,
            ..options()
        });
        world
            .store(offline)
            .get(&listed(&server, Some(digest), Some(None)), &Silent)
            .expect("read from the wheel");
    }

    #[test]
    fn metadata_of_another_wheel_is_refused() {
        let world = World::new();
        let server = Server::start(|_| Reply::new(200, METADATA.replace("+cu118", "+cpu")));
        let error = world
            .store(http())
            .get(&listed(&server, None, Some(None)), &Silent)
            .expect_err("another wheel's");
        assert!(matches!(error, Error::Unusable(_)), "{error:?}");
    }

    #[test]
    fn broken_ranges_end_in_a_download() {
        let world = World::new();
        let bytes = wheel(METADATA);
        let server = Server::start(move |seen| match seen.header("range") {
            Some("bytes=-73728") | None => Reply::file(seen, &bytes),
            Some(_) => Reply::new(206, "lies").with("content-range", "bytes 0-3/4"),
        });
        world
            .store(http())
            .get(&listed(&server, None, None), &Silent)
            .expect("read from the whole wheel");
    }
}
