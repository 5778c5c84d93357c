//! File-system operations that must be atomic or exact, and nothing that knows what the files mean.
//!
//! Owns: atomic file replacement, the symlink flip, free-space figures, read-only trees. Everything that replaces
//! something another process may be reading goes through here: written beside its destination, then renamed (but for
//! [`write_over`], which says why).

use std::io::{self, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::AtFlags;
use rustix::io::Errno;

use crate::space;

/// A file-system operation that failed, with the path it was about.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct PathError {
    /// What was tried, as a verb phrase: `read`, `create the folder`.
    pub action: &'static str,
    /// The path it was tried on.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

/// The actions that change nothing: what they need is the right to read.
const READING: [&str; 9] = [
    "ask the free space of",
    "find",
    "find the overlay",
    "list",
    "look at",
    "make absolute",
    "open",
    "read",
    "read the symlink",
];

impl PathError {
    /// Whether it was tried to read, and not to write.
    #[must_use]
    pub fn is_reading(&self) -> bool {
        READING.contains(&self.action)
    }
}

/// Adds the path and the action to an I/O error; where something ran out, what it was, asked at this moment.
pub trait PathContext<T> {
    /// Names what was tried on which path.
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, PathError>;
}

impl<T> PathContext<T> for io::Result<T> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, PathError> {
        self.map_err(|source| PathError {
            action,
            source: space::told(source, path.as_ref()),
            path: path.as_ref().to_owned(),
        })
    }
}

impl<T> PathContext<T> for rustix::io::Result<T> {
    fn at(self, action: &'static str, path: impl AsRef<Path>) -> Result<T, PathError> {
        self.map_err(io::Error::from).at(action, path)
    }
}

/// Reads a text file; `None` where it does not exist. Any other error is an error: a file that cannot be read is not
/// an absent one.
pub fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, PathError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).at("read", path),
    }
}

/// Creates a folder and its parents.
pub fn create_dir_all(path: &Path) -> Result<(), PathError> {
    std::fs::create_dir_all(path).at("create the folder", path)
}

/// Group and others' right to write, and setgid: what a folder of a shared store or cache passes on to what is made in
/// it. A team's store is a folder of mode 2775; whoever works in it must not shut the others out by their umask.
fn shared_bits(folder: &Path) -> io::Result<u32> {
    Ok(std::fs::metadata(folder)?.permissions().mode() & 0o2022)
}

/// Gives a new folder the mode of those in a shared store or cache: readable by all who reach it, writable by those who
/// may write to its parent.
pub fn share_folder(folder: &Path) -> Result<(), PathError> {
    let parent = folder.parent().unwrap_or(Path::new("."));
    let bits = shared_bits(parent).at("look at", parent)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755 | bits)).at("set the mode of", folder)
}

/// Creates `path`, a folder below `root` or `root` itself, and its parents. A new root has the mode that the umask gives;
/// what is below it is readable by all who reach it, and writable by those who may write to the root.
pub fn create_shared_dir_all(root: &Path, path: &Path) -> Result<(), PathError> {
    if !root.is_dir() {
        create_dir_all(root)?;
    }
    let mut folder = root.to_owned();
    for part in path.strip_prefix(root).unwrap_or(Path::new("")).components() {
        folder.push(part);
        if !folder.is_dir() {
            create_shared_dir(&folder)?;
        }
    }
    Ok(())
}

/// Creates a folder that has its mode from the first moment: between `mkdir` and `chmod` others of the team would be
/// refused. One that somebody else makes meanwhile is as good.
fn create_shared_dir(folder: &Path) -> Result<(), PathError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let parent = folder.parent().unwrap_or(Path::new("."));
    if shared_bits(parent).at("look at", parent)? != 0 {
        let new = tempfile::Builder::new()
            .prefix(".new-")
            .tempdir_in(parent)
            .at("create a folder in", parent)?;
        share_folder(new.path())?;
        match renameat_with(CWD, new.path(), CWD, folder, RenameFlags::NOREPLACE) {
            Ok(()) => {
                let _renamed = new.keep();
                return Ok(());
            }
            Err(rustix::io::Errno::EXIST) => return Ok(()),
            // A file system that knows no such rename.
            Err(_) => {}
        }
    }
    match std::fs::create_dir(folder) {
        Ok(()) => share_folder(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error).at("create the folder", folder),
    }
}

