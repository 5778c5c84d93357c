//! What a wheel will become, decided and checked before anything is written.
//!
//! Owns: where each member goes (PEP 427, the layout of a virtual environment), and every refusal that needs no member
//! inflated but METADATA, WHEEL, RECORD and the entry points: safe names, one dist-info that agrees with the file name,
//! RECORD complete in both directions, no two files for one place, no file of the environment's own.
//! Refuses: whatever is not exactly so.

use std::collections::{BTreeMap, BTreeSet};

use super::archive::{Archive, Entry, ReadAt, limits};
use super::entry_points;
use super::layout::Layout;
use super::manifest::is_bytecode_path;
use super::metadata;
use super::record::Record;
use super::unpack::UnpackError;
use super::wheel_file;
use crate::pep::WheelFilename;
use crate::relpath::RelPath;

/// Metadata files larger than this are refused before they are read into memory.
pub(super) const METADATA_MAX: u64 = 64 << 20;

/// What a wheel is measured by.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Where members go.
    pub layout: Layout,
    /// Whether a path below the prefix (in lower case: some file systems know no other) is the environment's own.
    pub reserved: fn(&str) -> bool,
    /// Whether files that RECORD does not list, or lists without a digest, are let in and reported. PEP 427 has
    /// installers refuse them.
    pub allow_unrecorded: bool,
}

impl Rules {
    /// The rules for an environment with `layout` in which no path is reserved.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            reserved: |_| false,
            allow_unrecorded: false,
        }
    }
}

/// What happens to one member.
pub(super) struct Placement<'a> {
    pub(super) entry: &'a Entry,
    /// The name in the archive, for RECORD.
    pub(super) source: RelPath,
    /// The place below the prefix.
    pub(super) path: RelPath,
    /// A script from `.data/scripts`: executable, and its first line may be rewritten.
    pub(super) script: bool,
}

/// The checked plan of a wheel: everything that can be refused without inflating the members has been.
pub struct Plan<'a, R> {
    pub(super) archive: &'a Archive<R>,
    pub(super) record: Record,
    pub(super) placements: Vec<Placement<'a>>,
    /// Members that are checked and not written: flambeau writes its own in their place.
    pub(super) replaced: Vec<Placement<'a>>,
    pub(super) scripts: Vec<(RelPath, Vec<u8>)>,
    pub(super) dist_info: RelPath,
    pub(super) layout: Layout,
    /// Files that RECORD does not vouch for, in the archive's spelling.
    pub unrecorded: Vec<RelPath>,
}

/// Checks the archive and decides where everything goes.
pub fn plan<'a, R: ReadAt>(
    archive: &'a Archive<R>,
    filename: &WheelFilename,
    rules: Rules,
) -> Result<Plan<'a, R>, UnpackError> {
    archive.check_members()?;
    let members = safe_members(archive.entries())?;
    let dist_info = dist_info_folder(archive.entries(), filename)?;
    let stem = dist_info.strip_suffix(".dist-info").unwrap_or(&dist_info);
    check_data_folder(archive.entries(), stem)?;
    let own = |file: &str| format!("{dist_info}/{file}");
    wheel_file::check(&read_text(archive, &members, &own("WHEEL"))?, filename)?;
    let metadata = read_bytes(archive, &members, &own("METADATA"))?;
    metadata::parse(&metadata, &filename.to_string(), filename)?;
    let record = Record::parse(&read_bytes(archive, &members, &own("RECORD"))?)?;
    let unrecorded = compare_with_record(&record, &members, &own("RECORD"), rules.allow_unrecorded)?;
    let mut scripts = Vec::new();
    if members.contains_key(own("entry_points.txt").as_str()) {
        let text = read_text(archive, &members, &own("entry_points.txt"))?;
        for script in entry_points::parse(&text)? {
            let path = RelPath::new(&format!("bin/{}", script.name)).map_err(UnpackError::Name)?;
            scripts.push((path, script.contents()));
        }
    }
    let (placements, replaced) = place_all(members, &dist_info, &scripts, (filename, rules.layout))?;
    let site = rules.layout.site_packages();
    let dist_info = RelPath::new(&format!("{site}/{dist_info}")).map_err(UnpackError::Name)?;
    let mut plan = Plan {
        archive,
        record,
        placements,
        replaced,
        scripts,
        dist_info,
        layout: rules.layout,
        unrecorded,
    };
    plan.check_places(rules.reserved)?;
    plan.leave_out_bytecode();
    Ok(plan)
}

