//! What goes into a bundle: lockfiles, keys, wheels or trees, pages.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Error;
use crate::backend::is_family;
use crate::bundle::pages::{PageWheel, pages};
use crate::bundle::{BundledEnvironment, Content, EPOCH, FileEntry, FileKind, Item, Options, Output, Written, write};
use crate::digest::{FileDigest, WheelDigest};
use crate::document::DocumentError;
use crate::env::bytecode::{Modules, bytecode_name};
use crate::env::tree::{TreeError, tree_name};
use crate::fsx::{self, PathContext as _};
use crate::index::read_metadata;
use crate::key;
use crate::lockfile::keys::Keys;
use crate::lockfile::{LockedWheel, Selected};
use crate::profile::{Cause, Choice};
use crate::project::Project;
use crate::project::choice::Chosen;
use crate::project::lockfiles::{LockfileError, ReadLockfile, described};
use crate::project::plan::target_for;
use crate::project::realise::wheel_id;
use crate::python::{self, Interpreter};
use crate::relpath::RelPath;
use crate::store::Shelf;
use crate::target::Target;
use crate::wheel::archive::LocalFile;
use crate::wheel::manifest::FileRow;
use crate::wheel::metadata;

/// What to put into a bundle beside lockfiles and keys.
#[derive(Debug, Clone, Default)]
pub struct ExportOptions {
    /// Wheel trees in place of wheels.
    pub trees: bool,
    /// Pages of a package index.
    pub simple_index: bool,
    /// The program at this path.
    pub program: Option<PathBuf>,
    /// The time of the files.
    pub time: Option<u64>,
}

/// The wheels of a bundle, each once.
type Wheels<'a> = BTreeMap<(String, WheelDigest), (Selected<'a>, BTreeSet<String>)>;

