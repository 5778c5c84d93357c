//! What of the cache goes: abandoned partial downloads, old pages, and wheels where that is asked for.
//!
//! A wheel stays while a tree that lives, or will live when a running build has made it, comes from it, or a lockfile of
//! a registered project (or of the asking one) names its digest. Lockfiles are searched for digests, whatever their
//! format: naming one in a comment keeps the wheel too. A lockfile that cannot be read stops the collection.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use super::debris::{age, entries};
use super::plan::{Item, Kind};
use super::{CollectError, Collector, Options, PAGES, Survey};
use crate::cache::Cache;
use crate::fsx::PathContext as _;
use crate::store::Shelf;
use crate::store::times::Now;

/// Everything of this sort.
pub(super) fn units(
    collector: &Collector<'_>,
    cache: &Cache,
    options: &Options,
    survey: &Survey,
) -> Result<Vec<Item>, CollectError> {
    let now = Now::read();
    let mut items = Vec::new();
    if !options.offline {
        for path in entries(&cache.root().join("partial"))? {
            let is_guard = path.extension().is_some_and(|end| end == "guard");
            if is_older(&path, options.grace(), &now)? && !is_guard && !is_held(&path) {
                items.push(Item::new(Kind::Partial, path));
            }
        }
        for folder in ["pages", "metadata", "answers"] {
            for path in entries(&cache.root().join(folder))? {
                if is_older(&path, options.older_than.unwrap_or(PAGES), &now)? {
                    items.push(Item::new(Kind::Page, path));
                }
            }
        }
    }
    if options.wheels {
        let needed = Needed::of(collector, survey)?;
        for folder in entries(&cache.root().join("wheels"))? {
            let digest = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if needed.has(digest) {
                continue;
            }
            let mut young = false;
            for file in entries(&folder)? {
                young |= !is_older(&file, options.grace(), &now)?;
            }
            if !young {
                items.push(Item::new(Kind::Wheel, folder));
            }
        }
    }
    Ok(items)
}

fn is_older(path: &Path, than: std::time::Duration, now: &Now) -> Result<bool, CollectError> {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => Ok(age(&meta, now) >= than),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).at("look at", path).map_err(CollectError::from),
    }
}

/// The guard of a partial file: `<digest>.guard` beside `<digest>.part`, `<digest>.json` and `<digest>-<pid>.part`.
pub(super) fn guard_of(path: &Path) -> Option<PathBuf> {
    let stem = path.file_name()?.to_str()?.split(['.', '-']).next()?;
    Some(path.with_file_name(format!("{stem}.guard")))
}

/// Whether somebody downloads into it.
fn is_held(path: &Path) -> bool {
    guard_of(path).is_some_and(|guard| guard.exists() && !super::debris::is_free(&guard).unwrap_or(false))
}

/// The wheels that something needs.
struct Needed {
    /// First 40 hex digits, of trees.
    short: BTreeSet<String>,
    /// Whole digests, of lockfiles.
    whole: BTreeSet<String>,
}

impl Needed {
    fn of(collector: &Collector<'_>, survey: &Survey) -> Result<Self, CollectError> {
        let mut needed = Self {
            short: BTreeSet::new(),
            whole: BTreeSet::new(),
        };
        let living = survey.trees.keys().filter(|tree| survey.lives(Shelf::Wheels, tree));
        let claimed = survey.claimed.iter().filter(|(shelf, _)| *shelf == Shelf::Wheels);
        for tree in living.chain(claimed.map(|(_, name)| name)) {
            needed.short.extend(tree.get(..40).map(str::to_owned));
        }
        // A living environment's tree may be gone; its name still tells the wheel that would make it again.
        for (env, parts) in &survey.uses {
            if survey.lives(Shelf::Envs, env) {
                needed
                    .short
                    .extend(parts.iter().filter_map(|(_, name)| name.get(..40).map(str::to_owned)));
            }
        }
        let own = std::iter::once(collector.project);
        for project in survey.projects.iter().map(PathBuf::as_path).chain(own) {
            for folder in [project.to_owned(), project.join("lockfiles")] {
                for path in entries(&folder)? {
                    if is_lockfile(&path) {
                        let text = std::fs::read(&path).map_err(|error| CollectError::root(&path, error))?;
                        needed.whole.extend(digests(&text));
                    }
                }
            }
        }
        Ok(needed)
    }

    fn has(&self, digest: &str) -> bool {
        self.whole.contains(digest) || digest.get(..40).is_some_and(|short| self.short.contains(short))
    }
}

fn is_lockfile(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let named = name.starts_with("pylock.") && name.ends_with(".toml")
        || name == "uv.lock"
        || name == "poetry.lock"
        || name.starts_with("requirements") && name.ends_with(".txt");
    named && path.is_file()
}

/// Every run of exactly 64 hex digits.
fn digests(text: &[u8]) -> Vec<String> {
    text.split(|byte| !byte.is_ascii_hexdigit())
        .filter(|run| run.len() == 64)
        .map(|run| String::from_utf8_lossy(run).to_ascii_lowercase())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_in_any_text() {
        let one = "a".repeat(64);
        let text = format!(
            "hash = \"sha256:{}\"\n# {}\n{}f",
            one.to_uppercase(),
            "b".repeat(63),
            "c".repeat(64)
        );
        assert_eq!(digests(text.as_bytes()), [one]);
    }

    #[test]
    fn the_guard_of_a_part() {
        for (path, guard) in [
            ("/c/ab.part", "/c/ab.guard"),
            ("/c/ab-12.json", "/c/ab.guard"),
            ("/c/ab.bad", "/c/ab.guard"),
            ("/c/url_ab-12.part", "/c/url_ab.guard"),
        ] {
            assert_eq!(guard_of(Path::new(path)), Some(PathBuf::from(guard)));
        }
    }
}
