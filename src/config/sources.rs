//! Settings that may stand in several places: which of them wins.

use std::path::{Path, PathBuf};

use url::Url;

use super::{ConfigError, Origin, Overrides, Sourced, Vars, appsettings};
use crate::backend::{Channel, Preference};
use crate::fsx::read_if_exists;
use crate::python::Request;

/// The path without `.` parts and trailing slashes; `..` stays, because what it means depends on symlinks.
pub(super) fn normal(path: &Path) -> PathBuf {
    path.components().collect()
}

pub(super) fn read_settings(path: &Path, must_exist: bool) -> Result<Option<Sourced<String>>, ConfigError> {
    Ok(appsettings::read(path, must_exist)?.map(|setting| Sourced {
        value: setting.value,
        origin: Origin::File(normal(path), setting.line.to_string()),
    }))
}

pub(super) fn preference(
    vars: &Vars,
    settings: Option<Sourced<String>>,
    ours: Option<(Preference, Origin)>,
) -> Result<Sourced<Preference>, ConfigError> {
    let variable = |name: &str, value: String| Sourced {
        value,
        origin: Origin::Variable(name.to_owned()),
    };
    let text = vars
        .text("FLAMBEAU_BACKEND")
        .map(|value| variable("FLAMBEAU_BACKEND", value))
        .or_else(|| {
            vars.find_text(appsettings::is_variable)
                .map(|(name, value)| variable(&name, value))
        })
        .or(settings);
    if let Some(Sourced { value, origin }) = text {
        return match value.parse() {
            Ok(value) => Ok(Sourced { value, origin }),
            Err(source) => Err(ConfigError::Backend { origin, source }),
        };
    }
    let (value, origin) = ours.unwrap_or((Preference::Auto, Origin::Default));
    Ok(Sourced { value, origin })
}

pub(super) fn channel(vars: &Vars, ours: Option<(Channel, Origin)>) -> Result<Option<Sourced<Channel>>, ConfigError> {
    if let Some(text) = vars.text("FLAMBEAU_CHANNEL") {
        let origin = Origin::Variable("FLAMBEAU_CHANNEL".to_owned());
        return match text.parse() {
            Ok(value) => Ok(Some(Sourced { value, origin })),
            Err(_) => Err(ConfigError::Value {
                origin,
                value: text,
                expected: "a channel such as `cu118`",
            }),
        };
    }
    Ok(ours.map(|(value, origin)| Sourced { value, origin }))
}

/// What is asked for, strongest first; a path is relative to where it was written.
pub(super) fn python(
    overrides: &Overrides,
    vars: &Vars,
    cwd: &Path,
    project: &Path,
    ours: Option<(String, Origin)>,
) -> Result<Option<Sourced<Request>>, ConfigError> {
    let pin = project.join(".python-version");
    let found = if let Some(text) = overrides.python.clone() {
        Some((text, Origin::Flag("--python"), cwd))
    } else if let Some((text, origin)) = ours {
        Some((text, origin, project))
    } else if let Some((line, text)) = read_pin(&pin)? {
        Some((text, Origin::File(pin, line.to_string()), project))
    } else {
        vars.text("UV_PYTHON")
            .map(|text| (text, Origin::Variable("UV_PYTHON".to_owned()), cwd))
    };
    let Some((text, origin, base)) = found else {
        return Ok(None);
    };
    match Request::parse(&vars.expand_home(Path::new(&text)).to_string_lossy(), base) {
        Ok(value) => Ok(Some(Sourced { value, origin })),
        Err(source) => Err(ConfigError::Python { origin, source }),
    }
}

/// What `[tool.flambeau] python` asks for, whatever else asks for a Python.
pub(super) fn project_python(
    project: &Path,
    ours: Option<String>,
    origin: &Origin,
) -> Result<Option<Request>, ConfigError> {
    ours.map(|text| Request::parse(&text, project))
        .transpose()
        .map_err(|source| ConfigError::Python {
            origin: origin.clone(),
            source,
        })
}

/// The first line of `.python-version` that says something, with its number.
fn read_pin(path: &Path) -> Result<Option<(usize, String)>, ConfigError> {
    let text = read_if_exists(path)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines = (1..).zip(text.lines().map(str::trim));
    Ok(lines
        .find(|(_, line)| !line.is_empty() && !line.starts_with('#') && *line != "system")
        .map(|(number, line)| (number, line.to_owned())))
}

/// `FLAMBEAU_MIN_FREE`.
pub(super) fn min_free(vars: &Vars) -> Result<Option<u64>, ConfigError> {
    const NAME: &str = "FLAMBEAU_MIN_FREE";
    let Some(value) = vars.text(NAME) else { return Ok(None) };
    match crate::amount::parse_size(&value) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(_) => Err(ConfigError::Value {
            origin: Origin::Variable(NAME.to_owned()),
            value,
            expected: "a size like `10GB`",
        }),
    }
}

/// The folders of `FLAMBEAU_STORE_DIRS`, separated by colons; none where it is unset. They replace the project's list.
pub(super) fn lower_stores(vars: &Vars, cwd: &Path) -> Option<Vec<PathBuf>> {
    let value = vars.os("FLAMBEAU_STORE_DIRS")?;
    let folders = std::env::split_paths(value).filter(|folder| !folder.as_os_str().is_empty());
    Some(
        folders
            .map(|folder| normal(&cwd.join(vars.expand_home(&folder))))
            .collect(),
    )
}

pub(super) fn mirror(vars: &Vars) -> Result<Option<String>, ConfigError> {
    const NAME: &str = "FLAMBEAU_PYTORCH_MIRROR";
    let Some(value) = vars.text(NAME) else { return Ok(None) };
    if Url::parse(&value).is_err() {
        let origin = Origin::Variable(NAME.to_owned());
        return Err(ConfigError::Value {
            origin,
            value,
            expected: "an absolute URL",
        });
    }
    Ok(Some(value.trim_end_matches('/').to_owned()))
}
