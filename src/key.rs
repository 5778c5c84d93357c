//! The environment key: what is hashed, byte for byte.
//!
//! SHA-256 over the RFC 8785 (canonical JSON) bytes of a document with the backend, the channel, the form of what
//! flambeau itself writes, the packages (normalised name, wheel digest, version; sorted by name; the one wheel that the
//! target installs), the platform and the Python. No URL, path, user, time or machine goes in: the same lockfile and
//! target give the same key everywhere, without GPU or network. A change of what the key covers needs a new `schema`
//! and a changed golden test.

use serde::Serialize;

use crate::backend::{Backend, Channel};
use crate::digest::{EnvironmentKey, WheelDigest};
use crate::env::FORM;
use crate::env::state::EnvironmentState;
use crate::lockfile::{LockedTarget, Lockfile, SelectError, Selected};
use crate::target::Target;

/// The version of what the key covers.
const SCHEMA: u32 = 1;

// The fields are declared in the order of their names, which is the order that RFC 8785 wants; serde keeps it. All
// values are ASCII text and small integers, for which serde_json's compact form is the canonical one.
#[derive(Serialize)]
struct Input<'a> {
    backend: Backend,
    channel: &'a Channel,
    form: u32,
    packages: Vec<Package<'a>>,
    platform: String,
    python: Python,
    schema: u32,
}

#[derive(Serialize)]
struct Package<'a> {
    name: &'a str,
    sha256: WheelDigest,
    version: String,
}

#[derive(Serialize)]
struct Python {
    implementation: &'static str,
    version: String,
}

/// `3.11` (`3.13t` without the GIL), or `3.11.7` where the project pins the patch level.
fn python_version(locked: &LockedTarget) -> String {
    let freethreaded = if locked.target.python.freethreaded { "t" } else { "" };
    if locked.python_pinned {
        format!("{}{freethreaded}", locked.python_full_version)
    } else {
        locked.target.python.to_string()
    }
}

