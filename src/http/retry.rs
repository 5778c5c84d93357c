//! When to try again, and how long to wait before it.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::Duration;

use super::error::Error;

/// Bounds for trying again: exponential waits with jitter, a server's `Retry-After` honoured up to a cap.
#[derive(Debug, Clone, Copy)]
pub struct Retry {
    /// How often a request is sent at most, the first time included.
    pub tries: u32,
    /// The wait before the second try; it doubles from there.
    pub base: Duration,
    /// No wait is longer, whatever the server asks.
    pub cap: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            tries: 4,
            base: Duration::from_millis(500),
            cap: Duration::from_mins(1),
        }
    }
}

impl Retry {
    /// The wait after the failed try number `attempt` (from 1), or `None` where trying again is useless or used up.
    #[must_use]
    pub fn wait(&self, attempt: u32, error: &Error) -> Option<Duration> {
        if attempt >= self.tries || !error.is_transient() {
            return None;
        }
        let backoff = self.base.saturating_mul(1u32 << (attempt - 1).min(10));
        let wait = match error.retry_after() {
            // Coming back earlier than asked would only be refused again.
            Some(asked) => asked.max(jittered(self.base)),
            None => jittered(backoff),
        };
        Some(wait.min(self.cap))
    }

    /// Runs `operation` until it succeeds or trying again is useless.
    pub fn run<T>(&self, mut operation: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
        let mut attempt = 1;
        loop {
            match operation() {
                Ok(value) => return Ok(value),
                Err(error) => match self.wait(attempt, &error) {
                    Some(wait) => std::thread::sleep(wait),
                    None => return Err(error),
                },
            }
            attempt += 1;
        }
    }
}

/// Between half of `wait` and all of it, so that clients that failed together do not come back together.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() % 1024;
    let half = wait / 2;
    half + half * u32::try_from(random).unwrap_or(0) / 1024
}

/// The seconds of a `Retry-After` header. The form with a date is rare and needs a trusted clock; it counts as absent.
pub(super) fn retry_after(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(code: u16, retry_after: Option<u64>) -> Error {
        Error::Status {
            host: "example.org".to_owned(),
            code,
            url: (&url::Url::parse("https://example.org/").expect("a URL")).into(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn waits_grow_and_stay_within_bounds() {
        let retry = Retry::default();
        for (attempt, full) in [(1, 500), (2, 1000), (3, 2000)] {
            let wait = retry.wait(attempt, &status(503, None)).expect("tried again");
            assert!((full / 2..=full).contains(&wait.as_millis()), "{attempt}: {wait:?}");
        }
        assert_eq!(retry.wait(4, &status(503, None)), None);
        assert_eq!(retry.wait(1, &status(404, None)), None);
    }

    #[test]
    fn retry_after_is_honoured_up_to_the_cap() {
        let retry = Retry::default();
        assert_eq!(retry.wait(1, &status(429, Some(7))), Some(Duration::from_secs(7)));
        assert_eq!(retry.wait(1, &status(429, Some(86_400))), Some(retry.cap));
        assert_eq!(retry_after(" 12 "), Some(Duration::from_secs(12)));
        assert_eq!(retry_after("Wed, 21 Oct 2015 07:28:00 GMT"), None);
    }
}
