//! RECORD: the wheel's own list of its files with their digests (PEP 376, 427, 627).
//!
//! Owns: reading a wheel's RECORD, checking content against a row, writing the rows of an installed tree.
//! Refuses: rows that are not three fields, unsafe paths, two rows for one path, digests in algorithms that PEP 427
//! rules out (md5, sha1) or that are unknown.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::Digest as _;

use crate::digest::FileDigest;
use crate::relpath::{RelPath, UnsafePath};

/// A RECORD that cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not CSV.
    #[error("RECORD is not a list of comma-separated rows")]
    Csv(#[source] csv::Error),
    /// A row of another form than path, hash, size.
    #[error("RECORD row {row} has {fields} fields instead of 3")]
    Fields {
        /// Row number, from 1.
        row: usize,
        /// How many fields it has.
        fields: usize,
    },
    /// A path that could leave the environment.
    #[error("RECORD row {row} names an unsafe path")]
    Path {
        /// Row number, from 1.
        row: usize,
        /// Why.
        #[source]
        source: UnsafePath,
    },
    /// One path twice.
    #[error("RECORD names `{0}` twice")]
    Twice(RelPath),
    /// A hash that is not understood.
    #[error("RECORD gives `{hash}` for `{path}`; expected sha256=, sha384= or sha512= in URL-safe base64")]
    Hash {
        /// The path.
        path: RelPath,
        /// The text of the hash field.
        hash: String,
    },
    /// A size that is no number.
    #[error("RECORD gives the size `{size}` for `{path}`")]
    Size {
        /// The path.
        path: RelPath,
        /// The text of the size field.
        size: String,
    },
}

/// The digest that a row states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordedDigest {
    /// SHA-256, the usual one.
    Sha256(FileDigest),
    /// SHA-384.
    Sha384(Vec<u8>),
    /// SHA-512.
    Sha512(Vec<u8>),
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordRow {
    /// Absent for RECORD itself and its signatures.
    pub digest: Option<RecordedDigest>,
    /// Bytes.
    pub size: Option<u64>,
}

/// A parsed RECORD.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record(BTreeMap<RelPath, RecordRow>);

impl Record {
    /// Parses the file's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, RecordError> {
        let mut rows = BTreeMap::new();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(bytes);
        for (index, fields) in reader.records().enumerate() {
            let fields = fields.map_err(RecordError::Csv)?;
            let row = index + 1;
            let (Some(path), Some(hash), Some(size), 3) = (fields.get(0), fields.get(1), fields.get(2), fields.len())
            else {
                return Err(RecordError::Fields {
                    row,
                    fields: fields.len(),
                });
            };
            let path = RelPath::new(path).map_err(|source| RecordError::Path { row, source })?;
            let digest = match hash {
                "" => None,
                hash => Some(parse_hash(hash).ok_or_else(|| RecordError::Hash {
                    path: path.clone(),
                    hash: hash.to_owned(),
                })?),
            };
            let size = if size.is_empty() {
                None
            } else {
                Some(size.parse().map_err(|_| RecordError::Size {
                    path: path.clone(),
                    size: size.to_owned(),
                })?)
            };
            if rows.insert(path.clone(), RecordRow { digest, size }).is_some() {
                return Err(RecordError::Twice(path));
            }
        }
        Ok(Self(rows))
    }

    /// The row of `path`.
    #[must_use]
    pub fn get(&self, path: &RelPath) -> Option<&RecordRow> {
        self.0.get(path)
    }

    /// All paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &RelPath> {
        self.0.keys()
    }
}

fn parse_hash(text: &str) -> Option<RecordedDigest> {
    let (algorithm, value) = text.split_once('=')?;
    let bytes = URL_SAFE_NO_PAD.decode(value.trim_end_matches('=')).ok()?;
    match (algorithm, bytes.len()) {
        ("sha256", 32) => Some(RecordedDigest::Sha256(FileDigest::from_bytes(bytes.try_into().ok()?))),
        ("sha384", 48) => Some(RecordedDigest::Sha384(bytes)),
        ("sha512", 64) => Some(RecordedDigest::Sha512(bytes)),
        _ => None,
    }
}

/// Hashes a member as it goes by, in SHA-256 (for the manifest) and in whatever its row uses.
pub struct RowHasher {
    sha256: crate::digest::Hasher,
    other: Option<Box<dyn sha2::digest::DynDigest + Send>>,
}

impl RowHasher {
    /// A hasher for a member with this row.
    #[must_use]
    pub fn new(row: Option<&RecordRow>) -> Self {
        let other: Option<Box<dyn sha2::digest::DynDigest + Send>> = match row.and_then(|row| row.digest.as_ref()) {
            Some(RecordedDigest::Sha384(_)) => Some(Box::new(sha2::Sha384::new())),
            Some(RecordedDigest::Sha512(_)) => Some(Box::new(sha2::Sha512::new())),
            Some(RecordedDigest::Sha256(_)) | None => None,
        };
        Self {
            sha256: crate::digest::Hasher::new(),
            other,
        }
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(other) = &mut self.other {
            other.update(bytes);
        }
    }

