//! PEP 751 lockfiles of other tools, reduced to one target as the standard's installation steps have it.
//!
//! What a marker leaves out is not looked at any further: a file may hold source code for other environments.

use super::super::raw::{RawLockfile, RawPackage, RawWheel};
use super::super::read::{identify, last, optional, value};
use super::super::read_error::Place;
use super::{Asked, Files, ForeignError, Locals, Pinned, SourceForm, unknown};
use crate::lockfile::text::ParseError;
use crate::pep::{GroupName, MarkerEnvironment, MarkerTree, PackageName, Version, VersionSpecifiers};
use crate::python::allows;

pub(super) fn requires_python(raw: &RawLockfile) -> Result<Option<VersionSpecifiers>, ForeignError> {
    Ok(optional(
        raw.requires_python.as_deref(),
        || Place::Top,
        "requires-python",
    )?)
}

pub(super) fn pins(raw: &RawLockfile, asked: &Asked<'_>, locals: &Locals) -> Result<Vec<Pinned>, ForeignError> {
    unknown((asked.extras, asked.groups), &raw.extras, &raw.dependency_groups)?;
    let mut groups = raw
        .default_groups
        .iter()
        .map(|group| value::<GroupName>(group, || Place::Top, "default-groups"))
        .collect::<Result<Vec<_>, ParseError>>()?;
    groups.extend(asked.groups.iter().cloned());
    let environment = asked.target.markers(asked.python);
    let holds = |marker: MarkerTree| marker.evaluate_pep751(&environment, asked.extras, &groups);
    check_environments(raw, asked, &environment)?;
    let mut pins = Vec::new();
    for package in &raw.packages {
        let place = || Place::Package(package.name.clone());
        let marker: Option<MarkerTree> = optional(package.marker.as_deref(), place, "marker")?;
        if marker.is_some_and(|marker| !holds(marker)) {
            continue;
        }
        let wanted: Option<VersionSpecifiers> = optional(package.requires_python.as_deref(), place, "requires-python")?;
        let name: PackageName = value(&package.name, place, "name")?;
        if let Some(wanted) = wanted.filter(|wanted| !allows(wanted, asked.python)) {
            return Err(ForeignError::RequiresPython {
                package: Some(name),
                wanted,
                python: asked.python.clone(),
            });
        }
        pins.push(pinned(package, name, locals)?);
    }
    Ok(pins)
}

fn check_environments(
    raw: &RawLockfile,
    asked: &Asked<'_>,
    environment: &MarkerEnvironment,
) -> Result<(), ForeignError> {
    let markers = raw
        .environments
        .iter()
        .map(|marker| value::<MarkerTree>(marker, || Place::Top, "environments"))
        .collect::<Result<Vec<_>, ParseError>>()?;
    if markers.is_empty() || markers.iter().any(|marker| marker.evaluate(environment, &[])) {
        return Ok(());
    }
    Err(ForeignError::Environment {
        target: *asked.target,
        python: asked.python.clone(),
        environments: raw.environments.clone(),
    })
}

fn pinned(raw: &RawPackage, name: PackageName, locals: &Locals) -> Result<Pinned, ForeignError> {
    let place = || Place::Package(raw.name.clone());
    let version: Option<Version> = optional(raw.version.as_deref(), place, "version")?;
    // An archive may be a wheel: that is how pip and uv pin a direct URL.
    let archived: Vec<&RawWheel> = raw.archive.iter().filter(|archive| is_wheel(archive)).collect();
    let listed: Vec<&RawWheel> = match &raw.wheels {
        Some(wheels) if !wheels.is_empty() => wheels.iter().collect(),
        _ => archived,
    };
    let mut known = version.clone();
    let mut wheels = Vec::with_capacity(listed.len());
    for (position, wheel) in listed.into_iter().enumerate() {
        let identity = identify(wheel, position, &name, known.as_ref())?;
        // Where the package states no version, its first wheel does.
        known = known.or_else(|| Some(identity.filename.version.clone()));
        let places = (wheel.url.as_deref(), wheel.path.as_deref());
        wheels.push(locals.wheel(&name, identity, places, wheel.size)?);
    }
    wheels.sort_by(|left, right| left.file.cmp(&right.file));
    let Some(version) = known.filter(|_| !wheels.is_empty()) else {
        return Err(ForeignError::NotWheels {
            name: name.to_string(),
            version: version.map(|version| version.to_string()),
            source_form: form(raw),
        });
    };
    let files = Files::Wheels(wheels);
    Ok(Pinned { name, version, files })
}

fn is_wheel(archive: &RawWheel) -> bool {
    let place = archive.url.as_deref().or(archive.path.as_deref()).unwrap_or_default();
    let file = last(place.split(['?', '#']).next().unwrap_or(place));
    file.ends_with(".whl")
}

fn form(raw: &RawPackage) -> SourceForm {
    if let Some(repository) = &raw.vcs {
        let place = repository.url.as_deref().or(repository.path.as_deref()).unwrap_or(".");
        let revision = repository.requested_revision.as_ref().unwrap_or(&repository.commit_id);
        SourceForm::Repository(format!("{place}@{revision}"))
    } else if let Some(folder) = &raw.directory {
        SourceForm::Folder(folder.path.clone())
    } else if let Some(archive) = &raw.archive {
        let place = archive.url.as_deref().or(archive.path.as_deref());
        SourceForm::Archive(place.unwrap_or("an unnamed file").to_owned())
    } else {
        SourceForm::Sdist
    }
}
