//! Claims: what running builds need, so that no collection takes it from under them.
//!
//! A build owns one file `claims/<pid>-<random>`, on which it holds an exclusive lock until it ends. The first line says
//! who it is, every further one names an object: `wheels/<name>` or `envs/<name>`.
//!
//! The protocol. A build writes a name *before* it looks whether the object is there, and holds the gate (a shared lock
//! on `guards/.gate`) while it writes. A collection holds the gate exclusively from the moment it reads the claims until
//! everything it takes is out of sight. So either the collection sees the claim and keeps the object, or the build sees
//! that the object is gone and makes it. `docs/gc.md` has the whole protocol, and the model that checks it.
//!
//! A claim without its lock belongs to a dead build, with one exception: where the file system may be shared between
//! machines, another machine's lock may be invisible here, so its claim counts for [`FOREIGN`] more.

use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::times::{Now, wall_age};
use super::{Shelf, Store, StoreError};
use crate::fsx::{self, PathContext as _};

/// The form of a claim's first line.
const SCHEMA: u32 = 1;

/// How long the claim of another machine counts after its last change where nobody is seen to hold it: a week.
pub const FOREIGN: Duration = Duration::from_hours(7 * 24);

/// Who makes a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Head {
    schema: u32,
    pid: u32,
    /// The kernel's boot id: two processes of one boot see each other's locks, whatever the file system.
    boot: String,
    host: String,
}

/// What a running build needs. Dropped means released.
#[must_use]
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    gate: PathBuf,
    held: Mutex<(File, BTreeSet<String>)>,
}

/// A claim that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunningBuild {
    /// Its process, on `host`.
    pub pid: u32,
    /// Its machine's name.
    pub host: String,
    /// What it needs.
    pub names: Vec<(Shelf, String)>,
}

/// What the claims of a store come to.
#[derive(Debug, Clone, Default)]
pub struct Claims {
    /// Those that count.
    pub running: Vec<RunningBuild>,
    /// Files of dead builds.
    pub dead: Vec<PathBuf>,
}

impl Claim {
    /// Keeps an object of this name from being collected, whether it is visible already or not.
    pub fn hold(&self, shelf: Shelf, name: &str) -> Result<(), StoreError> {
        self.hold_all(shelf, [name])
    }

    /// As [`Claim::hold`], for several objects in one step.
    pub fn hold_all<'a>(&self, shelf: Shelf, names: impl IntoIterator<Item = &'a str>) -> Result<(), StoreError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let lines = names.into_iter().map(|name| format!("{}/{name}", shelf.folder()));
        let new: Vec<String> = lines.filter(|line| !held.1.contains(line)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let _gate = super::open_gate(&self.gate)?;
        let text: String = new.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        held.0.write_all(text.as_bytes()).at("write", &self.path)?;
        held.1.extend(new);
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A file that stays is a dead build's, which the next collection removes.
        std::fs::remove_file(&self.path).ok();
    }
}

impl Store {
    /// A new claim of this process; holds nothing yet.
    pub fn claim(&self) -> Result<Claim, StoreError> {
        let folder = self.root().join("claims");
        let gate = self.gate_path();
        // Under the gate, so that no collection takes the file for a dead build's before it is locked.
        let _gate = super::open_gate(&gate)?;
        let file = tempfile::Builder::new()
            .prefix(&format!("{}-", std::process::id()))
            .permissions(std::fs::Permissions::from_mode(0o644))
            .tempfile_in(&folder)
            .at("create a file in", &folder)?;
        let (mut file, path) = file.keep().map_err(|error| error.error).at("keep a file in", &folder)?;
        let claim = |file| Claim {
            path: path.clone(),
            gate,
            held: Mutex::new((file, BTreeSet::new())),
        };
        match file.try_lock() {
            Err(TryLockError::Error(error)) if error.kind() != io::ErrorKind::Unsupported => {
                drop(claim(file));
                return Err(error).at("lock", &path).map_err(StoreError::from);
            }
            _ => {}
        }
        let head = Head {
            schema: SCHEMA,
            pid: std::process::id(),
            boot: Now::read().boot,
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        };
        let mut line = serde_json::to_vec(&head).unwrap_or_default();
        line.push(b'\n');
        let written = file.write_all(&line);
        let claim = claim(file);
        written.at("write", &claim.path)?;
        crate::checkpoint::reach("claim.made");
        Ok(claim)
    }

    /// Every claim. For a collection, which holds the gate; without it, an answer that may be outdated.
    pub fn claims(&self) -> Result<Claims, StoreError> {
        let folder = self.root().join("claims");
        let entries = match std::fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Claims::default()),
            entries => entries.at("list", &folder)?,
        };
        let shared = fsx::may_be_shared(&folder);
        let now = Now::read();
        let mut claims = Claims::default();
        for entry in entries {
            let path = entry.at("list", &folder)?.path();
            match read(&path, &now, shared) {
                Ok(Some(running)) => claims.running.push(running),
                Ok(None) => claims.dead.push(path),
                // The build ended.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("read", &path).map_err(StoreError::from),
            }
        }
        Ok(claims)
    }
}

