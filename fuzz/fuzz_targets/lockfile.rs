//! Lockfiles: flambeau's own, pylock of other tools, requirements files and `uv.lock`.
#![no_main]

use std::path::Path;

use flambeau::backend::Channel;
use flambeau::lockfile::foreign::{Asked, Foreign};
use flambeau::lockfile::keys::Keys;
use flambeau::lockfile::text;
use flambeau::pep::Version;
use flambeau::target::Target;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &str)| {
    let (form, document) = input;
    let channel: Channel = "cu118".parse().expect("a channel");
    if form % 4 == 0 {
        if let Ok(parsed) = text::parse(document, &channel) {
            // What was read is written in one form, which reads back to the same.
            let written = parsed.lockfile.to_text();
            let again = text::parse(&written, &channel).expect("our own text");
            assert_eq!(again.lockfile.to_text(), written);
        }
        Keys::parse(document).ok();
    }
    let name = ["pylock.toml", "requirements.txt", "uv.lock", "pylock.cuda.toml"][usize::from(form % 4)];
    let target: Target = "cp311-manylinux_2_28_x86_64".parse().expect("a target");
    let python: Version = "3.11.7".parse().expect("a version");
    let asked = Asked { target: &target, python: &python, extras: &[], groups: &[] };
    if let Ok(file) = Foreign::read(&Path::new("/srv/project").join(name), document, false) {
        file.pins(&asked).ok();
    }
});
