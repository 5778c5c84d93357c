//! Extra fields of a header: the ZIP64 sizes, and what would make a member another one for some readers.
//!
//! Refuses: fields that are cut or stand there twice, ZIP64 values that a reader could take for others, a Unicode name
//! that is not the header's, links.

use super::{u16_at, u32_at, u64_at};

const ZIP64: u16 = 0x0001;
/// PKWARE's Unix field: times and owner, then the target of a link.
const UNIX: u16 = 0x000d;
const UNIX_LEN: usize = 12;
const UNICODE_COMMENT: u16 = 0x6375;
const UNICODE_NAME: u16 = 0x7075;
/// Info-ZIP's `ASi` Unix field: CRC, mode, size of a link's target, owner, target.
const ASI_UNIX: u16 = 0x756e;

/// The fields that count, of one header.
pub(super) struct Fields<'a> {
    zip64: Option<&'a [u8]>,
}

impl<'a> Fields<'a> {
    /// Parses the fields of a header whose name is `name`.
    pub(super) fn parse(bytes: &'a [u8], name: &[u8]) -> Result<Self, &'static str> {
        let mut rest = bytes;
        let mut zip64 = None;
        let mut unicode = false;
        while !rest.is_empty() {
            if rest.len() < 4 {
                return Err("there are bytes behind its extra fields");
            }
            let (id, len) = (u16_at(rest, 0), usize::from(u16_at(rest, 2)));
            let body = rest
                .get(4..4 + len)
                .ok_or("an extra field is longer than its header says")?;
            match id {
                ZIP64 if zip64.replace(body).is_some() => return Err("it has two ZIP64 extra fields"),
                UNICODE_NAME => {
                    if std::mem::replace(&mut unicode, true) {
                        return Err("it has two Unicode names");
                    }
                    check_unicode(body, name)?;
                }
                // Comments of members are refused, so there is nothing that this could be the Unicode form of.
                UNICODE_COMMENT if body.len() > 5 => return Err("it has a comment"),
                UNIX if body.len() > UNIX_LEN => return Err("an extra field makes it a link or a device"),
                ASI_UNIX => check_asi(body)?,
                _ => {}
            }
            rest = &rest[4 + len..];
        }
        Ok(Self { zip64 })
    }

    /// The values of a header (size, compressed size and, in the central directory, offset) with those that are
    /// saturated taken from the ZIP64 field (APPNOTE §4.5.3), which holds them and no others. Writers that put further
    /// ones behind are believed where those repeat the header.
    pub(super) fn zip64<const N: usize>(&self, header: [u32; N]) -> Result<[u64; N], &'static str> {
        let wanted = header.iter().filter(|value| **value == u32::MAX).count();
        let mut result = header.map(u64::from);
        let Some(body) = self.zip64 else {
            return if wanted == 0 {
                Ok(result)
            } else {
                Err("its ZIP64 extra field is missing")
            };
        };
        if body.len() < wanted * 8 {
            return Err("its ZIP64 extra field is too short");
        }
        if !body.len().is_multiple_of(8) || body.len() > N * 8 {
            return Err("its ZIP64 extra field is too long");
        }
        let values: Vec<u64> = (0..body.len() / 8).map(|at| u64_at(body, at * 8)).collect();
        let (taken, further) = values.split_at(wanted);
        let mut taken = taken.iter();
        for slot in result.iter_mut().filter(|slot| **slot == u64::from(u32::MAX)) {
            *slot = *taken.next().ok_or("its ZIP64 extra field is too short")?;
        }
        // Where the saturated ones come first, both ways of counting give each value the same meaning.
        let in_order = header[..wanted].iter().all(|value| *value == u32::MAX);
        if further.is_empty() || (in_order && further == &result[wanted..values.len()]) {
            Ok(result)
        } else {
            Err("its ZIP64 extra field holds values that its header has too")
        }
    }
}

