//! `METADATA` of a wheel: the header fields that resolution needs.
//!
//! Owns: reading the RFC 822-like headers (core metadata, PEP 566 and successors) and checking that they belong to the
//! wheel. Refuses: a dependency that cannot be understood (leaving it out would build a broken environment), a major
//! version of the format that is not known, another wheel's metadata, name, version or `Requires-Python` given twice.

use std::str::FromStr as _;

use crate::index::CoreMetadata;
use crate::pep::{ExtraName, PackageName, Requirement, Version, VersionSpecifiers, WheelFilename};

/// Metadata that cannot be used; `file` says whose.
#[derive(Debug, thiserror::Error)]
pub enum MetadataError {
    /// A field that every METADATA has is not there.
    #[error("the METADATA of {file} has no {field}")]
    Missing {
        /// The wheel's file name.
        file: String,
        /// The field.
        field: &'static str,
    },
    /// A field's value cannot be understood.
    #[error("line {line} of the METADATA of {file} cannot be understood: `{text}`")]
    Field {
        /// The wheel's file name.
        file: String,
        /// The line's number, from 1.
        line: usize,
        /// The line, unfolded.
        text: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A format that was defined after this program.
    #[error("the METADATA of {file} is of version {version}; versions 1 and 2 are known")]
    Format {
        /// The wheel's file name.
        file: String,
        /// The version it states.
        version: String,
    },
    /// A field that says what this metadata is of, twice.
    #[error("the METADATA of {file} has {field} twice; readers differ in which counts")]
    Twice {
        /// The wheel's file name.
        file: String,
        /// The field.
        field: &'static str,
    },
    /// The metadata is another wheel's.
    #[error("the METADATA of {file} is that of {name} {version}")]
    OtherWheel {
        /// The wheel's file name.
        file: String,
        /// The name it states.
        name: PackageName,
        /// The version it states.
        version: Version,
    },
}

/// Reads the METADATA of the wheel `file`, whose parsed name is `filename`.
///
/// The body (a long description) is ignored, as are fields and lines that resolution does not need. Name and version
/// must be the file name's, local label included; both are compared in normalised form.
pub fn parse(bytes: &[u8], file: &str, filename: &WheelFilename) -> Result<CoreMetadata, MetadataError> {
    // A carriage return alone ends a line too for Python's reader of these headers.
    let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n").replace('\r', "\n");
    let mut draft = Draft::default();
    for header in headers(&text) {
        draft.take(&header, file)?;
    }
    let missing = |field| MetadataError::Missing {
        file: file.to_owned(),
        field,
    };
    let metadata = CoreMetadata {
        name: draft.name.ok_or_else(|| missing("Name"))?,
        version: draft.version.ok_or_else(|| missing("Version"))?,
        requires_dist: draft.requires_dist,
        requires_python: draft.requires_python,
        provides_extra: draft.provides_extra,
    };
    if metadata.name != filename.name || metadata.version != filename.version {
        return Err(MetadataError::OtherWheel {
            file: file.to_owned(),
            name: metadata.name,
            version: metadata.version,
        });
    }
    Ok(metadata)
}

/// Reads a `Requires-Python` value; forms that older tools wrote and every installer still accepts are mended first.
pub fn requires_python(text: &str) -> Result<VersionSpecifiers, Box<dyn std::error::Error + Send + Sync>> {
    let text = text.trim();
    VersionSpecifiers::from_str(text).or_else(|error| {
        // The original complaint is about what the author wrote, the second about what nobody did.
        VersionSpecifiers::from_str(&mended(text)).map_err(|_| error.into())
    })
}

/// One header, unfolded.
struct Header<'a> {
    line: usize,
    name: &'a str,
    value: String,
}

/// The headers up to the first empty line. Lines without a colon are skipped: some old tools folded without indenting.
fn headers(text: &str) -> Vec<Header<'_>> {
    let mut headers: Vec<Header<'_>> = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').split('\n').enumerate() {
        if line.is_empty() {
            break;
        }
        if line.starts_with([' ', '\t']) {
            if let Some(last) = headers.last_mut() {
                last.value.push(' ');
                last.value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            headers.push(Header {
                line: index + 1,
                name: name.trim(),
                value: value.trim().to_owned(),
            });
        }
    }
    headers
}

#[derive(Default)]
struct Draft {
    name: Option<PackageName>,
    version: Option<Version>,
    requires_dist: Vec<Requirement>,
    requires_python: Option<VersionSpecifiers>,
    provides_extra: Vec<ExtraName>,
}

