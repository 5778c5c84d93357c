//! When an object was built or last active: `times/<shelf>-<name>`, one JSON document.
//!
//! A clock may be wrong when something is written and right when it is read, or the other way round. So a stamp holds
//! the boot id and the machine's uptime beside the time of day: within one boot ages are exact whatever is done to the
//! clock, and across boots a time in the future counts as no age at all, never as a great one.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::record::boot_id;
use super::{Shelf, Store, StoreError};
use crate::fsx::{self, PathContext as _};

/// The form of a stamp.
const SCHEMA: u32 = 1;

/// The bytes of a stamp's file, but for the end of the line; longer than any stamp.
const LENGTH: usize = 159;

/// A moment, as far as this machine knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Now {
    /// Seconds since 1970.
    pub unix: u64,
    /// The kernel's boot id; empty where there is none.
    pub boot: String,
    /// Seconds since the boot, suspended ones included.
    pub uptime: u64,
}

impl Now {
    /// This moment.
    #[must_use]
    pub fn read() -> Self {
        let uptime = std::fs::read_to_string("/proc/uptime").unwrap_or_default();
        Self {
            unix: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |since| since.as_secs()),
            boot: boot_id().to_owned(),
            uptime: uptime
                .split('.')
                .next()
                .and_then(|seconds| seconds.trim().parse().ok())
                .unwrap_or(0),
        }
    }
}

/// A moment that was written down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    schema: u32,
    time: u64,
    boot: String,
    uptime: u64,
}

impl Stamp {
    /// This moment.
    #[must_use]
    pub fn now() -> Self {
        let Now { unix, boot, uptime } = Now::read();
        Self {
            schema: SCHEMA,
            time: unix,
            boot,
            uptime,
        }
    }

    /// How long ago it was, as far as clocks can be trusted.
    #[must_use]
    pub fn age(&self, now: &Now) -> Duration {
        let exact = (self.boot == now.boot && !now.boot.is_empty()).then(|| now.uptime.saturating_sub(self.uptime));
        let seconds = match (now.unix.checked_sub(self.time), exact) {
            (Some(wall), Some(exact)) => wall.min(exact),
            (Some(wall), None) => wall,
            (None, exact) => exact.unwrap_or(0),
        };
        Duration::from_secs(seconds)
    }
}

/// How long ago a time of day was; nothing for one in the future.
#[must_use]
pub fn wall_age(now: &Now, time: SystemTime) -> Duration {
    let then = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Duration::from_secs(now.unix.saturating_sub(then))
}

impl Store {
    /// Where the time of an object stands.
    #[must_use]
    pub fn stamp_path(&self, shelf: Shelf, name: &str) -> PathBuf {
        self.root().join("times").join(format!("{}-{name}", shelf.folder()))
    }

    /// Notes that an object is built, or active, now.
    pub fn touch(&self, shelf: Shelf, name: &str) -> Result<(), StoreError> {
        let (path, text) = (
            self.stamp_path(shelf, name),
            serde_json::to_string(&Stamp::now()).unwrap_or_default(),
        );
        // Always as long, so that one may be written over another. Who decides by them waits until nobody writes.
        let bytes = format!("{text:<LENGTH$}\n").into_bytes();
        if !fsx::write_over(&path, &bytes)? {
            fsx::write_shared(&path, &bytes)?;
        }
        Ok(())
    }

    /// Notes that an object is active from now on. The end of that is noted to the second, by [`Store::touch`]; the
    /// beginning, which only counts if the end is never noted, to the hour: who switches to and fro does not wait for it.
    pub fn touch_roughly(&self, shelf: Shelf, name: &str) -> Result<(), StoreError> {
        const ROUGHLY: Duration = Duration::from_hours(1);
        let now = Now::read();
        match self.stamp(shelf, name)? {
            Some(stamp) if stamp.age(&now) < ROUGHLY && stamp.time <= now.unix => Ok(()),
            _ => self.touch(shelf, name),
        }
    }

    fn stamp(&self, shelf: Shelf, name: &str) -> Result<Option<Stamp>, StoreError> {
        let bytes = fsx::read_if_exists(&self.stamp_path(shelf, name))?.unwrap_or_default();
        Ok(serde_json::from_slice(&bytes).ok())
    }

