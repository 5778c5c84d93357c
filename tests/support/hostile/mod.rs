//! A corpus of wheels that an installer must refuse, and of odd ones that it must not: one function a case.
//!
//! Each case is a whole wheel called `demo` 1.0 with one thing wrong, and the verdict: what a refusal must tell (the
//! reason and the entry), or that there is none. `tests/compare/hostile.py` gives the same wheels to uv and pip.

use super::encoding::sha256;
use super::wheel::{BuiltWheel, Wheel};
use super::zip::{Lies, Member};

mod bombs;
mod container;
mod directory;
mod entry_points;
mod good;
mod headers;
mod kinds;
mod metadata;
mod names;
mod places;
mod record;

/// What must come of a wheel.
#[derive(Debug, Clone)]
pub(crate) enum Verdict {
    /// Refused with a message that holds all of these.
    Refused(Vec<String>),
    /// Installed.
    Accepted,
}

/// One wheel of the corpus.
#[derive(Debug)]
pub(crate) struct Case {
    /// The family (its module) and the function.
    pub(crate) name: String,
    pub(crate) wheel: BuiltWheel,
    pub(crate) verdict: Verdict,
}

type Made = (BuiltWheel, Verdict);

/// Lists the functions of a family.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(super) fn all() -> Vec<super::Case> {
            vec![$(super::case(module_path!(), stringify!($name), $name())),*]
        }
    };
}
use cases;

fn case(module: &str, function: &str, (wheel, verdict): Made) -> Case {
    let family = module.rsplit("::").next().unwrap_or(module);
    Case {
        name: format!("{family}/{function}"),
        wheel,
        verdict,
    }
}

/// The whole corpus.
pub(crate) fn all() -> Vec<Case> {
    [
        names::all(),
        kinds::all(),
        directory::all(),
        headers::all(),
        container::all(),
        bombs::all(),
        metadata::all(),
        record::all(),
        entry_points::all(),
        places::all(),
        good::all(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A sound wheel, to be spoiled.
fn demo() -> Wheel {
    Wheel::new("demo", "1.0").file("demo/__init__.py", "x = 1\n")
}

fn refused(wheel: Wheel, told: &[&str]) -> Made {
    refused_bytes(wheel.build(), told)
}

fn refused_bytes(wheel: BuiltWheel, told: &[&str]) -> Made {
    (
        wheel,
        Verdict::Refused(told.iter().map(|text| (*text).to_owned()).collect()),
    )
}

fn accepted(wheel: Wheel) -> Made {
    (wheel.build(), Verdict::Accepted)
}

/// A member with a true row in RECORD that lies about something else.
fn lying(name: &str, lies: Lies) -> Member {
    Member {
        lies,
        ..Member::file(name, b"y = 2\n")
    }
}

/// `demo` with one such member, refused.
fn spoiled(lies: Lies, told: &str) -> Made {
    refused(demo().listed(lying("demo/evil.py", lies)), &["demo/evil.py", told])
}

/// Changes the finished archive.
fn edited(wheel: Wheel, edit: impl FnOnce(&mut Vec<u8>)) -> BuiltWheel {
    let mut built = wheel.build();
    edit(&mut built.bytes);
    built.sha256 = sha256(&built.bytes);
    built
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}
