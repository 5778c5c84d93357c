//! The import roots of a project: the folders that its packages are found in.
//!
//! Explicit settings of setuptools, hatch, poetry, pdm and uv come first, where a folder on the path expresses them;
//! else a `src` folder that has the package, else the project's folder. What a path cannot express is told.

use std::path::{Component, Path, PathBuf};

use toml::{Table, Value};

use super::manifest::Manifest;

/// Where a project's packages are.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Roots {
    /// The folders, in order, absolute.
    pub(super) folders: Vec<PathBuf>,
    /// Settings that no folder on the path expresses.
    pub(super) lost: Vec<String>,
}

/// The roots of the project in `folder`, whose package imports as `module` where its name says so.
pub(super) fn roots(folder: &Path, manifest: &Manifest, module: Option<&str>) -> Roots {
    let backend = manifest.backend();
    let mut roots = Roots::default();
    let mut found = Found {
        folder,
        roots: &mut roots,
    };
    match backend {
        _ if backend.starts_with("setuptools") => found.setuptools(manifest),
        _ if backend.starts_with("hatchling") => found.hatch(manifest),
        _ if backend.starts_with("poetry") => found.poetry(manifest),
        _ if backend.starts_with("pdm") => found.text(manifest, &["pdm", "build", "package-dir"]),
        _ if backend.starts_with("uv_build") => found.text(manifest, &["uv", "build-backend", "module-root"]),
        _ => {}
    }
    if roots.folders.is_empty() {
        roots.folders = usual(folder, module);
    }
    roots
}

/// What build backends do where nothing is said.
fn usual(folder: &Path, module: Option<&str>) -> Vec<PathBuf> {
    let source = folder.join("src");
    let has_source = source.is_dir() && !source.join("__init__.py").exists();
    let has = |root: &Path| {
        module.is_some_and(|module| root.join(module).is_dir() || root.join(format!("{module}.py")).is_file())
    };
    match (has_source, module) {
        (true, _) if has(&source) => vec![source],
        (true, _) if has(folder) => vec![folder.to_owned()],
        // It may be either: a package of another name, or `src` for what is not Python.
        (true, _) => vec![source, folder.to_owned()],
        (false, _) => vec![folder.to_owned()],
    }
}

struct Found<'a> {
    folder: &'a Path,
    roots: &'a mut Roots,
}

fn texts(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::String(text)) => vec![text],
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

impl Found<'_> {
    /// Takes a folder of the project; one outside is told.
    fn take(&mut self, relative: &str, setting: &str) {
        let mut path = self.folder.to_owned();
        for component in Path::new(relative).components() {
            match component {
                Component::CurDir => {}
                Component::Normal(part) if !relative.chars().any(char::is_control) => path.push(part),
                _ => {
                    let shown = relative.escape_debug();
                    self.lost
                        .push(format!("`{setting}` (`{shown}` is outside the project)"));
                    return;
                }
            }
        }
        if !self.folders.contains(&path) {
            self.folders.push(path);
        }
    }

    /// Takes the folder that makes what lies at `place` importable as `name`; both with `/`.
    fn mapped(&mut self, name: &str, place: &str, setting: &str) {
        let place = place.trim_start_matches("./").trim_end_matches('/');
        let name = name.trim_end_matches('/');
        match place.strip_suffix(name) {
            Some(root) if name.is_empty() || root.is_empty() || root.ends_with('/') => {
                self.take(root.trim_end_matches('/'), setting);
            }
            _ => {
                let (name, place) = (name.escape_debug(), place.escape_debug());
                self.lost.push(format!("`{setting}` (`{place}` imported as `{name}`)"));
            }
        }
    }

    fn text(&mut self, manifest: &Manifest, keys: &[&str]) {
        if let Some(root) = manifest.tool(keys).and_then(Value::as_str) {
            self.take(root, &format!("tool.{}", keys.join(".")));
        }
    }

    fn setuptools(&mut self, manifest: &Manifest) {
        let setting = "tool.setuptools.package-dir";
        let map = manifest.tool(&["setuptools", "package-dir"]).and_then(Value::as_table);
        for (name, place) in map.into_iter().flatten() {
            if let Some(place) = place.as_str() {
                self.mapped(&name.replace('.', "/"), place, setting);
            }
        }
        for root in texts(manifest.tool(&["setuptools", "packages", "find", "where"])) {
            self.take(root, "tool.setuptools.packages.find.where");
        }
    }

    fn hatch(&mut self, manifest: &Manifest) {
        for keys in [&["hatch", "build", "targets", "wheel"][..], &["hatch", "build"]] {
            let at = |key: &str| manifest.tool(&[keys, &[key]].concat());
            let named = |key: &str| format!("tool.{}.{key}", keys.join("."));
            let development = texts(at("dev-mode-dirs"));
            if !development.is_empty() {
                // What hatch itself puts on the path of an editable install.
                for root in development {
                    self.take(root, &named("dev-mode-dirs"));
                }
                return;
            }
            for package in texts(at("packages")) {
                let package = package.trim_end_matches('/');
                let root = package.rsplit_once('/').map_or("", |(root, _)| root);
                self.take(root, &named("packages"));
            }
            match at("sources") {
                Some(Value::Table(map)) => {
                    for (place, name) in map {
                        self.mapped(name.as_str().unwrap_or_default(), place, &named("sources"));
                    }
                }
                list => {
                    for root in texts(list) {
                        self.take(root, &named("sources"));
                    }
                }
            }
            for place in at("force-include")
                .and_then(Value::as_table)
                .into_iter()
                .flat_map(Table::keys)
            {
                let setting = named("force-include");
                self.lost.push(format!("`{setting}` (`{}`)", place.escape_debug()));
            }
        }
    }

    fn poetry(&mut self, manifest: &Manifest) {
        let listed = manifest.tool(&["poetry", "packages"]).and_then(Value::as_array);
        for package in listed.into_iter().flatten() {
            let setting = "tool.poetry.packages";
            if let Some(to) = package.get("to").and_then(Value::as_str) {
                self.lost.push(format!("`{setting}` (to `{}`)", to.escape_debug()));
                continue;
            }
            self.take(package.get("from").and_then(Value::as_str).unwrap_or_default(), setting);
        }
    }
}

