//! Whether bytes are an HTML page where a file was asked for: a login page, a captive portal, a proxy's complaint.

/// So many bytes of a file tell.
pub const HEAD: usize = 512;

/// How pages begin. A wheel begins with `PK`, metadata with a name and a colon.
const BEGINNINGS: [&[u8]; 6] = [b"<!doctype html", b"<html", b"<head", b"<body", b"<script", b"<!--"];

/// Whether a file that begins with `head` is an HTML page. A server that calls everything `text/html` is believed only
/// where the bytes are no archive either.
#[must_use]
pub fn is_page(head: &[u8], content_type: Option<&str>) -> bool {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let begins = |with: &&[u8]| {
        text.get(..with.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(with))
    };
    if BEGINNINGS.iter().any(begins) {
        return true;
    }
    let kind = content_type.and_then(|kind| kind.split(';').next()).map(str::trim);
    let called = kind.is_some_and(|kind| {
        kind.eq_ignore_ascii_case("text/html") || kind.eq_ignore_ascii_case("application/xhtml+xml")
    });
    called && text.first() == Some(&b'<')
}

/// Whether more bytes than these are needed to tell. The first of a wheel's is enough.
#[must_use]
pub fn is_undecided(head: &[u8]) -> bool {
    head.len() < HEAD && matches!(head.trim_ascii_start().first(), None | Some(b'<' | 0xef))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_told_from_files() {
        for page in [
            &b"<!DOCTYPE html>\n<title>Log in</title>"[..],
            b"\xef\xbb\xbf\r\n  <HTML lang=en>",
            b"<!-- portal --><html>",
            b"<script>location = 'https://login'</script>",
        ] {
            assert!(is_page(page, None));
        }
        assert!(is_page(
            b"<?xml version='1.0'?><html>",
            Some("text/html; charset=utf-8")
        ));
        assert!(!is_page(b"<?xml version='1.0'?><x>", None));
        for (file, kind) in [
            (&b"PK\x03\x04"[..], Some("text/html")),
            (b"", Some("text/html")),
            (b"Metadata-Version: 2.1\n", Some("text/html")),
        ] {
            assert!(!is_page(file, kind));
        }
    }
}