impl Draft {
    fn take(&mut self, header: &Header<'_>, file: &str) -> Result<(), MetadataError> {
        let value = header.value.as_str();
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        let broken = |source: Box<dyn std::error::Error + Send + Sync>| MetadataError::Field {
            file: file.to_owned(),
            line: header.line,
            text: format!("{}: {value}", header.name),
            source,
        };
        if is("Metadata-Version") {
            if !matches!(value.split('.').next(), Some("1" | "2")) {
                return Err(MetadataError::Format {
                    file: file.to_owned(),
                    version: value.to_owned(),
                });
            }
        } else if is("Name") {
            let name = PackageName::from_str(value).map_err(|error| broken(error.into()))?;
            once(&mut self.name, name, "Name", file)?;
        } else if is("Version") {
            let version = Version::from_str(value).map_err(|error| broken(error.into()))?;
            once(&mut self.version, version, "Version", file)?;
        } else if is("Requires-Python") {
            let specifiers = requires_python(value).map_err(broken)?;
            once(&mut self.requires_python, specifiers, "Requires-Python", file)?;
        } else if is("Requires-Dist") {
            self.requires_dist.push(requirement(value).map_err(broken)?);
        } else if is("Provides-Extra") {
            // An extra whose name is invalid cannot be asked for either, so nothing is lost without it.
            self.provides_extra.extend(ExtraName::from_str(value).ok());
        }
        Ok(())
    }
}

/// Some readers take the first of two, others the last.
fn once<T: PartialEq>(slot: &mut Option<T>, value: T, field: &'static str, file: &str) -> Result<(), MetadataError> {
    match slot.replace(value) {
        Some(first) if slot.as_ref() != Some(&first) => Err(MetadataError::Twice {
            file: file.to_owned(),
            field,
        }),
        _ => Ok(()),
    }
}

fn requirement(text: &str) -> Result<Requirement, Box<dyn std::error::Error + Send + Sync>> {
    Requirement::from_str(text).or_else(|error| Requirement::from_str(&mended(text)).map_err(|_| error.into()))
}

/// Mends what was legal before PEP 440 was enforced: `>=3.6.*` (means `>=3.6`), `!=3.0*` (means `!=3.0.*`) and a
/// trailing comma. Quoted marker values are left alone.
fn mended(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let operator = ["===", ">=", "<=", "~=", "==", "!=", ">", "<"]
            .into_iter()
            .find(|operator| rest.starts_with(operator));
        if let Some(operator) = operator {
            let after = rest[operator.len()..].trim_start();
            let end = after
                .find(|c: char| !(c.is_ascii_alphanumeric() || "._*+!-".contains(c)))
                .unwrap_or(after.len());
            out.push_str(operator);
            out.push_str(&mended_version(operator, &after[..end]));
            rest = &after[end..];
        } else if matches!(first, '\'' | '"') {
            let end = rest[1..].find(first).map_or(rest.len(), |end| end + 2);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else {
            rest = &rest[first.len_utf8()..];
            let next = rest.trim_start().chars().next();
            if first != ',' || !matches!(next, None | Some(')' | ';' | ',')) {
                out.push(first);
            }
        }
    }
    out
}