/// The bytes that the key is the digest of.
fn input(lockfile: &Lockfile, target: &Target, selected: &[Selected<'_>]) -> Result<Vec<u8>, SelectError> {
    let locked = lockfile.locked_target(target)?;
    let packages = selected.iter().map(|Selected { package, wheel }| Package {
        name: package.name.as_str(),
        sha256: wheel.digest,
        version: package.version.to_string(),
    });
    let input = Input {
        backend: locked.backend,
        channel: &lockfile.channel,
        form: FORM,
        packages: packages.collect(),
        platform: target.platform.to_string(),
        python: Python {
            implementation: "cpython",
            version: python_version(locked),
        },
        schema: SCHEMA,
    };
    // Serialising text and numbers into memory never fails.
    Ok(serde_json::to_vec(&input).unwrap_or_default())
}

/// The key of the environment that `target` gets from `lockfile`; `selected` is what
/// [`Lockfile::select`] chose for it.
pub fn of_selection(
    lockfile: &Lockfile,
    target: &Target,
    selected: &[Selected<'_>],
) -> Result<EnvironmentKey, SelectError> {
    Ok(EnvironmentKey::of(&input(lockfile, target, selected)?))
}

/// The key of the environment that `target` gets from `lockfile`.
pub fn environment_key(lockfile: &Lockfile, target: &Target) -> Result<EnvironmentKey, SelectError> {
    of_selection(lockfile, target, &lockfile.select(target)?)
}

/// The keys that an environment of these wheels can have: of this form and of every earlier one, with the Python's minor
/// version, and with its full one, as where the project pins that. `members`: normalised name, version, digest, in any
/// order.
pub(crate) fn possible_keys(state: &EnvironmentState, members: &[(&str, &str, WheelDigest)]) -> Vec<EnvironmentKey> {
    let mut members = members.to_vec();
    members.sort_unstable();
    let freethreaded = if state.target.python.freethreaded { "t" } else { "" };
    let versions = [
        state.target.python.to_string(),
        format!("{}{freethreaded}", state.python_version),
    ];
    let forms = (1..=FORM).flat_map(|form| versions.iter().map(move |version| (form, version.clone())));
    let key = |(form, version)| {
        let packages = members.iter().map(|(name, version, digest)| Package {
            name,
            sha256: *digest,
            version: (*version).to_owned(),
        });
        let input = Input {
            backend: state.installed_backend,
            channel: &state.channel,
            form,
            packages: packages.collect(),
            platform: state.target.platform.to_string(),
            python: Python {
                implementation: "cpython",
                version,
            },
            schema: SCHEMA,
        };
        EnvironmentKey::of(&serde_json::to_vec(&input).unwrap_or_default())
    };
    forms.map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockfile::{LockedPackage, LockedWheel, Origin};
    use crate::pep::MarkerTree;

    fn package(name: &str, version: &str, file: &str, byte: u8) -> LockedPackage {
        LockedPackage {
            name: name.parse().expect("a name"),
            version: version.parse().expect("a version"),
            marker: MarkerTree::TRUE,
            requires_python: None,
            dependencies: Vec::new(),
            wheels: vec![LockedWheel {
                filename: file.parse().expect("a wheel"),
                file: file.to_owned(),
                origin: Origin::Index,
                size: None,
                digest: WheelDigest::from_bytes([byte; 32]),
            }],
        }
    }

    fn lockfile() -> Lockfile {
        Lockfile {
            head: String::new(),
            channel: "cu118".parse().expect("a channel"),
            requirements: Vec::new(),
            targets: vec![LockedTarget {
                target: "cp311-linux_x86_64".parse().expect("a target"),
                python_full_version: "3.11.14".parse().expect("a version"),
                python_boundaries: Vec::new(),
                backend: Backend::Cuda,
                python_pinned: false,
            }],
            packages: vec![
                package(
                    "torch",
                    "2.7.0+cu118",
                    "torch-2.7.0+cu118-cp311-cp311-manylinux_2_28_x86_64.whl",
                    0xab,
                ),
                package("filelock", "3.18.0", "filelock-3.18.0-py3-none-any.whl", 0x01),
            ],
            requires_python: None,
            settings: crate::lockfile::Settings::default(),
        }
    }

    #[test]
    fn golden_bytes_and_key() {
        let lockfile = lockfile();
        let target = lockfile.targets[0].target;
        let selected = lockfile.select(&target).expect("wheels");
        let expected = format!(
            "{{\"backend\":\"CUDA\",\"channel\":\"cu118\",\"form\":2,\"packages\":[\
             {{\"name\":\"filelock\",\"sha256\":\"{}\",\"version\":\"3.18.0\"}},\
             {{\"name\":\"torch\",\"sha256\":\"{}\",\"version\":\"2.7.0+cu118\"}}],\
             \"platform\":\"manylinux_2_28_x86_64\",\
             \"python\":{{\"implementation\":\"cpython\",\"version\":\"3.11\"}},\"schema\":1}}",
            "01".repeat(32),
            "ab".repeat(32)
        );
        let bytes = input(&lockfile, &target, &selected).expect("an input");
        assert_eq!(String::from_utf8(bytes).expect("text"), expected);
        let key = environment_key(&lockfile, &target).expect("a key");
        assert_eq!(
            key.to_string(),
            "69b75b637f4dd6ecda145de08334300fd5c28de92bbd6f6f56052306e0135145"
        );
    }

    #[test]
    fn f71_a_key_is_free_of_order_and_origin_and_covers_the_rest() {
        let base = lockfile();
        let target = base.targets[0].target;
        let key = |lockfile: &Lockfile| environment_key(lockfile, &target).expect("a key");
        let mut same = base.clone();
        same.packages.reverse();
        same.head = "# a comment\n".to_owned();
        same.packages[0].wheels[0].origin = Origin::Path("x.whl".to_owned());
        same.packages[0].wheels[0].size = Some(3);
        assert_eq!(key(&same), key(&base));
        // Swapped mirrors and changed logins are other URLs.
        for url in [
            "https://mirror.example/whl/x.whl",
            "https://user:pass@other.example/x.whl",
        ] {
            same.packages[0].wheels[0].origin = Origin::Url(url.parse().expect("a URL"));
            assert_eq!(key(&same), key(&base), "{url}");
        }
        for byte in 0..32 {
            let mut other = base.clone();
            let mut digest = *base.packages[0].wheels[0].digest.as_bytes();
            digest[byte] ^= 1;
            other.packages[0].wheels[0].digest = WheelDigest::from_bytes(digest);
            assert_ne!(key(&other), key(&base), "byte {byte} of a digest");
        }
        let changes: [fn(&mut Lockfile); 5] = [
            |lockfile| lockfile.targets[0].python_pinned = true,
            |lockfile| lockfile.packages[0].wheels[0].digest = WheelDigest::from_bytes([9; 32]),
            |lockfile| lockfile.packages[1].version = "3.18.1".parse().expect("a version"),
            |lockfile| lockfile.channel = "cu126".parse().expect("a channel"),
            |lockfile| lockfile.targets[0].backend = Backend::Cpu,
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut other = base.clone();
            change(&mut other);
            assert_ne!(key(&other), key(&base), "change {number}");
        }
    }
}
