//! The fake PyTorch family and everything it needs, as the real indexes list it.
//!
//! Owns: which wheel stands on which shelf. File names, versions and dependency lines are those of the real wheels of
//! torch 2.7.0; the content is small. Traps that the real indexes set are here too: the channel's root lists other
//! builds under known names, the package index has a torch of its own and a stale `pytorch-triton-rocm`.
//! Every project is built at most once a process, when it is first asked for.

mod nvidia;
mod oddities;
mod pure;
mod torch;

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, OnceLock};

use super::encoding::normalized;
use super::wheel::{BuiltWheel, Wheel};

/// Where a wheel is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shelf {
    /// The package index.
    Index,
    /// The root of the PyTorch index (`/whl/*.whl`), which every channel's pages list as well.
    Root,
    /// One channel of the PyTorch index.
    Channel(&'static str),
}

/// The channels there are.
pub(crate) const CHANNELS: [&str; 3] = ["cu118", "rocm6.3", "cpu"];

/// The CPython versions there are wheels for, as tags have them.
pub(crate) const PYTHONS: [&str; 5] = ["39", "310", "311", "312", "313"];

/// An ELF file of `tests/fixtures/elf`.
macro_rules! elf {
    ($path:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/elf/", $path))
    };
}
/// A Python source of `tests/fixtures/python`.
macro_rules! python {
    ($path:literal) => {
        include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/python/", $path))
    };
}
use {elf, python};

type Maker = Box<dyn Fn() -> Vec<Wheel> + Send + Sync>;

struct Project {
    make: Maker,
    built: OnceLock<Vec<Arc<BuiltWheel>>>,
}

/// What is filled by the modules of this folder.
#[derive(Default)]
struct Catalogue(BTreeMap<Shelf, BTreeMap<String, Project>>);

impl Catalogue {
    /// Offers a project on a shelf; its wheels are made when they are asked for.
    fn add(&mut self, place: Shelf, project: &str, make: impl Fn() -> Vec<Wheel> + Send + Sync + 'static) {
        let project_entry = Project {
            make: Box::new(make),
            built: OnceLock::new(),
        };
        let previous = self
            .0
            .entry(place)
            .or_default()
            .insert(normalized(project), project_entry);
        assert!(previous.is_none(), "{project} stands twice on {place:?}");
    }
}

static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
    let mut catalogue = Catalogue::default();
    torch::fill(&mut catalogue);
    nvidia::fill(&mut catalogue);
    pure::fill(&mut catalogue);
    oddities::fill(&mut catalogue);
    catalogue
});

/// The projects of a shelf, normalised and sorted.
pub(crate) fn projects(shelf: Shelf) -> Vec<&'static str> {
    CATALOGUE
        .0
        .get(&shelf)
        .map(|projects| projects.keys().map(String::as_str).collect())
        .unwrap_or_default()
}

/// The wheels of a project on a shelf; none where the shelf does not have it.
pub(crate) fn wheels(shelf: Shelf, project: &str) -> &'static [Arc<BuiltWheel>] {
    let project = CATALOGUE
        .0
        .get(&shelf)
        .and_then(|projects| projects.get(&normalized(project)));
    project.map_or(&[], |project| {
        project.built.get_or_init(|| {
            (project.make)()
                .into_iter()
                .map(|wheel| Arc::new(wheel.build()))
                .collect()
        })
    })
}

/// The one wheel of a project whose file name holds `part` (such as `2.7.0+cu118-cp311`).
///
/// # Panics
/// Where there is none or more than one.
pub(crate) fn wheel(shelf: Shelf, project: &str, part: &str) -> Arc<BuiltWheel> {
    let found: Vec<_> = wheels(shelf, project)
        .iter()
        .filter(|wheel| wheel.filename.contains(part))
        .collect();
    match found[..] {
        [wheel] => Arc::clone(wheel),
        _ => panic!("{} wheels of {project} on {shelf:?} are called `…{part}…`", found.len()),
    }
}

/// One wheel for each CPython, made from its tag (`cp311-cp311`).
fn for_pythons(make: impl Fn(&str) -> Wheel) -> Vec<Wheel> {
    PYTHONS
        .iter()
        .map(|python| make(&format!("cp{python}-cp{python}")))
        .collect()
}
