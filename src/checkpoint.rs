//! Named moments at which a test can kill or hold this process, and a clock that it can put wrong.
//!
//! Compiled into debug builds only, which is what tests run; a release build has an empty function here. Driven by
//! `FLAMBEAU_CHECKPOINT`, a list of `<name>[#<n>]=<action>` separated by `;`:
//!
//! - `kill`: the process dies there by SIGKILL, as by `kill -9` or the kernel's out-of-memory killer;
//! - `hold:<folder>`: writes `<folder>/<name>.reached` and goes on once `<folder>/<name>.go` exists.
//!
//! `#<n>` means the n-th time that the moment is reached in this process (from 1; the first where it is left out).
//! A malformed variable stops the process: a test that waits for nothing would prove nothing.

/// Marks a moment. The name is `<module>.<what has just been done>`, e.g. `store.renamed`.
#[inline]
pub fn reach(name: &str) {
    #[cfg(debug_assertions)]
    armed::reach(name);
    #[cfg(not(debug_assertions))]
    let _ = name;
}

/// The time by this machine's clock. In debug builds `FLAMBEAU_CLOCK_SHIFT`, seconds with a sign, puts the clock wrong.
///
/// # Panics
/// In debug builds, where that variable is no number: a test would prove nothing.
#[must_use]
pub fn now() -> std::time::SystemTime {
    let now = std::time::SystemTime::now();
    #[cfg(debug_assertions)]
    if let Ok(shift) = std::env::var("FLAMBEAU_CLOCK_SHIFT") {
        let shift: i64 = shift.parse().expect("FLAMBEAU_CLOCK_SHIFT is a number of seconds");
        let by = std::time::Duration::from_secs(shift.unsigned_abs());
        return if shift < 0 { now - by } else { now + by };
    }
    now
}

#[cfg(debug_assertions)]
mod armed {
    use std::collections::HashMap;
    use std::path::{Path, PathBuf};
    use std::sync::{LazyLock, Mutex, PoisonError};
    use std::time::Duration;

    /// The variable that arms checkpoints.
    const VARIABLE: &str = "FLAMBEAU_CHECKPOINT";

    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(super) enum Action {
        Kill,
        Hold(PathBuf),
    }

    /// What happens when the name is reached for the given time.
    pub(super) type Plan = HashMap<(String, u64), Action>;

    static PLAN: LazyLock<Plan> = LazyLock::new(|| {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        parse(&text).unwrap_or_else(|part| panic!("{VARIABLE} has a part that is no checkpoint: {part:?}"))
    });
    static COUNTS: LazyLock<Mutex<HashMap<String, u64>>> = LazyLock::new(Mutex::default);

    pub(super) fn parse(text: &str) -> Result<Plan, String> {
        let mut plan = Plan::new();
        for part in text.split(';').map(str::trim).filter(|part| !part.is_empty()) {
            let wrong = || part.to_owned();
            let (name, action) = part.split_once('=').ok_or_else(wrong)?;
            let (name, time) = match name.split_once('#') {
                Some((name, time)) => (name, time.parse().map_err(|_| wrong())?),
                None => (name, 1),
            };
            let action = match action.split_once(':') {
                None if action == "kill" => Action::Kill,
                Some(("hold", folder)) => Action::Hold(folder.into()),
                _ => return Err(wrong()),
            };
            plan.insert((name.to_owned(), time), action);
        }
        Ok(plan)
    }

    pub(super) fn reach(name: &str) {
        if PLAN.is_empty() {
            return;
        }
        let time = {
            let mut counts = COUNTS.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(name.to_owned()).or_default();
            *count += 1;
            *count
        };
        match PLAN.get(&(name.to_owned(), time)) {
            None => {}
            Some(Action::Kill) => {
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                    .expect("a process may kill itself");
            }
            Some(Action::Hold(folder)) => hold(folder, name),
        }
    }

    fn hold(folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.reached")), "").expect("the test's folder is writable");
        let go = folder.join(format!("{name}.go"));
        while !go.exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_variable_names_moments_times_and_actions() {
            let plan = parse("store.renamed=kill; flip.linked#3=hold:/tmp/x;").expect("a plan");
            assert_eq!(plan[&("store.renamed".to_owned(), 1)], Action::Kill);
            assert_eq!(plan[&("flip.linked".to_owned(), 3)], Action::Hold("/tmp/x".into()));
            assert_eq!(plan.len(), 2);
            for wrong in ["x", "x=stop", "x#y=kill", "x=hold"] {
                assert_eq!(parse(wrong), Err(wrong.to_owned()));
            }
        }
    }
}
