//! Sizes and durations as people write them.

use std::time::Duration;

/// A number of bytes: `500`, `10GB`, `1.5 TiB`, `200M`. Without an `i`, units are powers of 1000.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no size; write one like `10GB` or `500MiB`");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let number: f64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.to_ascii_lowercase();
    let unit = unit.strip_suffix('b').unwrap_or(&unit);
    let (letter, base) = match unit.strip_suffix('i') {
        Some(letter) => (letter, 1024f64),
        None => (unit, 1000f64),
    };
    let power = ["", "k", "m", "g", "t", "p"].iter().position(|known| *known == letter);
    let power = power
        .filter(|power| *power > 0 || !unit.ends_with('i'))
        .ok_or_else(wrong)?;
    let bytes = number * base.powi(i32::try_from(power).unwrap_or_default());
    // Beyond 2^53 bytes nobody counts single ones.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "checked to be in range"
    )]
    (bytes.is_finite() && (0.0..1e18).contains(&bytes))
        .then_some(bytes.round() as u64)
        .ok_or_else(wrong)
}

/// A duration: `30d`, `12h`, `90m`, `45s`, `2w`; `0` needs no unit.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is no duration; write one like `30d`, `12h` or `0s`");
    let (number, unit) = split(text).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let seconds = match unit {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "" if number == 0 => 1,
        _ => return Err(wrong()),
    };
    number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)
}

/// A number and what follows it.
fn split(text: &str) -> Option<(&str, &str)> {
    let text = text.trim();
    let end = text
        .find(|one: char| !one.is_ascii_digit() && one != '.')
        .unwrap_or(text.len());
    (end > 0).then(|| (&text[..end], text[end..].trim()))
}

/// A duration in its largest fitting unit: `7 days`, `3 hours`, `1 minute`.
#[must_use]
pub fn human_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (number, unit) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{number} {unit}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("500", 500),
            ("10GB", 10_000_000_000),
            ("10 gb", 10_000_000_000),
            ("1.5KiB", 1536),
            ("2M", 2_000_000),
            ("1Ti", 1 << 40),
            ("7b", 7),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for wrong in ["", "GB", "-1", "1x", "1ib", "1..2", "1e9", "99999999P"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations() {
        for (text, seconds) in [
            ("0", 0),
            ("0s", 0),
            ("45s", 45),
            ("2 h", 7200),
            ("30d", 2_592_000),
            ("1w", 604_800),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in ["", "d", "5", "-1d", "1.5d", "1y", "99999999999999999w"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
        assert_eq!(human_duration(Duration::from_secs(1)), "1 second");
        assert_eq!(human_duration(Duration::from_hours(47)), "47 hours");
        assert_eq!(human_duration(Duration::from_hours(168)), "7 days");
    }
}
