//! RECORD: any bytes are read or refused, and what is read names safe paths only.
#![no_main]

use flambeau::wheel::record::{Record, RowHasher};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(record) = Record::parse(bytes) else { return };
    for path in record.paths() {
        assert!(!path.as_str().starts_with('/') && path.components().all(|part| !matches!(part, "" | "." | "..")));
        let row = record.get(path);
        let mut hasher = RowHasher::new(row);
        hasher.update(b"content");
        hasher.finish(row);
    }
});
