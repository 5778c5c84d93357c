//! `WHEEL`: the format's version, and the tags that must not contradict the file name.
//!
//! File names are changed after the build (`auditwheel`, PyTorch's own scripts turn `linux_x86_64` into
//! `manylinux_2_28_x86_64`), so the tags need not be the same; but one of them must be of the file name's Python, ABI,
//! system and processor.
//! Refuses: another major Wheel-Version (PEP 427), tags of which none can be the file name's, one field twice with two
//! values.

use crate::pep::WheelFilename;
use crate::wheel::unpack::UnpackError;

fn refuse(reason: impl Into<String>) -> UnpackError {
    UnpackError::Wheel(reason.into())
}

/// Checks the text of the file in a wheel called `filename`.
pub(super) fn check(text: &str, filename: &WheelFilename) -> Result<(), UnpackError> {
    let version = field(text, "Wheel-Version")?.ok_or_else(|| refuse("it has no Wheel-Version"))?;
    if version.split('.').next() != Some("1") {
        return Err(refuse(format!("Wheel-Version is {version}; 1.x is understood")));
    }
    let purelib = field(text, "Root-Is-Purelib")?.map(str::to_ascii_lowercase);
    if !matches!(purelib.as_deref(), None | Some("true" | "false")) {
        return Err(refuse("Root-Is-Purelib is neither true nor false"));
    }
    let tags: Vec<&str> = values(text, "Tag").collect();
    // The name's tags as its text has them: name, version, perhaps a build, then three.
    let name = filename.to_string();
    let name = name.strip_suffix(".whl").unwrap_or(&name);
    let mut parts = name.rsplitn(4, '-');
    let (Some(platforms), Some(abis), Some(pythons)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(refuse("the file name has no tags"));
    };
    if tags.is_empty() || tags.iter().any(|tag| can_be(tag, [pythons, abis, platforms])) {
        return Ok(());
    }
    Err(refuse(format!(
        "its tags ({}) contradict the file name's ({pythons}-{abis}-{platforms})",
        tags.join(", ")
    )))
}

/// Whether a wheel with this tag may have a file name with these. A tag may be a compressed set too.
fn can_be(tag: &str, name: [&str; 3]) -> bool {
    let parts: Vec<&str> = tag.splitn(3, '-').collect();
    let [python, abi, platform] = parts.as_slice() else {
        return false;
    };
    let meet = |one: &str, other: &str, same: fn(&str, &str) -> bool| {
        one.split('.').any(|one| other.split('.').any(|other| same(one, other)))
    };
    meet(python, name[0], str::eq_ignore_ascii_case)
        && meet(abi, name[1], str::eq_ignore_ascii_case)
        && meet(platform, name[2], same_machine)
}

/// System and processor of two platform tags, whatever the versions of the system are. `any` goes with all.
fn same_machine(one: &str, other: &str) -> bool {
    let system = |tag: &str| {
        ["manylinux", "musllinux", "linux", "macosx", "win"]
            .into_iter()
            .find(|system| tag.starts_with(system))
            .map_or(tag.to_owned(), |system| {
                if system.ends_with("linux") { "linux" } else { system }.to_owned()
            })
    };
    let processor = |tag: &str| {
        [
            "x86_64",
            "amd64",
            "i686",
            "aarch64",
            "arm64",
            "armv7l",
            "armv6l",
            "ppc64le",
            "ppc64",
            "s390x",
            "riscv64",
            "loongarch64",
            "universal2",
            "intel",
            "win32",
        ]
        .into_iter()
        .find(|processor| tag.ends_with(processor))
    };
    if one == other || one == "any" || other == "any" {
        return true;
    }
    // Universal binaries hold several processors.
    let universal = |tag: &str| matches!(processor(tag), Some("universal2" | "intel"));
    system(one) == system(other) && (processor(one) == processor(other) || universal(one) || universal(other))
}

fn values<'a>(text: &'a str, wanted: &'static str) -> impl Iterator<Item = &'a str> {
    text.trim_start_matches('\u{feff}')
        .split(['\n', '\r'])
        .filter_map(move |line| {
            let (key, value) = line.split_once(':')?;
            key.trim().eq_ignore_ascii_case(wanted).then(|| value.trim())
        })
}

/// The one value of a field.
fn field<'a>(text: &'a str, wanted: &'static str) -> Result<Option<&'a str>, UnpackError> {
    let mut all = values(text, wanted);
    let first = all.next();
    match all.find(|other| Some(*other) != first) {
        Some(_) => Err(refuse(format!("it has two values of {wanted}"))),
        None => Ok(first),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str, file: &str) -> Result<(), UnpackError> {
        check(text, &file.parse().expect("a wheel name"))
    }

    #[test]
    fn tags_that_can_be_the_file_names_pass() {
        for (tags, file) in [
            ("", "a-1-py3-none-any.whl"),
            ("Tag: py2-none-any\nTag: py3-none-any\n", "a-1-py2.py3-none-any.whl"),
            ("Tag: py2.py3-none-any\r\n", "a-1-py3-none-any.whl"),
            (
                "Tag: cp311-cp311-linux_x86_64\n",
                "a-1-cp311-cp311-manylinux_2_28_x86_64.whl",
            ),
            (
                "Tag: py3-none-any\n",
                "a-1-1-py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl",
            ),
            (
                "Tag: cp39-abi3-macosx_10_9_x86_64\n",
                "a-1-cp39-abi3-macosx_11_0_universal2.whl",
            ),
        ] {
            let text = format!("Wheel-Version: 1.0\nRoot-Is-Purelib: true\n{tags}");
            checked(&text, file).unwrap_or_else(|error| panic!("{tags} {file}: {error}"));
        }
    }

    #[test]
    fn contradictions_are_refused() {
        let file = "a-1-cp311-cp311-manylinux_2_28_x86_64.whl";
        for text in [
            "",
            "Wheel-Version: 2.0\n",
            "Wheel-Version: 10.0\n",
            "Wheel-Version: 1.0\nWheel-Version: 2.0\n",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: maybe\n",
            "Wheel-Version: 1.0\nTag: cp312-cp312-manylinux_2_28_x86_64\n",
            "Wheel-Version: 1.0\nTag: cp311-cp311-manylinux_2_28_aarch64\n",
            "Wheel-Version: 1.0\nTag: cp311-cp311-win_amd64\n",
            "Wheel-Version: 1.0\nTag: anything\n",
        ] {
            assert!(checked(text, file).is_err(), "{text:?}");
        }
    }
}