/// The files by name; the names of folders are checked too.
fn safe_members(entries: &[Entry]) -> Result<BTreeMap<RelPath, &Entry>, UnpackError> {
    let mut members = BTreeMap::new();
    for entry in entries {
        let name = entry.name.strip_suffix('/').unwrap_or(&entry.name);
        let name = RelPath::new(name).map_err(|mut error| {
            error.path.clone_from(&entry.name);
            UnpackError::Name(error)
        })?;
        if !entry.is_dir() {
            members.insert(name, entry);
        }
    }
    Ok(members)
}

/// The folders at the top whose names end so, whatever the case.
fn top_folders<'a>(entries: &'a [Entry], ending: &str) -> BTreeSet<&'a str> {
    entries
        .iter()
        .filter_map(|entry| entry.name.split_once('/'))
        .map(|(top, _)| top)
        .filter(|top| top.to_ascii_lowercase().ends_with(ending))
        .collect()
}

/// The one `*.dist-info` at the top, which must be of this wheel's name and version (however spelled).
fn dist_info_folder(entries: &[Entry], filename: &WheelFilename) -> Result<String, UnpackError> {
    let found = top_folders(entries, ".dist-info");
    let error = |found: String| UnpackError::DistInfo {
        expected: format!("{}-{}.dist-info", filename.name.as_dist_info_name(), filename.version),
        found,
    };
    let mut tops = found.iter();
    let (Some(top), None) = (tops.next(), tops.next()) else {
        return Err(error(if found.is_empty() {
            "none".to_owned()
        } else {
            Vec::from_iter(found).join(", ")
        }));
    };
    let parsed = top.strip_suffix(".dist-info").and_then(|stem| stem.split_once('-'));
    let agrees = parsed.is_some_and(|(name, version)| {
        name.parse()
            .is_ok_and(|name: crate::pep::PackageName| name == filename.name)
            && version
                .replace('_', "+")
                .parse()
                .is_ok_and(|version: crate::pep::Version| version == filename.version)
    });
    if agrees {
        Ok((*top).to_owned())
    } else {
        Err(error((*top).to_owned()))
    }
}

/// pip takes any `*.data` folder at the top for the wheel's own, uv only that beside the dist-info: one of another
/// name would be installed in two ways.
fn check_data_folder(entries: &[Entry], stem: &str) -> Result<(), UnpackError> {
    let foreign = top_folders(entries, ".data")
        .into_iter()
        .find(|top| top.strip_suffix(".data") != Some(stem));
    match foreign {
        Some(found) => Err(UnpackError::DataFolder {
            expected: format!("{stem}.data"),
            found: found.to_owned(),
        }),
        None => Ok(()),
    }
}

fn read_bytes<R: ReadAt>(
    archive: &Archive<R>,
    members: &BTreeMap<RelPath, &Entry>,
    name: &str,
) -> Result<Vec<u8>, UnpackError> {
    let entry = members.get(name).ok_or_else(|| UnpackError::Missing(name.to_owned()))?;
    Ok(archive.read(entry, METADATA_MAX)?)
}

fn read_text<R: ReadAt>(
    archive: &Archive<R>,
    members: &BTreeMap<RelPath, &Entry>,
    name: &str,
) -> Result<String, UnpackError> {
    String::from_utf8(read_bytes(archive, members, name)?).map_err(|_| UnpackError::Text(name.to_owned()))
}