impl Project<'_> {
    /// Writes a bundle of some targets of some lockfiles.
    pub fn export_bundle(
        &self,
        jobs: &[(ReadLockfile, Vec<Target>)],
        output: &Output,
        options: &ExportOptions,
    ) -> Result<(Written, Vec<BundledEnvironment>), Error> {
        let (environments, mut items) = documents(jobs)?;
        if let Some(program) = &options.program {
            items.push(program_item(program)?);
        }
        if options.trees {
            let mut seen = BTreeSet::new();
            for (read, targets) in jobs {
                for target in targets {
                    self.tree_items(read, *target, &mut seen, &mut items)?;
                }
            }
        } else {
            for (read, targets) in jobs {
                self.fetch(read, targets, false)?;
            }
            let wheels = wheels_of(jobs)?;
            let (rows, shown) = self.wheel_items(&wheels, options.simple_index)?;
            items.extend(rows);
            if options.simple_index {
                items.extend(pages(&shown)?);
            }
        }
        let written = Options {
            time: options.time.unwrap_or(EPOCH),
        };
        let written = write(output, environments.clone(), &items, written, self.reporter)?;
        Ok((written, environments))
    }

    /// The wheels as rows, and as pages show them where pages are wanted.
    fn wheel_items(&self, wheels: &Wheels<'_>, paged: bool) -> Result<(Vec<Item>, Vec<PageWheel>), Error> {
        let cache = self.cache()?;
        let (mut items, mut shown) = (Vec::new(), Vec::new());
        let mut names = BTreeSet::new();
        for ((file, digest), (selected, channels)) in wheels {
            let source = cache.wheel_path(digest, file);
            let size = source.metadata().at("look at", &source)?.len();
            // Two channels may have different wheels of one name; the folder has room for one.
            let path = if names.insert(file) {
                RelPath::new(file)?
            } else {
                RelPath::new(&format!("same-name/{digest}/{file}"))?
            };
            if paged {
                let metadata = metadata_of(&source, selected.wheel)?;
                let parsed = metadata::parse(&metadata, file, &selected.wheel.filename);
                let parsed = parsed.map_err(|source| Error::Metadata {
                    file: file.clone(),
                    source,
                })?;
                shown.push(PageWheel {
                    name: selected.package.name.to_string(),
                    version: selected.package.version.to_string(),
                    path: path.clone(),
                    digest: *digest,
                    size,
                    requires_python: parsed.requires_python.map(|python| python.to_string()),
                    metadata,
                    channels: channels.clone(),
                });
            }
            items.push(Item {
                entry: FileEntry {
                    kind: FileKind::Wheel,
                    path,
                    size,
                    sha256: FileDigest::from_bytes(*digest.as_bytes()),
                },
                listed: true,
                executable: false,
                content: Content::File(source),
            });
        }
        Ok((items, shown))
    }

    /// The trees of one target, which are made where they are not there yet. Only a Python of the target's version
    /// compiles their bytecode.
    fn tree_items(
        &self,
        read: &ReadLockfile,
        target: Target,
        seen: &mut BTreeSet<String>,
        items: &mut Vec<Item>,
    ) -> Result<(), Error> {
        let fits = |interpreter: &Interpreter| {
            target_for(&read.lockfile, interpreter).is_ok_and(|locked| locked.target == target)
        };
        let interpreter = self.python_for(target, &fits)?;
        let chosen = Chosen {
            channel: read.lockfile.channel.clone(),
            choice: Choice {
                explicit: None,
                configured: self.configured(),
                held: None,
            },
            cause: Cause::Flag,
            decision: None,
        };
        let mut plan = self.finish_plan(chosen, read.clone(), interpreter)?;
        // Whoever takes trees in may have no Python to compile them with.
        plan.modules = plan.modules.max(Modules::Imported);
        // Whoever takes trees in has packages of its own, or none.
        let mut config = self.config.clone();
        config.editable.clear();
        let bare = Project {
            config: &config,
            ..*self
        };
        // The claim keeps the environment, and so its trees, until they are listed.
        let realised = bare.realise(&plan)?;
        let store = self.store()?;
        for selected in plan.selected()? {
            let name = tree_name(&wheel_id(&selected), &plan.python());
            if !seen.insert(name.clone()) {
                continue;
            }
            let layer = store.layers().find(|layer| layer.has(Shelf::Wheels, &name));
            let layer = layer.ok_or_else(|| Error::NoTree(name.clone()))?;
            items.extend(object_rows(FileKind::Tree, &layer.path(Shelf::Wheels, &name), &name)?);
            let bytecode = bytecode_name(&name);
            if let Some(layer) = store.layers().find(|layer| layer.has(Shelf::Bytecode, bytecode)) {
                let folder = layer.path(Shelf::Bytecode, bytecode);
                items.extend(object_rows(FileKind::Bytecode, &folder, bytecode)?);
            }
        }
        drop(realised);
        // By kind; what belongs together stays together.
        items.sort_by_key(|item| item.entry.kind);
        Ok(())
    }

    /// The Python that is asked for, where it is one for this target, else one of the target's version.
    fn python_for(&self, target: Target, fits: &dyn Fn(&Interpreter) -> bool) -> Result<Interpreter, Error> {
        let named = self
            .finder()
            .find(self.request(), fits)
            .ok()
            .filter(|found| fits(found));
        if let Some(interpreter) = named {
            return Ok(interpreter);
        }
        let version = python::Request::parse(&target.python.to_string(), &self.config.project).ok();
        match self.finder().find(version.as_ref(), fits) {
            Ok(interpreter) if fits(&interpreter) => Ok(interpreter),
            Ok(_) => Err(Error::NoPython { target, source: None }),
            Err(error) => Err(Error::NoPython {
                target,
                source: Some(error),
            }),
        }
    }
}

