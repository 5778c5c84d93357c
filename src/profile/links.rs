//! What stands where flambeau wants its links, and what may be done about it.
//!
//! Refuses: replacing a `.venv` or `environment_state.json` that is not flambeau's; it is moved aside at most.

use std::io;
use std::path::{Path, PathBuf};

use super::{Profile, ProfileError};
use crate::env::state;
use crate::fsx::{PathContext as _, PathError};
use crate::store::Shelf;

/// What is at a place that flambeau wants to link.
pub(super) enum Occupant {
    Nothing,
    Ours(PathBuf),
    Foreign(&'static str),
}

impl Profile {
    /// The link that flips.
    #[must_use]
    pub fn link(&self) -> PathBuf {
        self.project.join(".venv")
    }

    pub(super) fn state_link(&self) -> PathBuf {
        self.project.join(state::FILE_NAME)
    }

    /// Where `.venv` leads, if it is a link of flambeau's (or nothing at all).
    pub fn active_path(&self) -> Result<Option<PathBuf>, ProfileError> {
        match occupant_of_venv(&self.link())? {
            Occupant::Nothing | Occupant::Foreign(_) => Ok(None),
            Occupant::Ours(target) => Ok(Some(target)),
        }
    }

    /// Refuses, before any work is done, what activation would refuse at the end.
    pub fn check_links(&self) -> Result<(), ProfileError> {
        for (path, occupant) in self.occupants()? {
            if let Occupant::Foreign(what) = occupant {
                return Err(ProfileError::InTheWay { path, what });
            }
        }
        Ok(())
    }

    /// Refuses, before any work is done, a project in which no link can be written.
    pub fn check_writable(&self) -> Result<(), ProfileError> {
        use rustix::fs::{Access, access};
        Ok(access(&self.project, Access::WRITE_OK | Access::EXEC_OK).at("write to the folder", &self.project)?)
    }

    fn occupants(&self) -> Result<[(PathBuf, Occupant); 2], ProfileError> {
        Ok([
            (self.link(), occupant_of_venv(&self.link())?),
            (self.state_link(), occupant_of_state(&self.state_link())?),
        ])
    }

    /// Moves somebody else's `.venv` and state file aside, to the same name with `.aside-<n>`.
    pub fn move_aside(&self) -> Result<Vec<PathBuf>, ProfileError> {
        let mut moved = Vec::new();
        for (path, occupant) in self.occupants()? {
            if matches!(occupant, Occupant::Foreign(_)) {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let free = (1u32..).map(|n| path.with_file_name(format!("{name}.aside-{n}")));
                let target = free
                    .into_iter()
                    .find(|target| std::fs::symlink_metadata(target).is_err());
                let target = target.unwrap_or_else(|| path.with_file_name(format!("{name}.aside")));
                std::fs::rename(&path, &target).at("move aside", &path)?;
                moved.push(target);
            }
        }
        Ok(moved)
    }
}

pub(super) fn occupant_of_venv(link: &Path) -> Result<Occupant, PathError> {
    let meta = match std::fs::symlink_metadata(link) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nothing),
        Err(error) => return Err(error).at("look at", link),
    };
    if meta.is_dir() {
        return Ok(Occupant::Foreign("a folder"));
    }
    if !meta.is_symlink() {
        return Ok(Occupant::Foreign("a file"));
    }
    let target = std::fs::read_link(link).at("read the symlink", link)?;
    // A link of ours leads to `<store>/envs/<40 hex digits>-…`, also where that environment is gone by now.
    let named = target.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
        name.split_once('-')
            .is_some_and(|(key, _)| key.len() == 40 && key.bytes().all(|byte| byte.is_ascii_hexdigit()))
    });
    let shelved = target
        .parent()
        .and_then(Path::file_name)
        .is_some_and(|folder| folder == Shelf::Envs.folder());
    Ok(if named && shelved {
        Occupant::Ours(target)
    } else {
        Occupant::Foreign("a symlink to somewhere else")
    })
}

pub(super) fn occupant_of_state(link: &Path) -> Result<Occupant, PathError> {
    match std::fs::symlink_metadata(link) {
        Ok(meta) if meta.is_symlink() => {
            let target = std::fs::read_link(link).at("read the symlink", link)?;
            let ours = target == Path::new(".venv").join(state::FILE_NAME);
            Ok(if ours {
                Occupant::Ours(target)
            } else {
                Occupant::Foreign("a symlink to somewhere else")
            })
        }
        Ok(_) => Ok(Occupant::Foreign("a file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Occupant::Nothing),
        Err(error) => Err(error).at("look at", link),
    }
}
