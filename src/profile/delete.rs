//! Which generations go: the selections of `nix-env --delete-generations`, as a plan that is shown or executed.
//!
//! Owns: what `30d`, `+5`, `old` and numbers mean. The current generation never goes.
//! Refuses: `+0`, naming the current generation, naming one that does not exist; nothing is deleted then.

use std::collections::BTreeSet;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

use super::{Generation, Profile, ProfileError};
use crate::checkpoint;

/// Which generations are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// `old`: all but the current one.
    Old,
    /// `30d`: those that were not active at any time within so many days. The newest of the older ones stays: it was the
    /// active one when that time began.
    OlderThan {
        /// The days.
        days: u32,
    },
    /// `+5`: all older than the last so many up to the current one, which is one of them. Newer ones stay.
    AllBut {
        /// How many stay.
        keep: usize,
    },
    /// Numbers.
    Numbers(BTreeSet<u64>),
}

/// Text that selects no generations.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseSelectionError {
    /// Not one of the four forms.
    #[error("`{0}` selects no generations; expected numbers, `old`, `30d` or `+5`")]
    Form(String),
    /// The current one would go.
    #[error("`+0` would delete the current generation; at least one has to stay")]
    None,
    /// Another form beside numbers.
    #[error("`{0}` stands alone; only numbers can be listed")]
    Mixed(String),
}

impl Selection {
    /// Reads the words of the command line.
    pub fn parse(words: &[String]) -> Result<Self, ParseSelectionError> {
        let words: Vec<&str> = words.iter().flat_map(|word| word.split(',')).collect();
        if let [word] = words.as_slice() {
            return word.parse();
        }
        let mut numbers = BTreeSet::new();
        for word in words {
            match word.parse()? {
                Self::Numbers(more) => numbers.extend(more),
                _ => return Err(ParseSelectionError::Mixed(word.to_owned())),
            }
        }
        Ok(Self::Numbers(numbers))
    }
}

impl FromStr for Selection {
    type Err = ParseSelectionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || ParseSelectionError::Form(text.to_owned());
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if text == "old" {
            return Ok(Self::Old);
        }
        if let Some(days) = text.strip_suffix('d').filter(|days| digits(days)) {
            let days = days.parse().map_err(|_| form())?;
            return Ok(Self::OlderThan { days });
        }
        if let Some(keep) = text.strip_prefix('+').filter(|keep| digits(keep)) {
            return match keep.parse().map_err(|_| form())? {
                0 => Err(ParseSelectionError::None),
                keep => Ok(Self::AllBut { keep }),
            };
        }
        if digits(text) {
            return Ok(Self::Numbers(BTreeSet::from([text.parse().map_err(|_| form())?])));
        }
        Err(form())
    }
}

/// A time that cannot be read counts as now: nothing goes because of it.
fn last_active(generation: &Generation, now: Timestamp) -> Timestamp {
    generation.last_active().parse().unwrap_or(now)
}

/// The generations that a selection means, oldest first. `current` is the number of the current one.
pub fn plan(
    generations: &[Generation],
    current: Option<u64>,
    selection: &Selection,
    now: Timestamp,
) -> Result<Vec<Generation>, ProfileError> {
    let goes: Vec<u64> = match selection {
        Selection::Old => generations.iter().map(|generation| generation.number).collect(),
        Selection::OlderThan { days } => {
            let since = now
                .checked_sub(SignedDuration::from_hours(24 * i64::from(*days)))
                .unwrap_or(Timestamp::MIN);
            let mut old: Vec<(Timestamp, u64)> = generations
                .iter()
                .map(|generation| (last_active(generation, now), generation.number))
                .filter(|(at, _)| *at < since)
                .collect();
            old.sort_unstable();
            old.pop();
            old.into_iter().map(|(_, number)| number).collect()
        }
        Selection::AllBut { keep } => {
            let up_to = generations
                .iter()
                .map(|generation| generation.number)
                .filter(|number| current.is_none_or(|current| *number <= current));
            up_to.rev().skip(*keep).collect()
        }
        Selection::Numbers(numbers) => {
            if let Some(current) = current.filter(|current| numbers.contains(current)) {
                return Err(ProfileError::DeletesCurrent(current));
            }
            let exists = |number: &u64| generations.iter().any(|generation| generation.number == *number);
            if let Some(missing) = numbers.iter().find(|number| !exists(number)) {
                return Err(ProfileError::NoGeneration(*missing));
            }
            numbers.iter().copied().collect()
        }
    };
    Ok(generations
        .iter()
        .filter(|generation| goes.contains(&generation.number) && Some(generation.number) != current)
        .cloned()
        .collect())
}

