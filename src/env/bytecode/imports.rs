//! Which test folders of a wheel no other module of it imports, found by reading and never by running.
//!
//! A third of the modules of a scientific package are its tests, and nobody imports them. A folder of tests is
//! `tests`, `test` or `testing/_internal`, the outermost of those that lie in each other. It is left out as a whole, and
//! only where no import statement outside of such folders names it or anything below it, at whatever depth of functions
//! the statement stands. Text that only looks like an import statement (in a docstring, say) counts as one: then more is
//! compiled than needed. What is imported by a computed name is not seen; Python compiles it when it is imported.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use memchr::memmem;

use crate::relpath::RelPath;
use crate::threads;

/// The outermost folder of tests that a module lies in, relative to site-packages.
fn test_folder(module: &str) -> Option<&str> {
    let mut before = "";
    let mut at = 0;
    for (end, _) in module.match_indices('/') {
        let part = &module[at..end];
        if matches!(part, "test" | "tests") || (before == "testing" && part == "_internal") {
            return Some(&module[..end]);
        }
        (before, at) = (part, end + 1);
    }
    None
}

/// The folders of tests, relative to site-packages, that nothing outside of such folders imports. `sources` are paths
/// below `root`, each with its path below site-packages.
pub(super) fn unimported(root: &Path, sources: &[(RelPath, String)]) -> BTreeSet<String> {
    let mut folders: BTreeMap<String, String> = BTreeMap::new();
    for folder in sources.iter().filter_map(|(_, module)| test_folder(module)) {
        folders
            .entry(folder.replace('/', "."))
            .or_insert_with(|| folder.to_owned());
    }
    if folders.is_empty() {
        return BTreeSet::new();
    }
    let others = sources
        .iter()
        .filter(|(_, module)| test_folder(module).is_none())
        .collect();
    let finders = ["test", "_internal"].map(memmem::Finder::new);
    let imported = threads::map(others, |(path, module): &(RelPath, String)| {
        // A source that cannot be read fails where it is compiled.
        let text = std::fs::read(root.join(path)).unwrap_or_default();
        if finders.iter().all(|finder| finder.find(&text).is_none()) {
            return Vec::new();
        }
        let package: Vec<&str> = module
            .rsplit_once('/')
            .map_or(Vec::new(), |(folder, _)| folder.split('/').collect());
        let names = imports(&text, &package);
        let hit = |folder: &&String| {
            let below = |name: &String| {
                name.strip_prefix(folder.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            };
            names.iter().any(below)
        };
        folders.keys().filter(hit).cloned().collect()
    });
    for name in imported.into_iter().flatten() {
        folders.remove(&name);
    }
    folders.into_values().collect()
}

/// A word of a source, as far as import statements go.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
enum Token<'a> {
    /// A name, with dots in it and before it.
    Name(&'a str),
    Comma,
    Open,
    Close,
    Line,
    Other,
}

/// The words of a source. Comments and the ends of lines after a backslash are none.
struct Tokens<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let byte = *self.text.get(self.at)?;
            let start = self.at;
            self.at += 1;
            return Some(match byte {
                b' ' | b'\t' | b'\r' | 0x0c => continue,
                b'\\' => {
                    let rest = &self.text[self.at..];
                    let end = if rest.starts_with(b"\r\n") {
                        2
                    } else {
                        usize::from(rest.starts_with(b"\n"))
                    };
                    self.at += end;
                    if end > 0 {
                        continue;
                    }
                    Token::Other
                }
                b'#' => {
                    self.at = memchr::memchr(b'\n', &self.text[start..]).map_or(self.text.len(), |end| start + end);
                    continue;
                }
                b'\n' => Token::Line,
                b',' => Token::Comma,
                b'(' => Token::Open,
                b')' => Token::Close,
                byte if is_name(byte) => {
                    let length = self.text[start..].iter().position(|byte| !is_name(*byte));
                    self.at = length.map_or(self.text.len(), |length| start + length);
                    std::str::from_utf8(&self.text[start..self.at]).map_or(Token::Other, Token::Name)
                }
                _ => Token::Other,
            });
        }
    }
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.') || byte >= 0x80
}

