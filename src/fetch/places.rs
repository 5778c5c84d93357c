//! The places that a wheel may come from, one after the other: those that are known, then those that are found out.

use std::collections::VecDeque;

use url::Url;

use super::download::Download;
use super::error::Error;
use super::{Fetcher, Run, Wanted};
use crate::http::host;
use crate::progress::Event;

impl Fetcher<'_> {
    /// Tries the known places, then those that are found out.
    pub(super) fn try_sources(&self, download: &mut Download<'_>, run: &Run<'_>) -> Result<(), Error> {
        let wanted = download.wanted;
        let offline = self.http.is_offline();
        // Of a wheel without a digest no list of what is missing was made: asking says that the network is needed.
        let usable = |url: &Url| !offline || url.scheme() == "file" || wanted.digest.is_none();
        let mut urls: VecDeque<Url> = wanted.urls.iter().filter(|url| usable(url)).cloned().collect();
        let mut tried: Vec<Url> = Vec::new();
        let mut failures: Vec<Error> = Vec::new();
        let mut located = false;
        loop {
            let Some(url) = urls.pop_front() else {
                if located {
                    break;
                }
                located = true;
                match (run.options.locate)(wanted) {
                    Ok(more) => urls.extend(more.into_iter().filter(|url| usable(url) && !tried.contains(url))),
                    Err(source) if failures.is_empty() => {
                        let file = wanted.file.clone();
                        return Err(Error::Locate { file, source });
                    }
                    // That no other place can be found matters less than why the known ones failed.
                    Err(_) => {}
                }
                if let (Some(failure), Some(next)) = (failures.last(), urls.front()) {
                    warn(run, failure, next);
                }
                continue;
            };
            match download.fetch_from(&url) {
                Ok(()) => return Ok(()),
                Err(error) if error.is_of_the_source() => {
                    if let Some(next) = urls.front() {
                        warn(run, &error, next);
                    }
                    failures.push(error);
                    tried.push(url);
                }
                Err(error) => return Err(error),
            }
        }
        // Wrong bytes are the gravest of several failures; else the best place's failure tells most.
        let gravest = failures.iter().position(|error| matches!(error, Error::Digest { .. }));
        if failures.is_empty() {
            return Err(Error::Nowhere {
                file: wanted.file.clone(),
                digest: wanted.digest,
            });
        }
        Err(failures.swap_remove(gravest.unwrap_or(0)))
    }
}

/// Whether a wheel can be had without a network.
pub(super) fn has_local_source(wanted: &Wanted, run: &Run<'_>) -> bool {
    let is_local = |urls: &[Url]| urls.iter().any(|url| url.scheme() == "file");
    is_local(&wanted.urls) || (run.options.locate)(wanted).is_ok_and(|urls| is_local(&urls))
}

fn warn(run: &Run<'_>, failure: &Error, next: &Url) {
    let mut message = failure.to_string();
    let mut source = std::error::Error::source(failure);
    while let Some(error) = source {
        message = format!("{message}: {error}");
        source = error.source();
    }
    let place = if next.scheme() == "file" {
        "this machine".to_owned()
    } else {
        host(next)
    };
    run.report(Event::Warning {
        message: &format!("{message}; trying {place}"),
    });
}
