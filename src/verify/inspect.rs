//! A folder of the store beside what should be in it: kinds, modes, links and sizes by looking, contents by hashing.
//!
//! Everything is looked at through its own path, never through a link, and an inode is hashed once however many names
//! it has. A file whose time is not the store's was written to after it was published, so its content is hashed even
//! where only a look was asked for.

use std::collections::{BTreeMap, HashMap};
use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::{Depth, Kind};
use crate::digest::{FileDigest, Hasher};
use crate::fsx;
use crate::progress::{Event, Reporter};
use crate::threads;

/// What should stand at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// A folder, 0555.
    Folder,
    /// A symlink with this target.
    Link(PathBuf),
    /// A symlink with this target, which may be missing.
    MaybeLink(PathBuf),
    /// A file of 0444, whose content is judged elsewhere.
    Document,
    /// A copy of bytecode, of 0444. It may be missing, and nothing tells what should be in it.
    Bytecode,
    /// A file, or a symlink with a target at which it is judged.
    File {
        size: u64,
        digest: FileDigest,
        executable: bool,
        or_link: Option<PathBuf>,
    },
}

/// What should be below a folder, by path relative to it.
pub(super) type Entries = BTreeMap<String, Expected>;

/// A content to compare with its digest.
#[derive(Debug, Clone)]
pub(super) struct Content {
    /// The number of the subject.
    pub(super) subject: usize,
    /// Relative to the subject's folder.
    pub(super) inside: String,
    pub(super) path: PathBuf,
    pub(super) size: u64,
    pub(super) inode: (u64, u64),
    pub(super) expected: FileDigest,
}

/// What looking at one folder gave.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Relative path and kind, sorted by path.
    pub(super) found: Vec<(String, Kind)>,
    pub(super) contents: Vec<Content>,
    /// Files that were looked at, and their bytes.
    pub(super) files: u64,
    pub(super) bytes: u64,
}

/// Looks at everything below `root`. The top folder itself may be writable: a crash may have left it so.
pub(super) fn look(subject: usize, root: &Path, entries: &Entries, depth: Depth) -> Seen {
    let mut looker = Looker {
        subject,
        root,
        entries,
        depth,
        seen: Seen::default(),
        reached: std::collections::HashSet::new(),
    };
    looker.folder("", root);
    let Looker { mut seen, reached, .. } = looker;
    let mut gone: Option<String> = None;
    let may_miss = |expected: &Expected| matches!(expected, Expected::Bytecode | Expected::MaybeLink(_));
    let wanted = entries.iter().filter(|(_, expected)| !may_miss(expected));
    for (path, _) in wanted.filter(|(path, _)| !reached.contains(path.as_str())) {
        // What was in a folder that is gone, or no folder any more, is not told again.
        let told = |above: &String| {
            path.strip_prefix(above.as_str())
                .is_some_and(|rest| rest.starts_with('/'))
        };
        let lost = seen
            .found
            .iter()
            .any(|(above, kind)| *kind == Kind::Replaced && told(above));
        if !lost && !gone.as_ref().is_some_and(told) {
            seen.found.push((path.clone(), Kind::Missing));
            gone = Some(path.clone());
        }
    }
    seen.found.sort();
    seen
}

struct Looker<'a> {
    subject: usize,
    root: &'a Path,
    entries: &'a Entries,
    depth: Depth,
    seen: Seen,
    reached: std::collections::HashSet<&'a str>,
}

