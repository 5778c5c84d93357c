//! `entry_points.txt`: what is read makes scripts of safe names whose text holds nothing but identifiers of it.
#![no_main]

use flambeau::wheel::entry_points::{self, SCRIPT_HEAD};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    entry_points::rewrite_script(text.as_bytes());
    for script in entry_points::parse(text).unwrap_or_default() {
        entry_points::check_name(&script.name).expect("a safe name");
        assert!(!script.name.contains('/'));
        let contents = String::from_utf8(script.contents()).expect("text");
        let body = contents.strip_prefix(SCRIPT_HEAD).expect("our first lines");
        assert_eq!(body.lines().count(), 4, "{body}");
        let ours = |c: char| c.is_alphanumeric() || " ._\n\":=()".contains(c);
        assert!(body.chars().all(ours), "{body}");
    }
});