/// As [`write_atomic`], for a file of a shared store or cache: whatever the umask, all may read it, and those may write
/// it who may write to its folder.
pub fn write_shared(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mode = 0o644 | (shared_bits(folder).at("look at", folder)? & 0o022);
    replace(
        path,
        bytes,
        How {
            sync: false,
            mode: Some(mode),
        },
    )
}

/// As [`write_shared`], and the content is on disk before the file is replaced.
pub fn write_shared_durable(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mode = Some(0o644 | (shared_bits(folder).at("look at", folder)? & 0o022));
    replace(path, bytes, How { sync: true, mode })
}

/// Opens a file on which processes of several users take locks, creating it where it is missing. Where it is another
/// user's it may be open for reading only, which is enough for a lock.
pub fn open_shared_lock(path: &Path) -> io::Result<std::fs::File> {
    let open = |options: &mut std::fs::OpenOptions| options.open(path);
    loop {
        // Without O_CREAT: in sticky folders the kernel refuses it for another user's file (fs.protected_regular).
        match open(std::fs::OpenOptions::new().read(true).append(true)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                return open(std::fs::OpenOptions::new().read(true));
            }
            other => return other,
        }
        match create_shared_lock(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map_err(|error| space::told(error, path)),
        }
    }
}

/// Makes the file of a lock, which nobody sees before it has the mode that lets everybody open it: with a umask of 077
/// another user's process would be refused for that moment.
fn create_shared_lock(path: &Path) -> io::Result<std::fs::File> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mode = 0o644 | (shared_bits(folder)? & 0o022);
    let file = tempfile::Builder::new()
        .prefix(".flambeau-")
        .append(true)
        .tempfile_in(folder)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    match file.persist_noclobber(path) {
        Ok(file) => Ok(file),
        Err(error) => Err(error.error),
    }
}

/// Replaces `path` by `bytes` in one step: readers see the old content or the new, never a part. The file's mode is
/// 0644 less the process's umask. After a power loss the file may be empty; see [`write_durable`].
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    replace(path, bytes, How::default())
}

/// As [`write_atomic`], and the content is on disk before the file is replaced: for what cannot be made again.
pub fn write_durable(path: &Path, bytes: &[u8]) -> Result<(), PathError> {
    replace(path, bytes, How { sync: true, mode: None })
}

/// Writes over the beginning of a file that is there, in place; false where it is not there, or is anything but a plain
/// file of this user under one name. For a few bytes of which nobody depends on the whole: a reader may see some of the
/// old ones beside the new. It spares the file system an inode to make and another to free, which takes longer than
/// all the rest of writing such a file.
pub fn write_over(path: &Path, bytes: &[u8]) -> Result<bool, PathError> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::open(path, flags, Mode::empty()) else {
        return Ok(false);
    };
    let file = std::fs::File::from(file);
    let meta = file.metadata().at("look at", path)?;
    if !meta.is_file() || meta.nlink() != 1 || meta.uid() != rustix::process::geteuid().as_raw() {
        return Ok(false);
    }
    file.write_all_at(bytes, 0).at("write", path)?;
    Ok(true)
}

/// How a file is replaced.
#[derive(Clone, Copy, Default)]
struct How {
    /// Whether its bytes reach the disk first.
    sync: bool,
    /// The mode, where the umask has no say in it.
    mode: Option<u32>,
}

fn replace(path: &Path, bytes: &[u8], how: How) -> Result<(), PathError> {
    let folder = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new()
        .prefix(".flambeau-")
        .permissions(std::fs::Permissions::from_mode(0o644))
        .tempfile_in(folder)
        .at("create a file in", folder)?;
    file.write_all(bytes).at("write", file.path())?;
    if let Some(mode) = how.mode {
        let mode = std::fs::Permissions::from_mode(mode);
        file.as_file()
            .set_permissions(mode)
            .at("set the mode of", file.path())?;
    }
    if how.sync {
        file.as_file().sync_data().at("sync", file.path())?;
    }
    file.persist(path).map_err(|error| error.error).at("replace", path)?;
    Ok(())
}

