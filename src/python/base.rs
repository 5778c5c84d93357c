//! From a virtual environment's Python to the interpreter that it was made from.
//!
//! A Python below 3.11 does not know this about itself when asked without `site`, so `pyvenv.cfg` is read here, which
//! also saves starting it. Links are followed one by one, because a `pyvenv.cfg` counts beside any of them.

use std::io;
use std::path::{Path, PathBuf};

/// More links or environments than this in a row are a circle.
const HOPS: usize = 40;

/// The first executable on the way from `path` that belongs to no virtual environment.
pub(super) fn resolve(path: &Path) -> io::Result<PathBuf> {
    let mut current = path.to_owned();
    for _ in 0..HOPS {
        if let Some(next) = through_venv(&current) {
            current = next;
            continue;
        }
        match leaves_for_venv(&current)? {
            Some(next) => current = next,
            None => return Ok(current),
        }
    }
    Err(io::Error::other(format!("{} goes round in a circle", path.display())))
}

/// The base executable, where `path` lies in a virtual environment.
fn through_venv(path: &Path) -> Option<PathBuf> {
    let folder = path.parent()?;
    let config = [Some(folder), folder.parent()]
        .into_iter()
        .flatten()
        .find_map(|folder| std::fs::read_to_string(folder.join("pyvenv.cfg")).ok())?;
    let value = |key: &str| {
        config.lines().find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case(key).then(|| value.trim().to_owned())
        })
    };
    let home = PathBuf::from(value("home")?);
    // `version` is what venv writes, `version_info` what virtualenv and uv write.
    let version = value("version").or_else(|| value("version_info")).unwrap_or_default();
    let minor: Vec<&str> = version.split('.').take(2).collect();
    let names = [
        format!("python{}", minor.join(".")),
        "python3".to_owned(),
        "python".to_owned(),
    ];
    names
        .iter()
        .map(|name| home.join(name))
        .find(|candidate| candidate.is_file() && candidate != path)
        // An environment whose base is gone is reported as that base, not as the environment.
        .or_else(|| Some(home.join(&names[1])).filter(|candidate| candidate != path))
}

/// The next link target, where following `path` leads into a virtual environment; the path itself stays preferred
/// otherwise, since `/usr/bin/python3` outlives `/usr/bin/python3.11`.
fn leaves_for_venv(path: &Path) -> io::Result<Option<PathBuf>> {
    let mut current = path.to_owned();
    for _ in 0..HOPS {
        let Ok(target) = std::fs::read_link(&current) else {
            // Not a link: the end of the way. Whether it exists is the caller's question.
            return Ok(None);
        };
        current = match current.parent() {
            Some(folder) => folder.join(target),
            None => target,
        };
        if through_venv(&current).is_some() {
            return Ok(Some(current));
        }
    }
    Err(io::Error::other(format!("{} is a circle of links", path.display())))
}
