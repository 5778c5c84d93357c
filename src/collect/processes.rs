//! Objects that running processes use, as far as the kernel tells: `/proc/<pid>/{exe,cwd,maps}`.
//!
//! This is the second net under the leases: it sees processes whose lease was lost (a daemon that closed all
//! descriptors, a program that is no Python). It does not see processes of other users or of other machines.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::store::{Shelf, Store};

/// By object: the process ids that use it.
pub(super) type Used = BTreeMap<(Shelf, String), BTreeSet<u32>>;

/// Looks at every process that this user may look at.
pub(super) fn used(store: &Store) -> Used {
    let mut used = Used::new();
    let mut prefixes: Vec<PathBuf> = vec![store.root().to_owned()];
    prefixes.extend(store.root().canonicalize().ok().filter(|real| real != store.root()));
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return used;
    };
    for entry in entries.flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
        let Some(pid) = pid else { continue };
        for name in objects_of(&entry.path(), &prefixes) {
            used.entry(name).or_default().insert(pid);
        }
    }
    used
}

fn objects_of(process: &Path, prefixes: &[PathBuf]) -> BTreeSet<(Shelf, String)> {
    let mut objects = BTreeSet::new();
    for link in ["exe", "cwd"] {
        if let Ok(target) = std::fs::read_link(process.join(link)) {
            objects.extend(object(&target, prefixes));
        }
    }
    // Read as bytes: a path may be no UTF-8. Most processes map nothing of a store.
    let maps = std::fs::read(process.join("maps")).unwrap_or_default();
    for line in maps.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().position(|byte| *byte == b'/') else {
            continue;
        };
        objects.extend(object(Path::new(OsStr::from_bytes(&line[at..])), prefixes));
    }
    objects
}

/// The object of the store that a path lies in.
fn object(path: &Path, prefixes: &[PathBuf]) -> Option<(Shelf, String)> {
    let rest = prefixes.iter().find_map(|prefix| path.strip_prefix(prefix).ok())?;
    let mut parts = rest.iter();
    let folder = parts.next()?;
    let shelf = Shelf::ALL.into_iter().find(|shelf| folder == shelf.folder())?;
    // The kernel marks what was deleted or renamed away.
    let name = parts.next()?.to_str()?;
    Some((shelf, name.strip_suffix(" (deleted)").unwrap_or(name).to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f30_a_process_that_stands_in_an_object_uses_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path().join("store"));
        store.prepare().expect("prepared");
        let inside = store.path(Shelf::Envs, "e").join("bin");
        std::fs::create_dir_all(&inside).expect("folders");
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .current_dir(&inside)
            .spawn()
            .expect("it starts");
        let seen = used(&store);
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
        assert_eq!(
            seen.get(&(Shelf::Envs, "e".to_owned())),
            Some(&BTreeSet::from([child.id()]))
        );
        assert!(used(&store).is_empty());
    }

    #[test]
    fn paths_of_objects_are_recognised() {
        let prefixes = [PathBuf::from("/s/store")];
        let found = |path: &str| object(Path::new(path), &prefixes);
        assert_eq!(
            found("/s/store/wheels/w/root/a.so"),
            Some((Shelf::Wheels, "w".to_owned()))
        );
        assert_eq!(found("/s/store/envs/e (deleted)"), Some((Shelf::Envs, "e".to_owned())));
        for other in ["/s/store/tmp/x", "/s/stores/envs/e", "/s/store/envs", "/usr/lib/x.so"] {
            assert_eq!(found(other), None, "{other}");
        }
    }
}