impl Profile {
    /// What a selection would delete now, oldest first.
    pub fn plan_deletion(&self, selection: &Selection) -> Result<Vec<Generation>, ProfileError> {
        let now = Timestamp::try_from(checkpoint::now()).unwrap_or(Timestamp::MAX);
        plan(&self.generations()?, self.protected()?, selection, now)
    }

    /// Forgets generations of a plan. Their environments stay in the store until a collection finds that nothing needs
    /// them. The caller holds the guard since it made the plan.
    pub fn delete(&self, planned: &[Generation]) -> Result<(), ProfileError> {
        for generation in planned {
            self.forget(generation.number)?;
        }
        Ok(())
    }

    /// The generation that is never deleted: the current one, and where nothing is active the one that was last.
    fn protected(&self) -> Result<Option<u64>, ProfileError> {
        Ok(match self.current()? {
            Some(current) => Some(current.number),
            None => self.noted()?.map(|noted| noted.current),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{EnvironmentKey, LockfileDigest};
    use crate::profile::{Activation, Cause, Choice};

    const NOW: &str = "2025-06-30T12:00:00Z";

    /// Generations by the day of June on which each was made, and on which it was activated again.
    fn history(days: &[(i8, Option<i8>)]) -> Vec<Generation> {
        let at = |day: i8| format!("2025-06-{day:02}T12:00:00Z");
        (1..)
            .zip(days)
            .map(|(number, (made, again))| Generation {
                schema: 1,
                number,
                created: at(*made),
                user: String::new(),
                path: format!("/store/envs/{number}").into(),
                key: EnvironmentKey::of(b""),
                backend: crate::backend::Backend::Cpu,
                channel: "cpu".parse().expect("a channel"),
                lockfile: LockfileDigest::of(b""),
                cause: Cause::Flag,
                choice: Choice {
                    explicit: None,
                    configured: String::new(),
                    held: None,
                },
                again: again.map(|day| Activation {
                    at: at(day),
                    user: String::new(),
                    cause: Cause::Rollback,
                }),
            })
            .collect()
    }

    fn planned(days: &[(i8, Option<i8>)], current: u64, words: &str) -> Result<Vec<u64>, ProfileError> {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        let selection = Selection::parse(&words).expect("a selection");
        let now = NOW.parse().expect("a time");
        let goes = plan(&history(days), Some(current), &selection, now)?;
        Ok(goes.iter().map(|generation| generation.number).collect())
    }

    #[test]
    fn selections_mean_what_nix_means_by_them() {
        let plain = [(1, None), (5, None), (10, None), (20, None), (29, None)];
        for (current, words, goes) in [
            (5, "old", vec![1, 2, 3, 4]),
            (3, "old", vec![1, 2, 4, 5]),
            // Ten days ago generation 4 was just made; three, which was active until then, stays.
            (5, "10d", vec![1, 2]),
            (5, "9d", vec![1, 2, 3]),
            (5, "0d", vec![1, 2, 3, 4]),
            (5, "1d", vec![1, 2, 3]),
            (5, "30d", vec![]),
            (1, "9d", vec![2, 3]),
            // The last so many up to the current one, and whatever is newer.
            (5, "+1", vec![1, 2, 3, 4]),
            (5, "+2", vec![1, 2, 3]),
            (3, "+2", vec![1]),
            (3, "+1", vec![1, 2]),
            (5, "+5", vec![]),
            (5, "+99", vec![]),
            (5, "1 3", vec![1, 3]),
            (5, "3,1", vec![1, 3]),
        ] {
            assert_eq!(
                planned(&plain, current, words).expect("a plan"),
                goes,
                "{current} {words}"
            );
        }
        assert!(matches!(
            planned(&plain, 5, "1 5"),
            Err(ProfileError::DeletesCurrent(5))
        ));
        assert!(matches!(planned(&plain, 5, "1 9"), Err(ProfileError::NoGeneration(9))));
    }

    #[test]
    fn what_was_active_again_within_the_time_is_not_old() {
        // Made long ago, rolled back to two days ago, left yesterday.
        let history = [(1, Some(28)), (2, None), (3, None), (29, None)];
        assert_eq!(planned(&history, 4, "5d").expect("a plan"), [2]);
        assert_eq!(planned(&history, 4, "1d").expect("a plan"), [2, 3]);
    }

    #[test]
    fn other_words_select_nothing() {
        let parse = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Selection::parse(&words)
        };
        for wrong in ["", "new", "30", "d", "+", "-1", "30h", "+x", "1d2", "99999999999d"] {
            let is_number = wrong == "30";
            assert_eq!(parse(&[wrong]).is_ok(), is_number, "{wrong}");
        }
        assert_eq!(parse(&["+0"]), Err(ParseSelectionError::None));
        assert_eq!(parse(&["1", "old"]), Err(ParseSelectionError::Mixed("old".to_owned())));
    }
}