/// The modules that the import statements of a source name, and whatever they import from those, which may be modules.
/// `package` is the package that the source lies in.
fn imports(text: &[u8], package: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let mut tokens = Tokens { text, at: 0 }.peekable();
    let mut from: Option<&str> = None;
    while let Some(token) = tokens.next() {
        match (token, from.take()) {
            (Token::Name("from"), _) => {
                if let Some(Token::Name(module)) = tokens.peek()
                    && *module != "import"
                {
                    from = Some(module);
                    tokens.next();
                }
            }
            (Token::Name("import"), module) => {
                let base = module.map(|module| absolute(module, package));
                if let Some(base) = &base {
                    found.extend(base.clone());
                }
                tokens.next_if_eq(&Token::Open);
                // Names, each with `as` and another one; anything else ends them.
                loop {
                    while tokens
                        .next_if(|token| matches!(token, Token::Line) && module.is_some())
                        .is_some()
                    {}
                    let Some(Token::Name(name)) = tokens.peek().copied() else {
                        break;
                    };
                    tokens.next();
                    match &base {
                        None => found.push(name.to_owned()),
                        Some(Some(base)) => found.push(format!("{base}.{name}")),
                        Some(None) => {}
                    }
                    if tokens.next_if_eq(&Token::Name("as")).is_some() {
                        tokens.next_if(|token| matches!(token, Token::Name(_)));
                    }
                    if tokens.next_if_eq(&Token::Comma).is_none() {
                        break;
                    }
                }
            }
            _ => {}
        }
    }
    found
}

/// The name of a module without leading dots; none where they lead out of everything.
fn absolute(module: &str, package: &[&str]) -> Option<String> {
    let name = module.trim_start_matches('.');
    let level = module.len() - name.len();
    if level == 0 {
        return Some(name.to_owned());
    }
    let above = package.get(..package.len().checked_sub(level - 1)?)?;
    let parts = above.iter().copied().chain((!name.is_empty()).then_some(name));
    Some(parts.collect::<Vec<_>>().join("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_of_tests_are_the_outermost() {
        assert_eq!(test_folder("numpy/tests/data/tests/x.py"), Some("numpy/tests"));
        assert_eq!(
            test_folder("torch/testing/_internal/common.py"),
            Some("torch/testing/_internal")
        );
        for module in [
            "torch/testing/__init__.py",
            "torch/_internal/a.py",
            "test.py",
            "a/tests.py",
            "latest/a.py",
        ] {
            assert_eq!(test_folder(module), None, "{module}");
        }
    }

    #[test]
    fn every_form_of_an_import_statement_is_read() {
        let names = |text: &str| imports(text.as_bytes(), &["a", "b"]);
        for (text, wanted) in [
            ("import x.tests", &["x.tests"][..]),
            ("import x, y.tests as t", &["x", "y.tests"]),
            ("from x import tests", &["x", "x.tests"]),
            ("from x.tests import y as z, w", &["x.tests", "x.tests.y", "x.tests.w"]),
            (
                "from x import (\n    # why\n    y,\n    tests,\n)\n",
                &["x", "x.y", "x.tests"],
            ),
            ("from x \\\n  import y, \\\n  tests", &["x", "x.y", "x.tests"]),
            ("from . import tests", &["a.b", "a.b.tests"]),
            ("from .c import tests", &["a.b.c", "a.b.c.tests"]),
            ("from ..tests import c", &["a.tests", "a.tests.c"]),
            ("from .... import c", &[]),
            ("def f():\n    if x: import y.tests; y()", &["y.tests"]),
            ("# import x\nimport_x = 1\nx.import_module('y')", &[]),
            ("from x import *", &["x"]),
            ("yield from x\nimport y\nz", &["y"]),
            ("import x\r\nimport y\r\n", &["x", "y"]),
        ] {
            assert_eq!(names(text), wanted, "{text}");
        }
        // Bytes that are no text do no harm.
        assert_eq!(imports(b"\xff\xfe import \xff, y\nfrom", &[]), Vec::<String>::new());
    }

    #[test]
    fn a_folder_is_left_out_only_where_nothing_outside_imports_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = [
            ("p/__init__.py", "def late():\n    from p.sub import tests\n"),
            ("p/tests/__init__.py", "import p.other.tests.helper\n"),
            ("p/tests/test_a.py", ""),
            ("p/sub/tests/test_b.py", ""),
            ("p/other/tests/helper.py", ""),
            ("p/testing/__init__.py", "from ._internal.common import x\n"),
            ("p/testing/_internal/common.py", ""),
            ("p/test_single.py", ""),
            ("q/test/x.py", ""),
            ("q/y.py", "\"\"\"Says: import q.test.x is allowed.\"\"\""),
        ];
        let sources: Vec<(RelPath, String)> = files
            .iter()
            .map(|(path, text)| {
                let target = folder.path().join(path);
                std::fs::create_dir_all(target.parent().expect("a parent")).expect("folders");
                std::fs::write(target, text).expect("written");
                (RelPath::new(path).expect("a path"), (*path).to_owned())
            })
            .collect();
        let left_out: Vec<String> = unimported(folder.path(), &sources).into_iter().collect();
        assert_eq!(left_out, ["p/other/tests", "p/tests"]);
    }
}
