//! The index that is built into an interpreter's pip, asked of pip itself.
//!
//! flambeau knows no package index's address. pip does, and so does the copy of pip that Python bundles for
//! `ensurepip`, so even an interpreter without pip can answer. The answer is kept in the cache and asked again when the
//! interpreter's file changes.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::cache::Cache;
use crate::fsx::{PathContext as _, PathError};

/// What an interpreter runs (`python -I -c …`) to tell pip's default index: one JSON document on standard output, the
/// URL or `null`.
pub const SNIPPET: &str = r#"
import json, os, sys

def constant():
    for name in [name for name in sys.modules if name.split(".")[0] == "pip"]:
        del sys.modules[name]
    try:
        from pip._internal.models.index import PyPI
        return PyPI.simple_url
    except Exception:
        return None

def bundled():
    import glob, sysconfig
    folders = []
    try:
        import ensurepip
        folders.append(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"))
    except Exception:
        pass
    folders.append(sysconfig.get_config_var("WHEEL_PKG_DIR"))
    for folder in folders:
        for wheel in sorted(glob.glob(os.path.join(folder or "", "pip-*.whl")), reverse=True):
            sys.path.insert(0, wheel)
            yield constant()
            sys.path.remove(wheel)

url = constant()
if url is None:
    url = next((found for found in bundled() if found is not None), None)
print(json.dumps(url))
"#;

/// Reads what [`SNIPPET`] printed; anything else than a URL or `null` counts as no answer.
#[must_use]
pub fn parse_answer(output: &str) -> Option<String> {
    serde_json::from_str::<Option<String>>(output.trim()).ok().flatten()
}

/// The answer of the interpreter at `path`, from the cache or by `ask`, which runs [`SNIPPET`] and passes on what
/// [`parse_answer`] says. Only a URL is kept: pip may be installed a minute later.
pub fn cached<E>(
    cache: &Cache,
    path: &Path,
    ask: impl FnOnce() -> Result<Option<String>, E>,
) -> Result<Option<String>, E>
where
    E: From<PathError>,
{
    let meta = std::fs::metadata(path).at("look at", path)?;
    let question = format!(
        "pip's default index\n{}\n{}.{}\n{}",
        path.display(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.len()
    );
    let stored = cache.answer_path(&question);
    let known = Cache::read(&stored)?.and_then(|bytes| serde_json::from_slice::<String>(&bytes).ok());
    if known.is_some() {
        return Ok(known);
    }
    let answer = ask()?;
    if let Some(text) = answer.as_ref().and_then(|url| serde_json::to_vec(url).ok()) {
        // Asking again next time is all that a cache that cannot be written costs.
        cache.write(&stored, &text).ok();
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_kept_until_the_interpreter_changes() {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::new(folder.path().join("cache"));
        let python = folder.path().join("python");
        std::fs::write(&python, "1").expect("written");
        let asked = std::cell::Cell::new(0);
        let ask = |answer: Option<&str>| {
            cached(&cache, &python, || {
                asked.set(asked.get() + 1);
                Ok::<_, PathError>(answer.map(str::to_owned))
            })
            .expect("readable")
        };
        assert_eq!(ask(None), None);
        assert_eq!(
            ask(Some("https://example.org/simple")).as_deref(),
            Some("https://example.org/simple")
        );
        assert_eq!(ask(None).as_deref(), Some("https://example.org/simple"));
        assert_eq!(asked.get(), 2);
        std::fs::write(&python, "another").expect("written");
        assert_eq!(ask(None), None);
        assert_eq!(asked.get(), 3);
    }

    #[test]
    fn answers_are_json() {
        assert_eq!(
            parse_answer("\"https://example.org/simple\"\n").as_deref(),
            Some("https://example.org/simple")
        );
        for text in ["null\n", "", "Traceback", "7"] {
            assert_eq!(parse_answer(text), None, "{text}");
        }
    }
}