/// The claim at `path`, unless it is a dead build's.
fn read(path: &Path, now: &Now, shared: bool) -> io::Result<Option<RunningBuild>> {
    let text = std::fs::read_to_string(path)?;
    let file = File::open(path)?;
    let locked = match file.try_lock() {
        Ok(()) => false,
        Err(TryLockError::WouldBlock) => true,
        // Cannot be told: it counts. (A collection has refused such a file system before it came here.)
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => true,
        Err(TryLockError::Error(error)) => return Err(error),
    };
    let age = wall_age(now, file.metadata()?.modified()?);
    let (head, names) = parse(&text);
    let boot = head.as_ref().map(|head| head.boot.as_str());
    if !counts(locked, boot == Some(now.boot.as_str()), shared, age) {
        return Ok(None);
    }
    Ok(Some(RunningBuild {
        pid: head.as_ref().map_or(0, |head| head.pid),
        host: head.map_or_else(String::new, |head| head.host),
        names,
    }))
}

/// Whether a claim counts: whether somebody holds it, whether it is of this boot of this machine, whether other machines
/// may see this file system, and how long ago it changed last. A process id says nothing: it may be another's by now.
fn counts(locked: bool, same_boot: bool, shared: bool, age: Duration) -> bool {
    locked || !same_boot && shared && age < FOREIGN
}

fn parse(text: &str) -> (Option<Head>, Vec<(Shelf, String)>) {
    let mut lines = text.lines();
    let head = lines
        .next()
        .and_then(|line| serde_json::from_str::<Head>(line).ok())
        .filter(|head| head.schema == SCHEMA);
    let named = lines.filter_map(|line| {
        let (folder, name) = line.split_once('/')?;
        let shelf = Shelf::ALL.into_iter().find(|shelf| shelf.folder() == folder)?;
        Some((shelf, name.to_owned()))
    });
    (head, named.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path().join("store"));
        store.prepare().expect("prepared");
        (folder, store)
    }

    #[test]
    fn a_claim_counts_while_its_process_holds_it() {
        let (_folder, store) = store();
        let claim = store.claim().expect("claimed");
        claim.hold(Shelf::Wheels, "a").expect("held");
        claim.hold(Shelf::Envs, "b").expect("held");
        claim.hold(Shelf::Wheels, "a").expect("held twice is held once");
        let claims = store.claims().expect("readable");
        assert_eq!(claims.dead, Vec::<PathBuf>::new());
        assert_eq!(claims.running.len(), 1);
        assert_eq!(claims.running[0].pid, std::process::id());
        assert_eq!(
            claims.running[0].names,
            [(Shelf::Wheels, "a".to_owned()), (Shelf::Envs, "b".to_owned())]
        );
        drop(claim);
        assert!(store.claims().expect("readable").running.is_empty());
    }

    #[test]
    fn f32_the_claim_of_a_dead_build_is_told_by_its_lock_not_by_its_process_id() {
        let (_folder, store) = store();
        let head = |boot: &str| Head {
            schema: SCHEMA,
            // Somebody runs under this number.
            pid: std::process::id(),
            boot: boot.to_owned(),
            host: "h".to_owned(),
        };
        for (name, boot) in [("1-a", Now::read().boot), ("2-b", "another boot".to_owned())] {
            let text = format!("{}\nenvs/x\n", serde_json::to_string(&head(&boot)).expect("text"));
            std::fs::write(store.root().join("claims").join(name), text).expect("written");
        }
        std::fs::write(store.root().join("claims/3-c"), "garbage").expect("written");
        if fsx::may_be_shared(store.root()) {
            return;
        }
        let claims = store.claims().expect("readable");
        assert_eq!((claims.running.len(), claims.dead.len()), (0, 3));
    }

    #[test]
    fn f32_another_machine_s_claim_is_reclaimed_after_its_time_and_never_earlier() {
        let second = Duration::from_secs(1);
        for (locked, same_boot, shared, age, expected) in [
            (true, false, true, FOREIGN * 9, true),
            (true, true, false, FOREIGN * 9, true),
            (false, true, true, Duration::ZERO, false),
            (false, false, false, Duration::ZERO, false),
            (false, false, true, Duration::ZERO, true),
            (false, false, true, FOREIGN.saturating_sub(second), true),
            (false, false, true, FOREIGN, false),
        ] {
            assert_eq!(
                counts(locked, same_boot, shared, age),
                expected,
                "locked {locked}, same boot {same_boot}, shared {shared}, {age:?}"
            );
        }
    }
}
