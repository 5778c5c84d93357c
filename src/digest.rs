//! SHA-256 digests and the environment key, one type a role.
//!
//! Owns: the 32 bytes, their text form (64 lower-case hex digits), and the separation of roles. A [`WheelDigest`]
//! never converts to a [`TreeDigest`] or an [`EnvironmentKey`]; that mix-up is a compile error.
//! Refuses: text that is not exactly 64 hex digits. Upper-case digits are accepted and written back in lower case,
//! because index pages and lockfiles of other tools hold both.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::Digest as _;

/// Text that is no SHA-256 in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a SHA-256 digest (64 hexadecimal digits)")]
pub struct ParseDigestError {
    text: String,
}

fn parse_hex(text: &str) -> Result<[u8; 32], ParseDigestError> {
    let error = || ParseDigestError {
        text: text.chars().take(80).collect(),
    };
    if text.len() != 64 || !text.is_ascii() {
        return Err(error());
    }
    let mut bytes = [0u8; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let nibble = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
        };
        let (Some(high), Some(low)) = (nibble(pair[0]), nibble(pair[1])) else {
            return Err(error());
        };
        *byte = high << 4 | low;
    }
    Ok(bytes)
}

fn write_hex(bytes: &[u8], formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
}

macro_rules! digest_role {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// Wraps 32 bytes that were computed elsewhere.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The 32 bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// Hashes `bytes` in this role.
            #[must_use]
            pub fn of(bytes: &[u8]) -> Self {
                let mut hasher = Hasher::new();
                hasher.update(bytes);
                Self(hasher.finish())
            }

            /// The first 40 hex digits, which folder names use.
            #[must_use]
            pub fn short(&self) -> String {
                let mut text = self.to_string();
                text.truncate(40);
                text
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(&self.0, formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, concat!(stringify!($name), "({})"), self)
            }
        }

        impl FromStr for $name {
            type Err = ParseDigestError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                parse_hex(text).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

digest_role! {
    /// SHA-256 of a wheel file, as index pages and lockfiles carry it.
    WheelDigest
}
digest_role! {
    /// SHA-256 of the bytes of one installed file.
    FileDigest
}
digest_role! {
    /// Digest of a logical directory tree (see [`crate::wheel::manifest`]); how files are linked does not count.
    TreeDigest
}
digest_role! {
    /// SHA-256 of a lockfile's bytes.
    LockfileDigest
}
digest_role! {
    /// SHA-256 of a lockfile's requirements in canonical form.
    RequirementsDigest
}
digest_role! {
    /// The key that names an environment: a hash of inputs, not of bytes on disk (see [`crate::key`]).
    EnvironmentKey
}

/// A running SHA-256 over bytes; the role is chosen when it is finished.
#[derive(Clone, Default)]
pub struct Hasher(sha2::Sha256);

impl Hasher {
    /// An empty hash.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The 32 bytes of the finished hash.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finalize().into()
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Hashes everything that `reader` yields; returns the 32 bytes and the number of bytes read.
pub fn hash_reader(mut reader: impl Read) -> io::Result<([u8; 32], u64)> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0u8; 1 << 18];
    let mut total = 0u64;
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok((hasher.finish(), total)),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                total += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_digest_round_trips() {
        let digest = FileDigest::of(b"");
        assert_eq!(digest.to_string(), EMPTY);
        assert_eq!(EMPTY.parse::<FileDigest>(), Ok(digest));
        assert_eq!(EMPTY.to_uppercase().parse::<FileDigest>(), Ok(digest));
        assert_eq!(digest.short(), EMPTY[..40]);
    }

    #[test]
    fn bad_text_is_refused() {
        for text in [
            "",
            "e3b0",
            &EMPTY[1..],
            &format!("{EMPTY}0"),
            &EMPTY.replace('e', "g"),
            &"é".repeat(32),
        ] {
            assert!(text.parse::<WheelDigest>().is_err(), "{text}");
        }
    }

    #[test]
    fn f06_a_read_that_a_signal_interrupts_goes_on() {
        struct Interrupted(Vec<io::Result<usize>>);
        impl Read for Interrupted {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                buffer[0] = 7;
                self.0.pop().unwrap_or(Ok(0))
            }
        }
        let interrupt = || Err(io::ErrorKind::Interrupted.into());
        let reader = Interrupted(vec![interrupt(), Ok(1), interrupt()]);
        let (digest, total) = hash_reader(reader).expect("it is read to its end");
        assert_eq!((digest, total), (*FileDigest::of(&[7]).as_bytes(), 1));
    }

    #[test]
    fn reader_and_slice_agree() {
        let bytes = vec![7u8; 1_000_003];
        let (digest, total) = hash_reader(bytes.as_slice()).expect("a slice never fails to read");
        assert_eq!(digest, *FileDigest::of(&bytes).as_bytes());
        assert_eq!(total, 1_000_003);
    }
}
