//! Which setting wins, and what is refused.

use super::*;
use crate::env::bytecode::Modules;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn file(&self, name: &str, text: &str) -> &Self {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, text).expect("written");
        self
    }

    fn load(&self, overrides: &Overrides, vars: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let vars = [("HOME", "/home/u")].iter().chain(vars).copied().collect();
        Config::load(overrides, &vars, self.path())
    }

    fn config(&self, vars: &[(&str, &str)]) -> Config {
        self.load(&Overrides::default(), vars).expect("configured")
    }

    fn error(&self, vars: &[(&str, &str)]) -> String {
        let error = self.load(&Overrides::default(), vars).expect_err("refused");
        let text = crate::error::Failure::user(error).chain().join(": ");
        text.replace(&format!("{}/", self.path().display()), "")
    }
}

#[test]
fn the_strongest_preference_wins() {
    let folder = Folder::new();
    folder
        .file("pyproject.toml", "[tool.flambeau]\nbackend = \"cpu\"\n")
        .file(
            "appsettings.json",
            "{\n\"Upscaler\": {\"PreferredGpuBackend\": \"CUDA\"}}",
        );
    let ingest = ("INGEST_upscaler__preferredgpubackend", "auto");
    let ours = ("FLAMBEAU_BACKEND", "rocm");
    let said = |config: &Config| {
        let origin = config.backend.origin.to_string();
        let origin = origin.replace(&format!("{}/", folder.path().display()), "");
        format!("{} from {origin}", config.backend.value.as_str())
    };

    let flag = Overrides {
        backend: Some(Preference::Backend(Backend::Cpu)),
        ..Overrides::default()
    };
    assert_eq!(
        said(&folder.load(&flag, &[ingest, ours]).expect("loads")),
        "CPU from --backend"
    );
    assert_eq!(
        said(&folder.config(&[ingest, ours])),
        "ROCm from the variable FLAMBEAU_BACKEND"
    );
    assert_eq!(
        said(&folder.config(&[ingest])),
        "Auto from the variable INGEST_upscaler__preferredgpubackend"
    );
    assert_eq!(
        said(&folder.config(&[("Ingest_Upscaler__PreferredGpuBackend", ""), ("FLAMBEAU_BACKEND", "")])),
        "CUDA from appsettings.json:2"
    );
    std::fs::remove_file(folder.path().join("appsettings.json")).expect("removed");
    assert_eq!(
        said(&folder.config(&[])),
        "CPU from pyproject.toml: [tool.flambeau] backend"
    );
    std::fs::remove_file(folder.path().join("pyproject.toml")).expect("removed");
    assert_eq!(said(&folder.config(&[])), "Auto from the default");
}