impl std::ops::Deref for Found<'_> {
    type Target = Roots;

    fn deref(&self) -> &Roots {
        self.roots
    }
}

impl std::ops::DerefMut for Found<'_> {
    fn deref_mut(&mut self) -> &mut Roots {
        self.roots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(folder: &Path, text: &str) -> (Vec<String>, usize) {
        std::fs::write(folder.join("pyproject.toml"), text).expect("written");
        let manifest = Manifest::read(folder).expect("read");
        let roots = roots(folder, &manifest, Some("own"));
        let shown = |path: &PathBuf| path.strip_prefix(folder).expect("inside").display().to_string();
        (roots.folders.iter().map(shown).collect(), roots.lost.len())
    }

    #[test]
    fn explicit_settings_are_understood_where_a_path_expresses_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let backend = |name: &str, text: &str| format!("[build-system]\nbuild-backend = '{name}'\n{text}");
        for (name, text, folders, lost) in [
            (
                "setuptools.build_meta",
                "[tool.setuptools.package-dir]\n'' = 'lib'",
                &["lib"][..],
                0,
            ),
            (
                "setuptools.build_meta",
                "[tool.setuptools.package-dir]\nown = 'py/own'",
                &["py"],
                0,
            ),
            (
                "setuptools.build_meta",
                "[tool.setuptools.package-dir]\n'own.a' = 'py/own/a'",
                &["py"],
                0,
            ),
            (
                "setuptools.build_meta",
                "[tool.setuptools.package-dir]\nown = 'python'",
                &[""],
                1,
            ),
            (
                "setuptools.build_meta",
                "[tool.setuptools.packages.find]\nwhere = ['a', './b']",
                &["a", "b"],
                0,
            ),
            (
                "setuptools.build_meta",
                "[tool.setuptools.packages.find]\nwhere = ['../x', '/etc']",
                &[""],
                2,
            ),
            (
                "hatchling.build",
                "[tool.hatch.build.targets.wheel]\npackages = ['py/own']",
                &["py"],
                0,
            ),
            (
                "hatchling.build",
                "[tool.hatch.build]\ndev-mode-dirs = ['.', 'x']",
                &["", "x"],
                0,
            ),
            (
                "hatchling.build",
                "[tool.hatch.build.targets.wheel.sources]\n'py/x' = 'x'\n'a' = 'b'",
                &["py"],
                1,
            ),
            (
                "poetry.core.masonry.api",
                "[[tool.poetry.packages]]\ninclude = 'own'\nfrom = 'lib'",
                &["lib"],
                0,
            ),
            ("pdm.backend", "[tool.pdm.build]\npackage-dir = 'lib'", &["lib"], 0),
            ("uv_build", "[tool.uv.build-backend]\nmodule-root = ''", &[""], 0),
            // Another backend's table does not count.
            ("flit_core.buildapi", "[tool.pdm.build]\npackage-dir = 'lib'", &[""], 0),
        ] {
            let (found, told) = found(folder.path(), &backend(name, text));
            assert_eq!(
                (found.as_slice(), told),
                (
                    folders.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice(),
                    lost
                ),
                "{text}"
            );
        }
    }

    #[test]
    fn a_source_folder_is_found() {
        let folder = tempfile::tempdir().expect("a folder");
        let make = |path: &str| std::fs::create_dir_all(folder.path().join(path)).expect("made");
        assert_eq!(found(folder.path(), "").0, [""]);
        make("src/other");
        assert_eq!(found(folder.path(), "").0, ["src", ""]);
        make("own");
        assert_eq!(found(folder.path(), "").0, [""]);
        make("src/own");
        assert_eq!(found(folder.path(), "").0, ["src"]);
        std::fs::write(folder.path().join("src/__init__.py"), "").expect("written");
        assert_eq!(found(folder.path(), "").0, [""]);
    }
}
