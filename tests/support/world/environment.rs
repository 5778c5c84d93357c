//! What a test asks of the environments that the program has built in a world.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Output, World, make_removable};

impl World {
    /// Builds with these flags; returns the one JSON document.
    #[track_caller]
    pub(crate) fn build(&self, flags: &[&str]) -> Value {
        self.flambeau_json("build", flags)
    }

    /// Runs a verb that must succeed; returns its one JSON document.
    #[track_caller]
    pub(crate) fn flambeau_json(&self, verb: &str, arguments: &[&str]) -> Value {
        let document = self.flambeau(&[&["--json", verb], arguments].concat()).fails(0).json();
        assert_eq!(document["schema"], 1, "{document:#}");
        document
    }

    /// Runs a verb that must fail with this exit code; returns `error` of its one JSON document.
    #[track_caller]
    pub(crate) fn flambeau_error(&self, code: i32, arguments: &[&str]) -> Value {
        let output = self.flambeau(&[&["--json"], arguments].concat()).fails(code);
        let document = output.json();
        assert_eq!(document["schema"], 1, "{output}");
        let error = document["error"].clone();
        assert!(
            error["message"].as_str().is_some_and(|text| !text.is_empty()),
            "{output}"
        );
        assert!(error["hints"].is_array(), "{output}");
        error
    }

    /// The folder that `.venv` leads to.
    #[track_caller]
    pub(crate) fn active(&self) -> PathBuf {
        let link = self.project().join(".venv");
        fs::read_link(&link).unwrap_or_else(|error| panic!("{}: {error}", link.display()))
    }

    /// The state file, as programs read it: through the project's link.
    #[track_caller]
    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.read("environment_state.json")).expect("the state is JSON")
    }

    /// Runs a Python program in the active environment and returns what it prints.
    #[track_caller]
    pub(crate) fn python_says(&self, program: &str) -> String {
        self.venv_python(&["-c", program]).ok().text().to_owned()
    }

    /// Runs `sh -c` with a script in whose `$@` the built program and its arguments stand.
    pub(crate) fn flambeau_in_shell(&self, script: &str, arguments: &[&str]) -> Output {
        let mut command = self.command(self.path("tools/sh"));
        command.args(["-c", script, "sh", env!("CARGO_BIN_EXE_flambeau")]);
        command.args(arguments);
        self.run(command)
    }

    /// Deletes a folder of this world, which may be read-only; says nothing where it is absent.
    pub(crate) fn delete(&self, folder: &Path) {
        assert!(folder.starts_with(self.path("")), "{}", folder.display());
        make_removable(folder);
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", folder.display()),
            _ => {}
        }
    }

    /// An installation of the machine's Python that belongs to this world: a copy of the executable beside links to
    /// the library. So a test can take it away, or take away the right to run it.
    pub(crate) fn private_python(&self, name: &str) -> Option<PathBuf> {
        const QUESTION: &str = "import sys, sysconfig; print(sys.base_prefix, sysconfig.get_path('stdlib'), sep='\\n')";
        let python = self.any_python()?;
        let mut command = self.command(&python.path);
        command.args(["-I", "-c", QUESTION]);
        let answer = self.run(command).ok();
        let stdlib = PathBuf::from(answer.text().lines().nth(1)?);
        let (bin, lib) = (self.path(name).join("bin"), self.path(name).join("lib"));
        fs::create_dir_all(&bin).expect("a writable world");
        fs::create_dir_all(&lib).expect("a writable world");
        std::os::unix::fs::symlink(&stdlib, lib.join(stdlib.file_name()?)).expect("the name is free");
        let program = bin.join(format!("python{}", python.version));
        fs::copy(&python.path, &program).expect("a writable world");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("our file");
        Some(program)
    }
}

/// The text of a member; fails the test where there is none.
#[track_caller]
pub(crate) fn text<'a>(document: &'a Value, member: &str) -> &'a str {
    document[member]
        .as_str()
        .unwrap_or_else(|| panic!("no text `{member}` in {document:#}"))
}

/// The hints of an error, a line each.
pub(crate) fn hints(error: &Value) -> String {
    let hints = error["hints"].as_array().into_iter().flatten();
    hints.filter_map(Value::as_str).flat_map(|hint| [hint, "\n"]).collect()
}
