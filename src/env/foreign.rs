//! Whether anything was put into an environment after it was published: root may write where modes forbid it, and
//! programs do (`ipykernel install --sys-prefix`).
//!
//! Every folder of an environment is of 1980, and whatever is added to one makes it newer. Looking at the folders that
//! installers write into (all but the inside of packages) takes a fraction of a millisecond; what exactly is there is
//! for [`crate::verify`] to say.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::fsx;

/// At most so many folders are looked at.
const FOLDERS: usize = 500;

fn is_old(folder: &Path) -> bool {
    std::fs::symlink_metadata(folder).is_ok_and(|meta| meta.mtime() == fsx::EPOCH_1980)
}

/// The folders in a folder; links are none.
fn folders_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}

/// Whether something was added outside of packages. An environment of an earlier form, whose folders are of their own
/// time, tells nothing.
#[must_use]
pub fn is_suspect(environment: &Path) -> bool {
    let lib = environment.join("lib");
    if !is_old(&lib) {
        return false;
    }
    let mut waiting = vec![environment.to_owned()];
    let mut looked = 0;
    while let Some(folder) = waiting.pop() {
        if !is_old(&folder) {
            return true;
        }
        looked += 1;
        if looked < FOLDERS && !folder.ends_with("site-packages") {
            waiting.extend(folders_in(&folder));
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_is_added_outside_packages_is_suspected() {
        let folder = tempfile::tempdir().expect("a folder");
        let environment = folder.path();
        let all = [
            "share/jupyter",
            "share",
            "bin",
            "lib/python3.11/site-packages/p",
            "lib/python3.11/site-packages",
            "lib/python3.11",
            "lib",
            "",
        ];
        for path in all {
            let path = environment.join(path);
            std::fs::create_dir_all(&path).expect("folders");
            File::open(&path).and_then(|file| fsx::stamp(&file)).expect("stamped");
        }
        for path in all {
            let path = environment.join(path);
            File::open(&path).and_then(|file| fsx::stamp(&file)).expect("stamped");
        }
        assert!(!is_suspect(environment));
        for (file, suspected) in [
            ("lib/python3.11/site-packages/p/x", false),
            ("lib/python3.11/site-packages/x", true),
            ("share/jupyter/x", true),
            ("x", true),
        ] {
            let path = environment.join(file);
            std::fs::write(&path, "").expect("written");
            assert_eq!(is_suspect(environment), suspected, "{file}");
            std::fs::remove_file(&path).expect("removed");
            let parent = path.parent().expect("a parent");
            File::open(parent).and_then(|file| fsx::stamp(&file)).expect("stamped");
            assert!(!is_suspect(environment));
        }
        std::fs::write(environment.join("lib/x"), "").expect("written");
        assert!(!is_suspect(environment), "an earlier form tells nothing");
    }
}
