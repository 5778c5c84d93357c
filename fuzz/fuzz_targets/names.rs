//! File names of wheels, versions, specifiers, requirements, markers, targets and tags, requests for a Python.
#![no_main]

use std::path::Path;

use flambeau::backend::{Channel, Preference};
use flambeau::digest::WheelDigest;
use flambeau::pep::{PackageName, Requirement, Version, VersionSpecifiers, WheelFilename};
use flambeau::python::Request;
use flambeau::relpath::RelPath;
use flambeau::target::{PythonMinor, Target};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let target: Target = "cp311-manylinux_2_28_x86_64".parse().expect("a target");
    let python: Version = "3.11.7".parse().expect("a version");
    if let Ok(wheel) = text.parse::<WheelFilename>() {
        wheel.compatibility(&target.tags());
        let again: WheelFilename = wheel.to_string().parse().expect("its own text");
        assert_eq!(again, wheel);
    }
    if let Ok(version) = text.parse::<Version>() {
        assert_eq!(version.to_string().parse::<Version>().ok().as_ref(), Some(&version));
    }
    if let Ok(specifiers) = text.parse::<VersionSpecifiers>() {
        specifiers.contains(&python);
    }
    if let Ok(requirement) = text.parse::<Requirement>() {
        requirement.evaluate_markers(&target.markers(&python), &[]);
        requirement.to_string();
    }
    if let Ok(target) = text.parse::<Target>() {
        assert_eq!(target.to_string().parse::<Target>().ok(), Some(target));
        target.tags();
        target.markers(&python);
    }
    if let Ok(path) = RelPath::new(text) {
        assert!(path.components().all(|part| !matches!(part, "" | "." | "..")));
        assert!(Path::new("/root").join(&path).starts_with("/root"));
    }
    text.parse::<PackageName>().ok();
    text.parse::<PythonMinor>().ok();
    text.parse::<Channel>().ok();
    text.parse::<Preference>().ok();
    text.parse::<WheelDigest>().ok();
    Request::parse(text, Path::new("/srv")).ok();
});