#[test]
fn unknown_values_name_the_four_and_their_place() {
    let folder = Folder::new();
    let four = "`vulkan` is no GPU backend; expected one of Auto, CUDA, ROCm, CPU";
    assert_eq!(
        folder.error(&[("Ingest_Upscaler__PreferredGpuBackend", "vulkan")]),
        format!("the variable Ingest_Upscaler__PreferredGpuBackend names no backend: {four}")
    );
    assert_eq!(
        folder.error(&[("FLAMBEAU_BACKEND", "vulkan")]),
        format!("the variable FLAMBEAU_BACKEND names no backend: {four}")
    );
    folder.file("appsettings.json", r#"{"Upscaler": {"PreferredGpuBackend": "vulkan"}}"#);
    assert_eq!(
        folder.error(&[]),
        format!("appsettings.json:1 names no backend: {four}")
    );
    let other = Overrides {
        config: Some("other.json".into()),
        ..Overrides::default()
    };
    let error = folder.load(&other, &[]).expect_err("absent").to_string();
    assert!(error.starts_with("there is no configuration file"), "{error}");
}

#[test]
fn folders_have_their_places() {
    let folder = Folder::new();
    let places = |config: &Config| {
        let text = |path: Result<&Path, ConfigError>| match path {
            Ok(path) => path
                .display()
                .to_string()
                .replace(&folder.path().display().to_string(), "P"),
            Err(error) => error.to_string(),
        };
        (text(config.store_dir()), text(config.cache_dir()))
    };
    let pair = |store: &str, cache: &str| (store.to_owned(), cache.to_owned());
    assert_eq!(
        places(&folder.config(&[])),
        pair("/home/u/.local/share/flambeau", "/home/u/.cache/flambeau")
    );
    assert_eq!(
        places(&folder.config(&[("XDG_DATA_HOME", "/d"), ("XDG_CACHE_HOME", "relative")])),
        pair("/d/flambeau", "/home/u/.cache/flambeau")
    );
    let (store, cache) = places(&folder.config(&[("HOME", "")]));
    assert!(store.contains("--store-dir or FLAMBEAU_STORE_DIR"), "{store}");
    assert!(cache.contains("--cache-dir or FLAMBEAU_CACHE_DIR"), "{cache}");

    folder.file("cache/CACHEDIR.TAG", "");
    assert_eq!(places(&folder.config(&[])).1, "P/cache");
    folder.file(
        "pyproject.toml",
        "[tool.flambeau]\nstore-dir = \"./s\"\ncache-dir = \"~/c\"\n",
    );
    assert_eq!(places(&folder.config(&[])), pair("P/s", "/home/u/c"));
    assert_eq!(
        places(&folder.config(&[("FLAMBEAU_STORE_DIR", "/v"), ("FLAMBEAU_CACHE_DIR", "rel/")])),
        pair("/v", "P/rel")
    );
    let flags = Overrides {
        store_dir: Some("f".into()),
        project: Some("sub".into()),
        ..Overrides::default()
    };
    let config = folder.load(&flags, &[("FLAMBEAU_STORE_DIR", "/v")]).expect("loads");
    assert_eq!(places(&config).0, "P/f");
    assert_eq!(config.project, folder.path().join("sub"));
}

#[test]
fn a_contradicting_channel_is_an_error() {
    let folder = Folder::new();
    let flags = |backend, channel: &str| Overrides {
        backend,
        channel: Some(channel.parse().expect("a channel")),
        ..Overrides::default()
    };
    let rocm = Some(Preference::Backend(Backend::Rocm));
    assert_eq!(
        folder
            .load(&flags(rocm, "cu118"), &[])
            .expect_err("contradicts")
            .to_string(),
        "the channel cu118 (--channel) is for CUDA, but the backend ROCm is asked for (--backend)"
    );
    folder
        .load(&flags(Some(Preference::Auto), "cu118"), &[])
        .expect("Auto contradicts nothing");
    folder
        .load(&flags(rocm, "pip"), &[])
        .expect("pip says its backend later");
    assert!(
        folder
            .error(&[("FLAMBEAU_CHANNEL", "CU")])
            .contains("expected a channel such as")
    );

    folder.file(
        "pyproject.toml",
        "[tool.flambeau]\nchannel = \"mine\"\n[tool.flambeau.channels.mine]\nbackend = \"cuda\"\n\
         index = \"https://example.org/mine/\"\n[tool.flambeau.backends]\ncuda = [\"cu126\", \"mine\"]\n",
    );
    assert!(folder.error(&[("FLAMBEAU_BACKEND", "cpu")]).contains("mine"));
    let config = folder.config(&[("FLAMBEAU_PYTORCH_MIRROR", "https://example.org/whl/")]);
    let tags: Vec<_> = config.channels(Backend::Cuda).iter().map(ToString::to_string).collect();
    assert_eq!(tags, ["cu126", "mine"]);
    assert_eq!(config.channels(Backend::Rocm), [Backend::Rocm.default_channel()]);
    let index = |tag: &str| config.channel_index(&tag.parse().expect("a channel"));
    assert_eq!(index("mine").as_deref(), Some("https://example.org/mine"));
    assert_eq!(index("cu126").as_deref(), Some("https://example.org/whl/cu126"));
    assert_eq!(index("pip"), None);
    assert_eq!(
        folder
            .config(&[])
            .channel_index(&"cpu".parse().expect("a channel"))
            .as_deref(),
        Some("https://download.pytorch.org/whl/cpu")
    );

    folder.file("pyproject.toml", "[tool.flambeau.backends]\nrocm = [\"cu126\"]\n");
    assert_eq!(
        folder.error(&[]),
        "[tool.flambeau.backends] lists the channel cu126 under ROCm, but it is for CUDA"
    );
}

#[test]
fn the_project_says_what_it_needs() {
    let folder = Folder::new();
    assert_eq!(folder.config(&[]).requirements, None);
    folder.file(
        "pyproject.toml",
        "[project]\nname = \"x\"\ndependencies = [\"torch==2.7.0\"]\nrequires-python = \">=3.10\"\n\
         [tool.flambeau]\nrequirements = [\"numpy\"]\nconstraints = [\"numpy<3\"]\noverrides = [\"sympy==1.13.3\"]\n\
         python-versions = [\"3.11\", \"3.13t\"]\nplatforms = [\"linux_x86_64\"]\neditable = [\".\", \"lib\"]\n\
         keep-wheels = false\ncompile-bytecode = false\ngit-exclude = false\nlink-mode = \"copy\"\nsync = \"full\"\nindex-url = \"https://example.org/simple\"\n\
         [[tool.flambeau.index]]\nname = \"corp\"\nurl = \"https://example.org/corp\"\npackages = [\"corp-*\"]\n",
    );
    let config = folder.config(&[]);
    assert_eq!(
        config.requirements.as_deref(),
        Some(&["torch==2.7.0".to_owned(), "numpy".to_owned()][..])
    );
    assert_eq!(
        config
            .requires_python
            .as_ref()
            .map(|required| required.specifiers.to_string())
            .as_deref(),
        Some(">=3.10")
    );
    assert_eq!(config.editable, [folder.path().to_owned(), folder.path().join("lib")]);
    assert_eq!(config.platforms, [Platform::LINUX_X86_64]);
    assert_eq!(config.python_versions.len(), 2);
    assert_eq!(
        (
            config.keep_wheels,
            config.compile_bytecode,
            config.git_exclude,
            config.link_mode,
            config.sync
        ),
        (false, Modules::None, false, Some(LinkMode::Copy), Sync::Full)
    );
    assert_eq!(config.indexes[0].packages, ["corp-*".parse().expect("a pattern")]);
    assert_eq!(
        config.index_url.expect("set").value.as_str(),
        "https://example.org/simple"
    );
    assert_eq!((config.constraints.len(), config.overrides.len()), (1, 1));
}

#[test]
fn python_is_asked_for_in_order() {
    let folder = Folder::new();
    let uv = ("UV_PYTHON", "3.9");
    let said = |config: Config| config.python.map(|python| python.value.to_string());
    assert_eq!(said(folder.config(&[])), None);
    assert_eq!(said(folder.config(&[uv])).as_deref(), Some("3.9"));
    folder.file(".python-version", "# pin\n\n 3.10.4 \n3.8\n");
    assert_eq!(said(folder.config(&[uv])).as_deref(), Some("3.10.4"));
    folder.file("pyproject.toml", "[tool.flambeau]\npython = \"py/bin/python\"\n");
    assert_eq!(
        said(folder.config(&[uv])),
        Some(folder.path().join("py/bin/python").display().to_string())
    );
    let flag = Overrides {
        python: Some("cpython@3.12".to_owned()),
        ..Overrides::default()
    };
    assert_eq!(said(folder.load(&flag, &[uv]).expect("loads")).as_deref(), Some("3.12"));
}

#[test]
fn switches_are_read_strictly() {
    let folder = Folder::new();
    for (value, expected) in [("1", true), ("TRUE", true), ("0", false), ("", false)] {
        assert_eq!(
            folder.config(&[("FLAMBEAU_OFFLINE", value)]).offline,
            expected,
            "{value}"
        );
    }
    assert!(
        folder
            .error(&[("FLAMBEAU_OFFLINE", "perhaps")])
            .contains("expected `1` or `0`")
    );
}
