//! What a file's pins come to: the targets that are tried, the channel, the wheels that digests mean, the lockfile.

use std::path::Path;

use url::Url;

use super::FromError;
use crate::backend::{Backend, Channel, PYTORCH_INDEX, is_family};
use crate::digest::WheelDigest;
use crate::lockfile::foreign::{Files, Pinned};
use crate::lockfile::{LockedPackage, LockedTarget, LockedWheel, Lockfile, Origin, Settings};
use crate::pep::{MarkerTree, Version, WheelFilename};
use crate::project::network::Network;
use crate::python::Interpreter;
use crate::target::{Platform, Target};

/// The floors that an interpreter's environment may be built for, the preferred one first.
pub(super) fn targets_of(interpreter: &Interpreter) -> Vec<Target> {
    let own = interpreter.target();
    let common = match own.platform {
        Platform::Manylinux(major, minor, machine) if (major, minor) > (2, 28) => Platform::Manylinux(2, 28, machine),
        Platform::Musllinux(major, minor, machine) if (major, minor) > (1, 2) => Platform::Musllinux(1, 2, machine),
        other => other,
    };
    let mut targets = vec![Target {
        platform: common,
        ..own
    }];
    if common != own.platform {
        targets.push(own);
    }
    targets
}

/// The first package whose wheels are known and do not fit `target`.
pub(super) fn misfit<'a>(pins: &'a [Pinned], target: &Target) -> Option<(&'a Pinned, &'a [LockedWheel])> {
    let tags = target.tags();
    pins.iter().find_map(|pin| match &pin.files {
        Files::Wheels(wheels) if !wheels.iter().any(|wheel| wheel.filename.is_compatible(&tags)) => {
            Some((pin, wheels.as_slice()))
        }
        _ => None,
    })
}

/// The channel that a torch comes from: its version's local label (`2.7.0+cu118`), else the place of its wheels.
pub(super) fn channel_of(pins: &[Pinned]) -> Option<Channel> {
    let torch = pins.iter().find(|pin| pin.name.as_str() == "torch")?;
    let Files::Wheels(wheels) = &torch.files else {
        return channel_of_wheel(&torch.version, None);
    };
    wheels.iter().find_map(|wheel| match &wheel.origin {
        Origin::Url(url) => channel_of_wheel(&torch.version, Some(url)),
        _ => channel_of_wheel(&torch.version, None),
    })
}

/// The channel of PyTorch's own that a wheel of the family is of: its local label, else its place.
pub(in crate::project) fn channel_of_wheel(version: &Version, url: Option<&Url>) -> Option<Channel> {
    if let Some((_, label)) = version.to_string().split_once('+') {
        return known_label(label);
    }
    let rest = url?.as_str().strip_prefix(PYTORCH_INDEX)?.strip_prefix('/')?;
    known_label(rest.split_once('/')?.0)
}

/// `cu118`, `rocm6.3`, `cpu`, `xpu`: a label that one of PyTorch's channels has. Other labels are other people's.
fn known_label(label: &str) -> Option<Channel> {
    let channel: Channel = label.parse().ok()?;
    let numbers = |rest: &str| rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let known = match label {
        "cpu" | "xpu" => true,
        label => label
            .strip_prefix("cu")
            .or_else(|| label.strip_prefix("rocm"))
            .is_some_and(|rest| !rest.is_empty() && numbers(rest)),
    };
    known.then_some(channel)
}