/// Points the symlink `link` at `target` in one step. An existing symlink is replaced by the rename, so a reader
/// never misses it; the caller decides beforehand whether what is there may be replaced.
pub fn flip_symlink(target: &Path, link: &Path) -> Result<(), PathError> {
    let folder = link
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."));
    for attempt in 0u32.. {
        let name = format!(".flambeau-link-{}-{attempt}", std::process::id());
        let temporary = folder.join(name);
        match symlink(target, &temporary) {
            Ok(()) => {
                return std::fs::rename(&temporary, link).at("replace", link).inspect_err(|_| {
                    // The rename failed, so the error above is what matters; a leftover link is only debris.
                    std::fs::remove_file(&temporary).ok();
                });
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => {}
            Err(error) => return Err(error).at("create a symlink in", folder),
        }
    }
    unreachable!("the loop returns before its counter ends")
}

/// The bytes that an unprivileged process may still write to the file system that holds `path`.
pub fn free_bytes(path: &Path) -> Result<u64, PathError> {
    let stat = rustix::fs::statvfs(path).at("ask the free space of", path)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The time of everything in the store: 1 January 1980, the first that ZIP archives can hold.
pub(crate) const EPOCH_1980: i64 = 315_532_800;

/// Creates a file of the store: it must not exist yet, and its mode is 0444 or 0555 whatever the umask.
pub fn create_store_file(path: &Path, executable: bool) -> Result<std::fs::File, PathError> {
    let mode = if executable { 0o555 } else { 0o444 };
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(path)
        .at("create", path)?;
    file.set_permissions(std::fs::Permissions::from_mode(mode))
        .at("set the mode of", path)?;
    Ok(file)
}

/// Sets the times of a file or folder to 1980; must come after its last change.
pub fn stamp(file: &impl std::os::fd::AsFd) -> io::Result<()> {
    let time = rustix::fs::Timespec {
        tv_sec: EPOCH_1980,
        tv_nsec: 0,
    };
    let times = rustix::fs::Timestamps {
        last_access: time,
        last_modification: time,
    };
    Ok(rustix::fs::futimens(file, &times)?)
}

/// Whether an error says that a file system has no `flock` (some network file systems do in one of these ways).
pub(crate) fn has_no_locks(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.kind() == io::ErrorKind::Unsupported
        || [Errno::NOSYS, Errno::OPNOTSUPP, Errno::NOLCK]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

/// The kernel's number of the file system that a path is on; none where that cannot be told.
#[must_use]
pub fn file_system(path: &Path) -> Option<u32> {
    #[cfg(target_os = "linux")]
    {
        // The kernel's magic numbers have 32 bits, whatever the type of the field.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "see above")]
        rustix::fs::statfs(path).ok().map(|stat| stat.f_type as u32)
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        None
    }
}

/// overlayfs, as [`file_system`] has it.
pub const OVERLAYFS: u32 = 0x794c_7630;

/// Whether other machines may have this file system mounted: whatever is not known to be this machine's own.
#[must_use]
pub fn may_be_shared(path: &Path) -> bool {
    // ext, XFS, btrfs, tmpfs, ramfs, ZFS, overlay, F2FS, bcachefs.
    const LOCAL: [u32; 9] = [
        0xef53,
        0x5846_5342,
        0x9123_683e,
        0x0102_1994,
        0x8584_58f6,
        0x2fc1_2fc1,
        OVERLAYFS,
        0xf2f5_2010,
        0xca45_1a4e,
    ];
    file_system(path).is_none_or(|kind| !LOCAL.contains(&kind))
}

/// Whether a hard link was refused in a way that another way to the same content mends: another file system, another
/// user's file under `fs.protected_hardlinks`, too many links, a file system without links.
#[must_use]
pub fn needs_another_way(error: Errno) -> bool {
    matches!(
        error,
        Errno::XDEV | Errno::PERM | Errno::ACCESS | Errno::MLINK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL
    )
}

/// Hard-links a file of the store; where that is refused it is reflinked or copied.
pub fn link_or_copy(source: &Path, target: &Path, executable: bool) -> Result<(), PathError> {
    match rustix::fs::linkat(rustix::fs::CWD, source, rustix::fs::CWD, target, AtFlags::empty()) {
        Ok(()) => Ok(()),
        Err(error) if needs_another_way(error) => {
            if reflink(source, target, executable)? {
                Ok(())
            } else {
                copy_store_file(source, target, executable)
            }
        }
        Err(error) => Err(error).at("link", target),
    }
}

/// Clones a file's blocks copy-on-write. Says whether the file system can; where not, nothing is left.
pub fn reflink(source: &Path, target: &Path, executable: bool) -> Result<bool, PathError> {
    #[cfg(target_os = "linux")]
    {
        let from = std::fs::File::open(source).at("open", source)?;
        let to = create_store_file(target, executable)?;
        if rustix::fs::ioctl_ficlone(&to, &from).is_ok() {
            return stamp(&to).at("set the time of", target).map(|()| true);
        }
        drop(to);
        std::fs::remove_file(target).at("remove", target)?;
    }
    let _ = executable;
    Ok(false)
}

/// Copies a file of the store with its mode and time.
pub fn copy_store_file(source: &Path, target: &Path, executable: bool) -> Result<(), PathError> {
    let mut from = std::fs::File::open(source).at("open", source)?;
    let mut to = create_store_file(target, executable)?;
    io::copy(&mut from, &mut to).at("write", target)?;
    stamp(&to).at("set the time of", target)
}

/// Removes a tree whose folders may be read-only, as everything in the store is.
pub fn remove_tree(path: &Path) -> Result<(), PathError> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).at("look at", path),
        Ok(meta) if !meta.is_dir() => return std::fs::remove_file(path).at("remove", path),
        Ok(_) => {}
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).at("make writable", path)?;
    for entry in std::fs::read_dir(path).at("list", path)? {
        let entry = entry.at("list", path)?;
        let kind = entry.file_type().at("look at", entry.path())?;
        if kind.is_dir() {
            remove_tree(&entry.path())?;
        } else {
            std::fs::remove_file(entry.path()).at("remove", entry.path())?;
        }
    }
    std::fs::remove_dir(path).at("remove", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flip_replaces_a_link_and_leaves_no_debris() {
        let folder = tempfile::tempdir().expect("a folder");
        let link = folder.path().join(".venv");
        flip_symlink(Path::new("one"), &link).expect("first");
        flip_symlink(Path::new("two"), &link).expect("second");
        assert_eq!(std::fs::read_link(&link).expect("a link"), Path::new("two"));
        assert_eq!(std::fs::read_dir(folder.path()).expect("a list").count(), 1);
    }

    #[test]
    fn only_a_plain_file_of_ones_own_under_one_name_is_written_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let [file, link, hard, absent] = ["file", "link", "hard", "absent"].map(|name| folder.path().join(name));
        std::fs::write(&file, "before, and more").expect("written");
        let text = || std::fs::read_to_string(&file).expect("readable");
        symlink(&file, &link).expect("linked");
        for (path, wrong) in [
            (&link, "a symlink"),
            (&absent, "nothing"),
            (&folder.path().to_owned(), "a folder"),
        ] {
            assert!(!write_over(path, b"x").expect("looked at"), "{wrong}");
        }
        assert!(write_over(&file, b"after!").expect("written"));
        assert_eq!(text(), "after!, and more");
        std::fs::hard_link(&file, &hard).expect("linked");
        assert!(!write_over(&file, b"x").expect("looked at"), "it has another name");
        assert_eq!((text().as_str(), absent.exists()), ("after!, and more", false));
    }

    /// A new action has to be sorted into one of the two, since hints depend on it.
    #[test]
    fn every_action_is_known_to_read_or_to_write() {
        const WRITING: [&str; 34] = [
            "cache",
            "compress",
            "create",
            "create a file in",
            "create a folder in",
            "create a symlink in",
            "create the folder",
            "create the symlink",
            "empty",
            "keep a file in",
            "link",
            "lock",
            "make read-only",
            "make writable",
            "move a file to",
            "move a part to",
            "move a wheel to",
            "move aside",
            "move aside to",
            "open for writing",
            "publish",
            "remove",
            "replace",
            "run",
            "set the mode of",
            "set the time of",
            "shorten",
            "sync",
            "sync the file system of",
            "take away",
            "take the guard",
            "write",
            "write to",
            "write to the folder",
        ];
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut folders = vec![root];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).expect("a list") {
                let path = entry.expect("an entry").path();
                let name = path.file_name().expect("a name").to_string_lossy().into_owned();
                if path.is_dir() {
                    folders.push(path);
                } else if name.ends_with(".rs") && !name.contains("test") {
                    let text = std::fs::read_to_string(&path).expect("source");
                    let text = text.split("#[cfg(test)]").next().expect("a part");
                    let found = [".at(\"", "action: \""]
                        .iter()
                        .flat_map(|start| text.split(start).skip(1));
                    // `.at("…", path)` alone is about a path.
                    let actions = found
                        .filter_map(|rest| rest.split_once("\","))
                        .map(|(action, _)| action);
                    for action in actions.filter(|action| !action.contains(['"', '\n', '('])) {
                        let known = READING.contains(&action) || WRITING.contains(&action);
                        assert!(known, "{}: {action}", path.display());
                    }
                }
            }
        }
    }

    #[test]
    fn atomic_write_replaces_and_names_the_folder_on_failure() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.json");
        write_atomic(&path, b"1").expect("first");
        write_atomic(&path, b"22").expect("second");
        assert_eq!(read_if_exists(&path).expect("readable").as_deref(), Some(&b"22"[..]));
        assert_eq!(read_if_exists(&folder.path().join("b")).expect("absent"), None);
        let error = write_atomic(&folder.path().join("none/a"), b"").expect_err("no folder");
        assert!(error.to_string().ends_with("/none"), "{error}");
    }

    #[test]
    fn f06_what_refuses_a_hard_link() {
        use rustix::io::Errno;
        for errno in [
            Errno::XDEV,
            Errno::PERM,
            Errno::ACCESS,
            Errno::MLINK,
            Errno::OPNOTSUPP,
            Errno::NOSYS,
        ] {
            assert!(needs_another_way(errno), "{errno}");
        }
        for errno in [
            Errno::NOSPC,
            Errno::DQUOT,
            Errno::IO,
            Errno::ROFS,
            Errno::NOENT,
            Errno::MFILE,
        ] {
            assert!(!needs_another_way(errno), "{errno}");
        }
    }

    #[test]
    fn a_shared_folder_passes_its_rights_on() {
        let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o7777;
        let folder = tempfile::tempdir().expect("a folder");
        for (of_root, of_folder, of_file) in [(0o2775, 0o2775, 0o664), (0o755, 0o755, 0o644), (0o700, 0o755, 0o644)] {
            let root = folder.path().join(format!("{of_root:o}"));
            std::fs::create_dir(&root).expect("a folder");
            std::fs::set_permissions(&root, std::fs::Permissions::from_mode(of_root)).expect("ours");
            create_shared_dir_all(&root, &root.join("a/b")).expect("made");
            create_shared_dir_all(&root, &root.join("a/b")).expect("made again");
            write_shared(&root.join("a/b/file"), b"x").expect("written");
            drop(open_shared_lock(&root.join("a/lock")).expect("opened"));
            drop(open_shared_lock(&root.join("a/lock")).expect("opened again"));
            assert_eq!((mode(&root.join("a")), mode(&root.join("a/b"))), (of_folder, of_folder));
            assert_eq!(
                (mode(&root.join("a/b/file")), mode(&root.join("a/lock"))),
                (of_file, of_file)
            );
        }
    }

    #[test]
    fn read_only_trees_can_be_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let tree = folder.path().join("tree");
        std::fs::create_dir_all(tree.join("a/b")).expect("folders");
        std::fs::write(tree.join("a/b/c"), b"x").expect("a file");
        for path in ["a/b", "a", ""] {
            std::fs::set_permissions(tree.join(path), std::fs::Permissions::from_mode(0o555)).expect("read-only");
        }
        remove_tree(&tree).expect("removed");
        assert!(!tree.exists());
        remove_tree(&tree).expect("absent is fine");
    }
}