    /// How long an object has been neither built nor active, as far as is known: by its stamp, else by the time at
    /// which its folder changed last.
    pub fn idle(&self, shelf: Shelf, name: &str, now: &Now) -> Result<Duration, StoreError> {
        if let Some(stamp) = self.stamp(shelf, name)? {
            return Ok(stamp.age(now));
        }
        let path = self.path(shelf, name);
        match std::fs::symlink_metadata(&path) {
            Ok(meta) => {
                let changed = u64::try_from(meta.ctime()).unwrap_or(0);
                Ok(Duration::from_secs(now.unix.saturating_sub(changed)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Duration::ZERO),
            Err(error) => Err(error).at("look at", &path).map_err(StoreError::from),
        }
    }

    /// Whether a stamp lies in the future: it was written under a clock that was wrong, or the clock is wrong now.
    #[must_use]
    pub fn is_from_the_future(&self, shelf: Shelf, name: &str, now: &Now) -> bool {
        let stamp = self.stamp(shelf, name).ok().flatten();
        stamp.is_some_and(|stamp| stamp.time > now.unix.saturating_add(60) && stamp.boot != now.boot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f35_ages_are_exact_within_a_boot_and_never_too_great_across_boots() {
        let now = Now {
            unix: 1_000_000,
            boot: "b".to_owned(),
            uptime: 5_000,
        };
        let age = |time: u64, boot: &str, uptime: u64| {
            let stamp = Stamp {
                schema: SCHEMA,
                time,
                boot: boot.to_owned(),
                uptime,
            };
            stamp.age(&now).as_secs()
        };
        assert_eq!(age(999_000, "b", 4_000), 1_000);
        // The clock was set ten years forward, or back, since.
        assert_eq!(age(1, "b", 4_000), 1_000);
        assert_eq!(age(9_000_000, "b", 4_000), 1_000);
        assert_eq!(age(999_000, "a", 4_000), 1_000);
        assert_eq!(age(9_000_000, "a", 4_000), 0);
        // A container that sees another uptime.
        assert_eq!(age(999_000, "b", 1), 1_000);
        assert_eq!(age(999_000, "b", 9_000), 0);
    }

    #[test]
    fn the_beginning_of_a_use_is_noted_to_the_hour_and_the_end_to_the_second() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path().to_owned());
        store.prepare().expect("prepared");
        let now = Now::read();
        let stamp = |seconds: u64, boot: &str| {
            let stamp = Stamp {
                schema: SCHEMA,
                time: now.unix - seconds,
                boot: boot.to_owned(),
                uptime: 0,
            };
            serde_json::to_vec(&stamp).expect("text and numbers")
        };
        let path = store.stamp_path(Shelf::Envs, "e");
        let idle = || store.idle(Shelf::Envs, "e", &now).expect("readable").as_secs();
        for (written, rough) in [
            (stamp(1_800, "before"), 1_800),
            (stamp(7_200, "before"), 0),
            (b"{".to_vec(), 0),
        ] {
            std::fs::write(&path, written).expect("written");
            store.touch_roughly(Shelf::Envs, "e").expect("touched");
            assert!(idle().abs_diff(rough) < 60, "{} for {rough}", idle());
        }
        std::fs::write(&path, stamp(1_800, "before")).expect("written");
        store.touch(Shelf::Envs, "e").expect("touched");
        assert!(idle() < 60);
        // Whatever is written over another is a whole document.
        let lengths = [(); 2].map(|()| {
            store.touch(Shelf::Envs, "e").expect("touched");
            std::fs::metadata(&path).expect("there").len()
        });
        assert_eq!(lengths, [LENGTH as u64 + 1; 2]);
    }

    #[test]
    fn an_object_without_a_stamp_has_the_age_of_its_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::new(folder.path().to_owned());
        store.prepare().expect("prepared");
        std::fs::create_dir(store.path(Shelf::Envs, "e")).expect("a folder");
        let mut now = Now::read();
        assert!(store.idle(Shelf::Envs, "e", &now).expect("readable").as_secs() < 3600);
        now.unix += 86_400;
        now.boot.clear();
        assert!(store.idle(Shelf::Envs, "e", &now).expect("readable").as_secs() >= 86_400);
        store.touch(Shelf::Envs, "e").expect("touched");
        let now = Now::read();
        assert!(store.idle(Shelf::Envs, "e", &now).expect("readable").as_secs() < 3600);
        let past = Now {
            unix: 5,
            boot: "other".to_owned(),
            uptime: 0,
        };
        assert!(store.is_from_the_future(Shelf::Envs, "e", &past));
        assert!(!store.is_from_the_future(Shelf::Envs, "e", &now));
    }
}