/// Finds the wheels of packages that are pinned by digest alone: on the one index that their name comes from, and,
/// where that cannot be asked, in the cache.
pub(super) fn look_up(path: &Path, pins: &mut [Pinned], network: &Network, channel: &Channel) -> Result<(), FromError> {
    for pin in pins {
        let Files::Digests(digests) = &pin.files else { continue };
        let mut wheels: Vec<LockedWheel> = Vec::new();
        let page = network.sources.page(&pin.name);
        for file in page.iter().flatten().flat_map(|page| &page.wheels) {
            let Some(digest) = file.digest.filter(|digest| digests.contains(digest)) else {
                continue;
            };
            if file.filename.version != pin.version || wheels.iter().any(|known| known.file == file.file) {
                continue;
            }
            wheels.push(LockedWheel {
                filename: file.filename.clone(),
                file: file.file.clone(),
                origin: if is_family(&pin.name) && !channel.is_pip() {
                    Origin::Url(network.sources.canonical_url(&file.url))
                } else {
                    Origin::Index
                },
                size: file.size,
                digest,
            });
        }
        if wheels.is_empty() {
            wheels = in_cache(pin, digests, network);
        }
        match (wheels.is_empty(), page) {
            (false, _) => {}
            (true, Err(source)) => {
                return Err(FromError::Index {
                    name: pin.name.clone(),
                    source: Box::new(source),
                });
            }
            (true, Ok(_)) => {
                let place = network.sources.place(&pin.name);
                return Err(FromError::Unlisted {
                    path: path.to_owned(),
                    name: pin.name.clone(),
                    version: pin.version.clone(),
                    digests: digests.len(),
                    place: place.map_or_else(|_| "the package index".to_owned(), |place| place.to_string()),
                });
            }
        }
        wheels.sort_by(|left, right| left.file.cmp(&right.file));
        pin.files = Files::Wheels(wheels);
    }
    Ok(())
}

/// The wheels of a package that stand in the cache under one of the digests.
fn in_cache(pin: &Pinned, digests: &[WheelDigest], network: &Network) -> Vec<LockedWheel> {
    let cached = |digest: &WheelDigest| {
        let file = network.cache.wheel_name(digest)?;
        let filename: WheelFilename = file.parse().ok()?;
        (filename.name == pin.name && filename.version == pin.version).then_some(LockedWheel {
            filename,
            file,
            origin: Origin::Index,
            size: None,
            digest: *digest,
        })
    };
    digests.iter().filter_map(cached).collect()
}

/// A lockfile with one target, whose backend is not known yet.
pub(super) fn lockfile_of(pins: Vec<Pinned>, channel: &Channel, target: &Target, python: &Version) -> Lockfile {
    let mut packages: Vec<LockedPackage> = pins
        .into_iter()
        .map(|pin| LockedPackage {
            name: pin.name,
            version: pin.version,
            marker: MarkerTree::TRUE,
            requires_python: None,
            dependencies: Vec::new(),
            wheels: match pin.files {
                Files::Wheels(wheels) => wheels,
                Files::Digests(_) => Vec::new(),
            },
        })
        .collect();
    packages.sort_by(|left, right| (&left.name, &left.version).cmp(&(&right.name, &right.version)));
    Lockfile {
        head: String::new(),
        channel: channel.clone(),
        requirements: Vec::new(),
        targets: vec![LockedTarget {
            target: *target,
            python_full_version: python.clone(),
            python_boundaries: Vec::new(),
            backend: Backend::Cpu,
            python_pinned: false,
        }],
        packages,
        requires_python: None,
        settings: Settings::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn torch(version: &str, url: &str) -> Pinned {
        let file = format!("torch-{version}-cp311-cp311-manylinux_2_28_x86_64.whl");
        Pinned {
            name: "torch".parse().expect("a name"),
            version: version.parse().expect("a version"),
            files: Files::Wheels(vec![LockedWheel {
                filename: file.parse().expect("a wheel"),
                origin: Origin::Url(format!("{url}/{file}").parse().expect("a URL")),
                file,
                size: None,
                digest: WheelDigest::of(b""),
            }]),
        }
    }

    #[test]
    fn torch_names_its_channel() {
        let rows = [
            ("2.7.0+cu118", "https://example.org", Some("cu118")),
            ("2.7.0+rocm6.3", "https://example.org", Some("rocm6.3")),
            ("2.6.0+rocm6.2.4", "https://example.org", Some("rocm6.2.4")),
            ("2.7.0+cpu", "https://example.org", Some("cpu")),
            ("2.7.0+xpu", "https://example.org", Some("xpu")),
            ("2.7.0+mine", "https://example.org", None),
            ("2.7.0+cu118.mine", "https://example.org", None),
            ("2.7.0", "https://example.org", None),
            ("2.7.0", "https://download.pytorch.org/whl/cpu", Some("cpu")),
            ("2.7.0", "https://download.pytorch.org/whl/nightly", None),
            ("2.7.0", "https://download.pytorch.org/whl", None),
        ];
        for (version, url, channel) in rows {
            let found = channel_of(&[torch(version, url)]);
            assert_eq!(found.as_ref().map(Channel::as_str), channel, "{version} at {url}");
        }
        assert_eq!(channel_of(&[]), None);
    }
}