fn mended_version(operator: &str, version: &str) -> String {
    match operator {
        ">=" | "<=" | ">" | "<" | "~=" => version.strip_suffix(".*").unwrap_or(version).to_owned(),
        "==" | "!=" => match version.strip_suffix('*') {
            Some(stem) if !stem.is_empty() && !stem.ends_with('.') => format!("{stem}.*"),
            _ => version.to_owned(),
        },
        _ => version.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(metadata: &str, file: &str) -> Result<CoreMetadata, MetadataError> {
        let filename: WheelFilename = file.parse().expect("a wheel name");
        parse(metadata.as_bytes(), file, &filename)
    }

    fn texts(metadata: &CoreMetadata) -> Vec<String> {
        metadata.requires_dist.iter().map(ToString::to_string).collect()
    }

    const TORCH: &str = "torch-2.7.0+cu118-cp312-cp312-manylinux_2_28_x86_64.whl";

    #[test]
    fn a_torch_wheel_is_read() {
        let metadata = read(
            "Metadata-Version: 2.2\n\
             Name: torch\n\
             Version: 2.7.0+cu118\n\
             Summary: Tensors and Dynamic neural networks\n\
             License: BSD\n        folded: Requires-Dist: nothing\n\
             Requires-Python: >=3.9.0\n\
             Requires-Dist: filelock\n\
             Requires-Dist: setuptools; python_version >= \"3.12\"\n\
             Requires-Dist: triton==3.3.0; platform_system == \"Linux\" and\n        platform_machine == \"x86_64\"\n\
             Provides-Extra: optree\n\
             Requires-Dist: optree>=0.13.0; extra == \"optree\"\n\
             \n\
             Requires-Dist: not-a-dependency\n",
            TORCH,
        )
        .expect("readable");
        assert_eq!(metadata.version.to_string(), "2.7.0+cu118");
        assert_eq!(
            metadata.requires_python.as_ref().map(ToString::to_string).as_deref(),
            Some(">=3.9.0")
        );
        assert_eq!(
            texts(&metadata),
            [
                "filelock",
                "setuptools ; python_full_version >= '3.12'",
                "triton==3.3.0 ; platform_machine == 'x86_64' and sys_platform == 'linux'",
                "optree>=0.13.0 ; extra == 'optree'",
            ]
        );
        assert_eq!(metadata.provides_extra.len(), 1);
    }

    #[test]
    fn old_forms_are_read_as_installers_read_them() {
        let metadata = read(
            "Metadata-Version: 2.1\r\nName: Torch_Vision\r\nVersion: 0.22.0\r\nRequires-Python: >=3.6.*, !=3.0*,\r\n\
             Requires-Dist: numpy\r\nRequires-Dist: torch (==2.7.0)\r\n\
             Requires-Dist: pillow (!=8.3.*,>=5.3.0)\r\nRequires-Dist: six (>=1.0.*,) ; extra == 'a_b'\r\n",
            "torch_vision-0.22.0-cp311-cp311-linux_x86_64.whl",
        )
        .expect("readable");
        assert_eq!(
            metadata.requires_python.map(|s| s.to_string()).as_deref(),
            Some("!=3.0.*, >=3.6")
        );
        assert_eq!(metadata.requires_dist[1].to_string(), "torch==2.7.0");
        assert_eq!(metadata.requires_dist[2].to_string(), "pillow>=5.3.0,!=8.3.*");
        assert_eq!(metadata.requires_dist[3].to_string(), "six>=1.0 ; extra == 'a-b'");
    }

    #[test]
    fn a_dependency_that_nobody_understands_names_file_and_line() {
        let error = read(
            "Metadata-Version: 2.1\nName: a\nVersion: 1\nRequires-Dist: b >dev\n",
            "a-1-py3-none-any.whl",
        )
        .expect_err("not a requirement");
        assert_eq!(
            error.to_string(),
            "line 4 of the METADATA of a-1-py3-none-any.whl cannot be understood: `Requires-Dist: b >dev`"
        );
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn foreign_and_unknown_metadata_are_refused() {
        let file = "a-1+cu118-py3-none-any.whl";
        let with = |name: &str, version: &str, format: &str| {
            read(
                &format!("Metadata-Version: {format}\nName: {name}\nVersion: {version}\n"),
                file,
            )
        };
        assert!(with("A", "1.0+CU118", "2.4").is_ok());
        for (name, version) in [("b", "1+cu118"), ("a", "1"), ("a", "1+cpu"), ("a", "1.1+cu118")] {
            let error = with(name, version, "2.1").expect_err("another wheel's");
            assert!(matches!(error, MetadataError::OtherWheel { .. }), "{error:?}");
        }
        assert!(matches!(with("a", "1+cu118", "3.0"), Err(MetadataError::Format { .. })));
        assert!(matches!(
            read("Name: a\n\nVersion: 1", file),
            Err(MetadataError::Missing { field: "Version", .. })
        ));
        // Two answers to one question, the second behind a bare carriage return.
        for text in [
            "Name: a\nName: b\nVersion: 1+cu118\n",
            "Name: b\rName: a\rVersion: 1+cu118\r",
        ] {
            let error = read(text, file).expect_err("ambiguous");
            assert!(matches!(error, MetadataError::Twice { field: "Name", .. }), "{error:?}");
        }
        assert!(read("Name: a\nName: A\nVersion: 1+cu118\n", file).is_ok());
    }

    #[test]
    fn bytes_that_are_no_utf8_do_not_matter_elsewhere() {
        let filename: WheelFilename = "a-1-py3-none-any.whl".parse().expect("a wheel name");
        let bytes = b"Metadata-Version: 1.0\nAuthor: Ren\xe9\nName: a\nno colon here\nVersion: 1\n";
        assert!(parse(bytes, "a-1-py3-none-any.whl", &filename).is_ok());
    }

    proptest::proptest! {
        #[test]
        fn mending_never_panics(text in "\\PC{0,40}") {
            mended(&text);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
            let filename: WheelFilename = "a-1-py3-none-any.whl".parse().expect("a wheel name");
            parse(&bytes, "a-1-py3-none-any.whl", &filename).ok();
        }
    }
}