impl Looker<'_> {
    fn tell(&mut self, path: &str, kind: Kind) {
        self.seen.found.push((path.to_owned(), kind));
    }

    fn folder(&mut self, inside: &str, folder: &Path) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return self.tell(inside, Kind::Unreadable);
        };
        for entry in entries {
            let Ok(entry) = entry else {
                return self.tell(inside, Kind::Unreadable);
            };
            let name = entry.file_name();
            let shown = name.to_string_lossy();
            let path = if inside.is_empty() {
                shown.into_owned()
            } else {
                format!("{inside}/{shown}")
            };
            let Some((known, expected)) = self.entries.get_key_value(&path).filter(|_| name.to_str().is_some()) else {
                self.tell(&path, Kind::Added);
                continue;
            };
            self.reached.insert(known);
            match entry.metadata() {
                Ok(meta) => self.entry(known, &folder.join(&name), expected, &meta),
                Err(_) => self.tell(&path, Kind::Unreadable),
            }
        }
    }

    fn entry(&mut self, inside: &str, path: &Path, expected: &Expected, meta: &Metadata) {
        let mode = meta.mode() & 0o7777;
        match expected {
            Expected::Folder if meta.is_dir() => {
                // A store shared by a group hands its setgid bit down.
                if mode & !0o2000 != 0o555 {
                    self.tell(inside, Kind::Mode);
                }
                self.folder(inside, path);
            }
            Expected::File {
                or_link: Some(target), ..
            } if std::fs::read_link(path).is_ok_and(|found| found == *target) => {}
            Expected::Link(target) | Expected::MaybeLink(target) if meta.is_symlink() => {
                if !std::fs::read_link(path).is_ok_and(|found| found == *target) {
                    self.tell(inside, Kind::Link);
                }
            }
            Expected::Document | Expected::Bytecode if meta.is_file() => {
                if mode != 0o444 {
                    self.tell(inside, Kind::Mode);
                }
            }
            Expected::File {
                size,
                digest,
                executable,
                ..
            } if meta.is_file() => {
                self.seen.files += 1;
                self.seen.bytes += meta.len();
                if mode != if *executable { 0o555 } else { 0o444 } {
                    self.tell(inside, Kind::Mode);
                }
                match meta.len().cmp(size) {
                    std::cmp::Ordering::Less => self.tell(inside, Kind::Truncated),
                    std::cmp::Ordering::Greater => self.tell(inside, Kind::Changed),
                    std::cmp::Ordering::Equal => {
                        if self.depth == Depth::Full || meta.mtime() != fsx::EPOCH_1980 {
                            self.seen.contents.push(Content {
                                subject: self.subject,
                                inside: inside.to_owned(),
                                path: self.root.join(inside),
                                size: *size,
                                inode: (meta.dev(), meta.ino()),
                                expected: *digest,
                            });
                        }
                    }
                }
            }
            _ => self.tell(inside, Kind::Replaced),
        }
    }
}

/// Hashes each inode once, on all cores, and returns the contents that are not what they should be.
pub(super) fn compare(contents: Vec<Content>, reporter: &dyn Reporter) -> Vec<(Content, Kind)> {
    let mut inodes: HashMap<(u64, u64), (u64, &Path)> = HashMap::new();
    for content in &contents {
        inodes.entry(content.inode).or_insert((content.size, &content.path));
    }
    let mut jobs: Vec<_> = inodes.into_iter().collect();
    // The large ones first, so that no core is left with one at the end.
    jobs.sort_unstable_by_key(|(inode, (size, _))| (std::cmp::Reverse(*size), *inode));
    let total = jobs.iter().map(|(_, (size, _))| size).sum();
    reporter.event(Event::VerifyPlanned {
        files: jobs.len(),
        bytes: total,
    });
    let digests = threads::map_with(
        jobs,
        || vec![0u8; 1 << 20],
        |buffer, (inode, (_, path))| (inode, hash(path, buffer, reporter)),
    );
    let digests: HashMap<(u64, u64), Option<FileDigest>> = digests.into_iter().collect();
    let wrong = |content: &Content| match digests.get(&content.inode) {
        Some(Some(digest)) if *digest == content.expected => None,
        Some(Some(_)) => Some(Kind::Changed),
        _ => Some(Kind::Unreadable),
    };
    contents
        .into_iter()
        .filter_map(|content| wrong(&content).map(|kind| (content, kind)))
        .collect()
}

/// The digest of a file; none where it cannot be read to its end.
fn hash(path: &Path, buffer: &mut [u8], reporter: &dyn Reporter) -> Option<FileDigest> {
    let mut file = std::fs::File::open(path).ok()?;
    let mut hasher = Hasher::new();
    loop {
        match file.read(buffer) {
            Ok(0) => return Some(FileDigest::from_bytes(hasher.finish())),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                reporter.event(Event::VerifyAdvanced { bytes: count as u64 });
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}
