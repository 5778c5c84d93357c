//! Whether what lies on an overlay file system is in its upper layer: a hard link to a file of a lower one copies the
//! whole file up first.
//!
//! Where the mount's own description names the upper layer and that can be looked at from here, the answer is exact. In
//! a container it cannot; there an object counts as the upper layer's if it was made after the first process of the
//! container started, for the layers of an image are older than that. A wrong answer costs links of another kind, and
//! never a copy.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::fsx;
use crate::store::times::Now;

/// An overlay, as far as one folder in it goes.
#[derive(Debug)]
pub(super) struct Overlay {
    /// Where the folder is in the upper layer; none where that cannot be looked at.
    upper: Option<PathBuf>,
    /// What was made since counts as the upper layer's.
    since: Option<SystemTime>,
}

impl Overlay {
    /// The overlay that a folder lies on; none where it is on another file system.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let folder = folder.canonicalize().ok()?;
        if fsx::file_system(&folder) != Some(fsx::OVERLAYFS) {
            return None;
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        Some(Self {
            upper: upper_of(&folder, &mounts).filter(|upper| upper.symlink_metadata().is_ok()),
            since: first_process_started(),
        })
    }

    /// Whether what is at this path, relative to the folder, is in the upper layer.
    pub(super) fn has_in_upper(&self, folder: &Path, object: &Path) -> bool {
        if let Some(upper) = &self.upper {
            // A folder of the upper layer may be one that merges with a lower one; an object is never merged.
            return upper.join(object).symlink_metadata().is_ok();
        }
        // Of the object itself everything is of 1980 but the time of its last change of name or mode.
        let made = folder.join(object).symlink_metadata().ok();
        let made =
            made.and_then(|meta| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(meta.ctime().try_into().ok()?)));
        made.zip(self.since).is_some_and(|(made, since)| made > since)
    }
}

/// The place of a folder in the upper layer of its overlay, by `/proc/self/mountinfo` (proc(5)).
fn upper_of(folder: &Path, mounts: &str) -> Option<PathBuf> {
    let mount = |line: &str| -> Option<(PathBuf, PathBuf, String)> {
        let (mount, source) = line.split_once(" - ")?;
        let mut fields = mount.split(' ').skip(3);
        let root = PathBuf::from(unescaped(fields.next()?));
        let point = PathBuf::from(unescaped(fields.next()?));
        Some((root, point, source.to_owned()))
    };
    // The longest mount point above the folder; of two at one place the later one is on top.
    let (root, point, source) = mounts
        .lines()
        .filter_map(mount)
        .filter(|(_, point, _)| folder.starts_with(point))
        .max_by_key(|(_, point, _)| point.components().count())?;
    let (kind, rest) = source.split_once(' ')?;
    let options = rest.rsplit(' ').next()?;
    let upper = options.split(',').find_map(|option| option.strip_prefix("upperdir="))?;
    let inside = folder.strip_prefix(&point).ok()?;
    let root = root.strip_prefix("/").ok()?;
    (kind == "overlay").then(|| Path::new(&unescaped(upper)).join(root).join(inside))
}

/// Blanks and backslashes in mountinfo are octal.
fn unescaped(text: &str) -> String {
    let mut text = text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n");
    text = text.replace("\\054", ",").replace("\\072", ":");
    text.replace("\\134", "\\")
}

/// When process 1 started; in a container that is the container's first one.
fn first_process_started() -> Option<SystemTime> {
    let stat = std::fs::read_to_string("/proc/1/stat").ok()?;
    // After the name, which may hold anything: the 22nd field is the start, in hundredths of a second since the boot.
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let now = Now::read();
    let age = now.uptime.saturating_sub(ticks / 100);
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(now.unix.saturating_sub(age)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/root rw
80 22 0:45 / /mnt/over\\040here rw,relatime - overlay overlay rw,lowerdir=/l1:/l2,upperdir=/up\\040per,workdir=/w
81 80 0:46 /inner /mnt/over\\040here/bind rw - overlay none rw,lowerdir=/l3,upperdir=/u3,workdir=/w3
90 22 0:50 / /ro ro - overlay overlay ro,lowerdir=/a:/b
";

    #[test]
    fn the_upper_layer_is_found_by_the_longest_mount_point() {
        let found = |folder: &str| upper_of(Path::new(folder), MOUNTS);
        assert_eq!(found("/mnt/over here/store"), Some("/up per/store".into()));
        assert_eq!(found("/mnt/over here/bind/store"), Some("/u3/inner/store".into()));
        assert_eq!(found("/home/store"), None);
        assert_eq!(found("/ro/store"), None, "without an upper layer");
    }

    #[test]
    fn without_a_look_at_the_upper_layer_age_decides() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("object")).expect("made");
        let now = SystemTime::now();
        for (since, expected) in [
            (now - Duration::from_mins(1), true),
            (now + Duration::from_mins(1), false),
        ] {
            let overlay = Overlay {
                upper: None,
                since: Some(since),
            };
            assert_eq!(overlay.has_in_upper(folder.path(), Path::new("object")), expected);
        }
        assert!(first_process_started().is_some_and(|started| started <= now));
    }
}
