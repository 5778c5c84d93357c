//! METADATA: any bytes are read or refused; what is read is of the wheel that was asked for.
#![no_main]

use flambeau::pep::WheelFilename;
use flambeau::wheel::metadata;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let file = "demo-1.0-py3-none-any.whl";
    let filename: WheelFilename = file.parse().expect("a wheel name");
    if let Ok(read) = metadata::parse(bytes, file, &filename) {
        assert_eq!((read.name, read.version), (filename.name, filename.version));
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        metadata::requires_python(text).ok();
    }
});