/// The lockfiles and keys of a bundle, and its environments.
fn documents(jobs: &[(ReadLockfile, Vec<Target>)]) -> Result<(Vec<BundledEnvironment>, Vec<Item>), Error> {
    let (mut environments, mut items, mut keys) = (Vec::new(), BTreeMap::new(), Keys::default());
    for (read, targets) in jobs {
        let name = read.lockfile.channel.lockfile_name();
        let text = fsx::read_if_exists(&read.path)?.unwrap_or_else(|| read.lockfile.to_text().into_bytes());
        let path = RelPath::new(&format!("lockfiles/pylock.{name}.toml"))?;
        items.insert(name.clone(), Item::of_bytes(FileKind::Lockfile, path, text));
        let (found, inputs) = described(read)?;
        keys.set(&name, found);
        keys.describe(&name, &inputs);
        for target in targets {
            let select = |source| LockfileError::Select {
                path: read.path.clone(),
                source,
            };
            environments.push(BundledEnvironment {
                lockfile: name.clone(),
                channel: read.lockfile.channel.clone(),
                backend: read.lockfile.locked_target(target).map_err(select)?.backend,
                target: *target,
                key: key::environment_key(&read.lockfile, target).map_err(select)?,
            });
        }
    }
    environments.sort_by(|one, other| (&one.lockfile, one.target).cmp(&(&other.lockfile, other.target)));
    environments.dedup();
    let mut items: Vec<Item> = items.into_values().collect();
    let path = RelPath::new("lockfiles/keys.json")?;
    items.push(Item::of_bytes(FileKind::Keys, path, keys.to_text().into_bytes()));
    Ok((environments, items))
}

fn wheels_of(jobs: &[(ReadLockfile, Vec<Target>)]) -> Result<Wheels<'_>, Error> {
    let mut wheels: Wheels<'_> = BTreeMap::new();
    for (read, targets) in jobs {
        for target in targets {
            let selected = read.lockfile.select(target).map_err(|source| LockfileError::Select {
                path: read.path.clone(),
                source,
            })?;
            for one in selected {
                let name = (one.wheel.file.clone(), one.wheel.digest);
                let (_, channels) = wheels.entry(name).or_insert_with(|| (one, BTreeSet::new()));
                let channel = &read.lockfile.channel;
                if is_family(&one.package.name) && !channel.is_pip() {
                    channels.insert(channel.to_string());
                }
            }
        }
    }
    Ok(wheels)
}

fn program_item(program: &Path) -> Result<Item, Error> {
    let bytes = std::fs::read(program).at("read", program)?;
    let mut item = Item::of_bytes(FileKind::Program, RelPath::new("bin/flambeau")?, bytes);
    item.executable = true;
    Ok(item)
}

/// The rows of a tree, or of its bytecode, in its folder.
fn object_rows(kind: FileKind, folder: &Path, name: &str) -> Result<Vec<Item>, Error> {
    /// What both manifests have.
    #[derive(serde::Deserialize)]
    struct Files {
        files: Vec<FileRow>,
    }
    let (prefix, documents): (&str, &[&str]) = match kind {
        FileKind::Bytecode => ("bytecode", &["manifest.json"]),
        _ => ("trees", &["manifest.json", "facts.json"]),
    };
    let mut items = Vec::new();
    let mut files: Option<Files> = None;
    for document in documents {
        let path = folder.join(document);
        let bytes = std::fs::read(&path).at("read", &path)?;
        if files.is_none() {
            files = serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(|error| TreeError::Document {
                    path,
                    source: DocumentError::json(&bytes, &error),
                })?;
        }
        let path = RelPath::new(&format!("{prefix}/{name}/{document}"))?;
        items.push(Item::of_bytes(kind, path, bytes));
    }
    for row in files.into_iter().flat_map(|read| read.files) {
        items.push(Item {
            entry: FileEntry {
                kind,
                path: RelPath::new(&format!("{prefix}/{name}/root/{}", row.path))?,
                size: row.size,
                sha256: row.digest,
            },
            listed: false,
            executable: row.executable,
            content: Content::File(folder.join("root").join(&row.path)),
        });
    }
    Ok(items)
}

fn metadata_of(path: &Path, wheel: &LockedWheel) -> Result<Vec<u8>, Error> {
    let file = std::fs::File::open(path).and_then(LocalFile::new).at("open", path)?;
    read_metadata(&file, &wheel.filename).map_err(|source| Error::Archive {
        file: wheel.file.clone(),
        source,
    })
}