/// Every file in RECORD with its size and a digest, every row a file. Returns the files of which that does not hold,
/// where they are allowed.
fn compare_with_record(
    record: &Record,
    members: &BTreeMap<RelPath, &Entry>,
    record_name: &str,
    allow_unrecorded: bool,
) -> Result<Vec<RelPath>, UnpackError> {
    let mut unrecorded = Vec::new();
    for (path, entry) in members {
        let text = path.as_str();
        // RECORD cannot hold its own digest, and its signatures are made after it (PEP 427).
        let exempt = text
            .strip_prefix(record_name)
            .is_some_and(|rest| matches!(rest, "" | ".jws" | ".p7s"));
        match record.get(path) {
            Some(row) if row.size.is_some_and(|size| size != entry.size) => {
                return Err(UnpackError::Mismatch(text.to_owned()));
            }
            Some(row) if row.digest.is_some() || exempt => {}
            None if exempt => {}
            _ if allow_unrecorded => unrecorded.push(path.clone()),
            Some(_) => return Err(UnpackError::NoDigest(text.to_owned())),
            None => return Err(UnpackError::Unrecorded(text.to_owned())),
        }
    }
    match record.paths().find(|path| !members.contains_key(*path)) {
        Some(phantom) => Err(UnpackError::Phantom(phantom.to_string())),
        None => Ok(unrecorded),
    }
}

/// Files of the dist-info that are checked and not written: an installer writes them itself. RECORD's signatures stay, as
/// with every installer, though they speak of the wheel's own RECORD.
const REWRITTEN: [&str; 2] = ["RECORD", "INSTALLER"];

type Placed<'a> = (Vec<Placement<'a>>, Vec<Placement<'a>>);

/// Where every member goes, and those that are not written. Where a script has the name of an entry point, pip and uv
/// write the entry point's.
fn place_all<'a>(
    members: BTreeMap<RelPath, &'a Entry>,
    dist_info: &str,
    scripts: &[(RelPath, Vec<u8>)],
    (filename, layout): (&WheelFilename, Layout),
) -> Result<Placed<'a>, UnpackError> {
    let stem = dist_info.strip_suffix(".dist-info").unwrap_or(dist_info);
    let entry_points: BTreeSet<&str> = scripts.iter().map(|(path, _)| path.as_str()).collect();
    let (mut placements, mut replaced) = (Vec::with_capacity(members.len()), Vec::new());
    for (source, entry) in members {
        let rest = source
            .as_str()
            .strip_prefix(dist_info)
            .and_then(|rest| rest.strip_prefix('/'));
        let rewritten = rest.is_some_and(|rest| REWRITTEN.contains(&rest));
        let (place, script) = place(source.as_str(), stem, (filename, layout))?;
        let path = RelPath::new(&place).map_err(UnpackError::Name)?;
        let list = if rewritten || (script && entry_points.contains(path.as_str())) {
            &mut replaced
        } else {
            &mut placements
        };
        list.push(Placement {
            entry,
            source,
            path,
            script,
        });
    }
    Ok((placements, replaced))
}

/// The place below the prefix, and whether it is a script.
fn place(
    source: &str,
    stem: &str,
    (filename, layout): (&WheelFilename, Layout),
) -> Result<(String, bool), UnpackError> {
    let site = layout.site_packages();
    let inside = source.strip_prefix(stem).and_then(|rest| rest.strip_prefix(".data/"));
    let Some(inside) = inside else {
        return Ok((format!("{site}/{source}"), false));
    };
    let (scheme, rest) = inside
        .split_once('/')
        .ok_or_else(|| UnpackError::Scheme(source.to_owned()))?;
    // What is safe below a folder of the archive may not be so on its own: `C:/x`.
    RelPath::new(rest).map_err(UnpackError::Name)?;
    match scheme {
        "purelib" | "platlib" => Ok((format!("{site}/{rest}"), false)),
        "data" => Ok((rest.to_owned(), false)),
        // Under the normalised name, as pip and uv have it, whatever the folders of the wheel are called.
        "headers" => Ok((
            format!("include/site/{}/{}/{rest}", layout.lib_folder(), filename.name),
            false,
        )),
        "scripts" => {
            entry_points::check_name(rest)?;
            Ok((format!("bin/{rest}"), true))
        }
        _ => Err(UnpackError::Scheme(source.to_owned())),
    }
}

