use std::io::{self, Write as _};

use zip::write::SimpleFileOptions;

use super::*;

fn sample(stored: bool) -> Vec<u8> {
    let method = if stored {
        zip::CompressionMethod::Stored
    } else {
        zip::CompressionMethod::Deflated
    };
    let options = SimpleFileOptions::default()
        .compression_method(method)
        .unix_permissions(0o644);
    let mut writer = zip::ZipWriter::new(io::Cursor::new(Vec::new()));
    for (name, body) in [("a/b.py", b"print('b')\n".repeat(50)), ("a/ü.txt", b"text".to_vec())] {
        writer.start_file(name, options).expect("a member");
        writer.write_all(&body).expect("written");
    }
    writer
        .start_file("a/tool", options.unix_permissions(0o755))
        .expect("a member");
    writer.finish().expect("finished").into_inner()
}

fn read_all(bytes: &[u8]) -> Result<Vec<(String, Vec<u8>)>, ArchiveError> {
    let archive = Archive::open(bytes)?;
    archive.check_members()?;
    archive
        .entries()
        .iter()
        .map(|entry| Ok((entry.name.clone(), archive.read(entry, 1 << 20)?)))
        .collect()
}

#[test]
fn members_come_back_whole() {
    for stored in [true, false] {
        let bytes = sample(stored);
        let members = read_all(&bytes).expect("a good archive");
        assert_eq!(members[0].1, b"print('b')\n".repeat(50));
        assert_eq!(members[1], ("a/ü.txt".to_owned(), b"text".to_vec()));
        let archive = Archive::open(bytes.as_slice()).expect("a good archive");
        assert_eq!(
            archive
                .entries()
                .iter()
                .map(|entry| entry.executable)
                .collect::<Vec<_>>(),
            [false, false, true]
        );
    }
}

/// Whatever single byte is changed and wherever the archive is cut: an error, or the same members.
#[test]
fn damage_is_found() {
    let good = sample(false);
    let members = read_all(&good).expect("a good archive");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        if let Ok(other) = read_all(&bad) {
            assert_eq!(other, members, "byte {at}");
        }
        assert!(read_all(&good[..at]).is_err(), "cut at {at}");
    }
    assert!(read_all(&[b"x", good.as_slice()].concat()).is_err(), "bytes before");
    assert!(read_all(&[good.as_slice(), b"x"].concat()).is_err(), "bytes after");
    assert!(
        read_all(&[good.as_slice(), good.as_slice()].concat()).is_err(),
        "two archives"
    );
}