    /// The SHA-256, and whether the row (where it states a digest) agrees.
    #[must_use]
    pub fn finish(self, row: Option<&RecordRow>) -> (FileDigest, bool) {
        let sha256 = FileDigest::from_bytes(self.sha256.finish());
        let agrees = match (row.and_then(|row| row.digest.as_ref()), self.other) {
            (Some(RecordedDigest::Sha256(stated)), _) => *stated == sha256,
            (Some(RecordedDigest::Sha384(stated) | RecordedDigest::Sha512(stated)), Some(other)) => {
                *other.finalize() == **stated
            }
            _ => true,
        };
        (sha256, agrees)
    }
}

/// Writes the rows of an installed tree: path relative to site-packages, digest and size; bytecode and RECORD itself
/// have neither. Rows are sorted by path, so that the file depends on the tree alone.
#[must_use]
pub fn write(rows: &BTreeMap<String, Option<(FileDigest, u64)>>) -> Vec<u8> {
    let mut text = Vec::with_capacity(rows.len() * 120);
    for (path, content) in rows {
        if path.contains([',', '"', '\n', '\r']) {
            text.push(b'"');
            text.extend_from_slice(path.replace('"', "\"\"").as_bytes());
            text.push(b'"');
        } else {
            text.extend_from_slice(path.as_bytes());
        }
        match content {
            Some((digest, size)) => {
                text.extend_from_slice(b",sha256=");
                text.extend_from_slice(URL_SAFE_NO_PAD.encode(digest.as_bytes()).as_bytes());
                text.extend_from_slice(format!(",{size}\n").as_bytes());
            }
            None => text.extend_from_slice(b",,\n"),
        }
    }
    text
}

/// Reads what [`write()`] wrote: path below the prefix, digest and size; `site` is site-packages below the prefix. None
/// where it is not of that form.
#[must_use]
pub fn installed(bytes: &[u8], site: &str) -> Option<BTreeMap<String, Option<(FileDigest, u64)>>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(bytes);
    let mut rows = BTreeMap::new();
    for fields in reader.records() {
        let fields = fields.ok()?;
        let (path, hash, size) = (fields.get(0)?, fields.get(1)?, fields.get(2)?);
        let path = match path.strip_prefix("../../../") {
            Some(path) => path.to_owned(),
            None => format!("{site}/{path}"),
        };
        let content = match hash {
            "" => None,
            hash => match parse_hash(hash)? {
                RecordedDigest::Sha256(digest) => Some((digest, size.parse().ok()?)),
                _ => return None,
            },
        };
        rows.insert(path, content);
    }
    Some(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_read_and_checked() {
        let text =
            "a/b.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0\n\"a/c,d.py\",,\nx-1.dist-info/RECORD,,\n";
        let record = Record::parse(text.as_bytes()).expect("a good RECORD");
        let path = RelPath::new("a/b.py").expect("safe");
        let row = record.get(&path);
        assert_eq!(row.and_then(|row| row.size), Some(0));
        assert!(RowHasher::new(row).finish(row).1, "the digest of nothing");
        let mut hasher = RowHasher::new(row);
        hasher.update(b"x");
        assert!(!hasher.finish(row).1);
        assert_eq!(record.paths().count(), 3);
    }

    #[test]
    fn longer_digests_are_checked_too() {
        let stated = URL_SAFE_NO_PAD.encode(sha2::Sha512::digest(b"body"));
        let record = Record::parse(format!("a,sha512={stated},4").as_bytes()).expect("a good RECORD");
        let row = record.get(&RelPath::new("a").expect("safe"));
        for (body, expected) in [(&b"body"[..], true), (b"bodx", false)] {
            let mut hasher = RowHasher::new(row);
            hasher.update(body);
            assert_eq!(hasher.finish(row).1, expected);
        }
    }

    #[test]
    fn bad_rows_are_refused() {
        for text in [
            "a,b",
            "../a,,",
            "/a,,",
            "a,,\na,,",
            "a,md5=abc,",
            "a,sha256=abc,",
            "a,,x",
        ] {
            assert!(Record::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn written_rows_read_back() {
        let rows = BTreeMap::from([
            ("a, \"b\".py".to_owned(), Some((FileDigest::of(b"x"), 1))),
            ("z".to_owned(), None),
        ]);
        let record = Record::parse(&write(&rows)).expect("our own");
        assert_eq!(
            record
                .get(&RelPath::new("a, \"b\".py").expect("safe"))
                .and_then(|row| row.size),
            Some(1)
        );
    }
}