impl<R> Plan<'_, R> {
    /// Leaves out what stands at other paths than those wanted: for mending a tree, most of which is intact.
    pub(crate) fn keep_only(&mut self, wanted: &dyn Fn(&RelPath) -> bool) {
        self.placements.retain(|placement| wanted(&placement.path));
        self.scripts.retain(|(path, _)| wanted(path));
    }

    /// Bytecode that a wheel brings along is checked and not written: the place is where ours goes.
    fn leave_out_bytecode(&mut self) {
        let is_bytecode = |placement: &mut Placement<'_>| is_bytecode_path(placement.path.as_str());
        self.replaced.extend(self.placements.extract_if(.., is_bytecode));
    }

    /// The bytes that unpacking will write.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.placements.iter().map(|placement| placement.entry.size).sum()
    }

    /// What is written by the plan: members and entry points.
    fn paths(&self) -> impl Iterator<Item = &str> {
        let scripts = self.scripts.iter().map(|(path, _)| path);
        let members = self.placements.iter().map(|placement| &placement.path);
        members.chain(scripts).map(RelPath::as_str)
    }

    /// The folders that are needed, outermost first.
    pub(super) fn folders(&self) -> BTreeSet<&str> {
        // The dist-info folder itself counts: RECORD is written into it later.
        let own = std::iter::once(self.dist_info.as_str());
        self.paths().flat_map(ancestors).chain(own).collect()
    }

    /// Places are decided, so what is one file is known: `.data/purelib/a` beside `a`, a script in the way of another,
    /// a file where a folder is needed, a second dist-info that was no member's top folder, a file of the environment.
    fn check_places(&self, reserved: fn(&str) -> bool) -> Result<(), UnpackError> {
        let mut files = BTreeSet::new();
        for path in self.paths() {
            if reserved(path) || reserved(&path.to_lowercase()) {
                return Err(UnpackError::Reserved(path.to_owned()));
            }
            if !files.insert(path) {
                return Err(UnpackError::Collision(path.to_owned()));
            }
        }
        let folders = self.folders();
        if folders.len() > limits::MEMBERS {
            return Err(UnpackError::Folders(folders.len()));
        }
        if let Some(both) = folders.iter().find(|folder| files.contains(**folder)) {
            return Err(UnpackError::Collision((*both).to_owned()));
        }
        for placement in &self.placements {
            self.check_dist_info(placement)?;
            check_bytecode_place(&placement.path, &files, &folders)?;
        }
        Ok(())
    }

    /// `.data` may lead into site-packages (of any Python: a tree serves several), but not to a dist-info: tools would
    /// see a package that nobody locked, or other metadata than was checked.
    fn check_dist_info(&self, placement: &Placement<'_>) -> Result<(), UnpackError> {
        let mut parts = placement.path.components();
        if parts.next() != Some("lib") || parts.nth(1) != Some("site-packages") {
            return Ok(());
        }
        let is_dist_info = parts
            .next()
            .is_some_and(|top| top.to_ascii_lowercase().ends_with(".dist-info"));
        let own = placement.source.components().next() == Some(self.dist_info.file_name());
        if is_dist_info && !own {
            return Err(UnpackError::Reserved(placement.source.to_string()));
        }
        Ok(())
    }
}

/// Bytecode goes to `__pycache__/<module>.<tag>.pyc` beside each module: no file may be the folder, no folder the file.
fn check_bytecode_place(path: &RelPath, files: &BTreeSet<&str>, folders: &BTreeSet<&str>) -> Result<(), UnpackError> {
    let Some((folder, _)) = path
        .as_str()
        .strip_suffix(".py")
        .and_then(|module| module.rsplit_once('/'))
    else {
        return Ok(());
    };
    let cache = format!("{folder}/__pycache__");
    if files.contains(cache.as_str()) {
        return Err(UnpackError::Collision(cache));
    }
    let inside = format!("{cache}/");
    let below = folders
        .range(inside.as_str()..)
        .take_while(|folder| folder.starts_with(&inside));
    match below.into_iter().find(|folder| folder.ends_with(".pyc")) {
        Some(folder) => Err(UnpackError::Collision((*folder).to_owned())),
        None => Ok(()),
    }
}

/// The folders above a path, outermost first.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at])
}