/// Info-ZIP's Unicode name: version, CRC of the header's name, the name. Readers that know it use it.
fn check_unicode(body: &[u8], name: &[u8]) -> Result<(), &'static str> {
    if body.len() < 5 || body[0] != 1 || u32_at(body, 1) != crc32fast::hash(name) || &body[5..] != name {
        return Err("an extra field gives it another name");
    }
    Ok(())
}

fn check_asi(body: &[u8]) -> Result<(), &'static str> {
    let is_plain =
        body.len() == 14 && u32_at(body, 6) == 0 && matches!(u16_at(body, 4) & 0o170_000, 0 | 0o100_000 | 0o040_000);
    if is_plain {
        Ok(())
    } else {
        Err("an extra field makes it a link or a device")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: u32 = u32::MAX;

    fn field(id: u16, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(body.len()).expect("short");
        [&id.to_le_bytes()[..], &len.to_le_bytes(), body].concat()
    }

    fn values(values: &[u64]) -> Vec<u8> {
        let body: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        field(ZIP64, &body)
    }

    #[test]
    fn zip64_values_have_one_meaning() {
        let read = |bytes: &[u8], header: [u32; 3]| Fields::parse(bytes, b"a").and_then(|fields| fields.zip64(header));
        for (bytes, header, expected) in [
            (vec![], [5, 7, 0], Some([5, 7, 0])),
            (values(&[]), [5, 7, 0], Some([5, 7, 0])),
            (values(&[9, 8]), [MAX, MAX, 3], Some([9, 8, 3])),
            (values(&[9, 8, 3]), [MAX, MAX, 3], Some([9, 8, 3])),
            (values(&[9]), [5, 7, MAX], Some([5, 7, 9])),
            (values(&[5, 7]), [5, 7, 3], Some([5, 7, 3])),
            // Which of them is the offset?
            (values(&[5, 7, 3]), [5, 7, MAX], None),
            (values(&[6, 7]), [5, 7, 3], None),
            (values(&[9, 8, 4]), [MAX, MAX, 3], None),
            (vec![], [MAX, 7, 0], None),
            (values(&[9]), [MAX, MAX, 0], None),
            (field(ZIP64, &[0; 12]), [MAX, 7, 0], None),
            ([values(&[9]), values(&[9])].concat(), [MAX, 7, 0], None),
        ] {
            assert_eq!(read(&bytes, header).ok(), expected, "{bytes:?} {header:?}");
        }
    }

    #[test]
    fn fields_that_make_another_member_are_refused() {
        let unicode = |crc: &[u8], name: &[u8]| {
            field(
                UNICODE_NAME,
                &[&[1], &crc32fast::hash(crc).to_le_bytes()[..], name].concat(),
            )
        };
        let asi = |mode: u16, target: &[u8]| {
            let len = u32::try_from(target.len()).expect("short").to_le_bytes();
            field(
                ASI_UNIX,
                &[&[0; 4], &mode.to_le_bytes()[..], &len, &[0; 4], target].concat(),
            )
        };
        for good in [
            vec![],
            unicode(b"a", b"a"),
            field(0x5455, &[3, 0, 0, 0, 0]),
            asi(0o100_644, b""),
        ] {
            assert!(Fields::parse(&good, b"a").is_ok(), "{good:?}");
        }
        for bad in [
            unicode(b"a", b"b"),
            unicode(b"b", b"a"),
            [unicode(b"a", b"a"), unicode(b"a", b"a")].concat(),
            asi(0o120_777, b""),
            asi(0o100_644, b"/etc/passwd"),
            field(UNIX, &[0; 20]),
            field(UNICODE_COMMENT, b"\x01\0\0\0\0x"),
            vec![0, 0, 0],
            vec![0, 0, 9, 0, 1],
        ] {
            assert!(Fields::parse(&bad, b"a").is_err(), "{bad:?}");
        }
    }
}
