//! Downloads against servers that misbehave.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::*;
use crate::digest::WheelDigest;
use crate::http::testing::{Reply, Seen, Server, http, options};
use crate::http::{self, Options};
use crate::progress::Silent;

pub(super) const FILE: &str = "demo-1-py3-none-any.whl";

pub(super) fn content() -> Vec<u8> {
    (0..200_000u32)
        .map(|n| u8::try_from(n * 31 % 253).expect("small"))
        .collect()
}

/// Keeps what was reported, as the JSON that programs would read.
#[derive(Default)]
pub(super) struct Log(Mutex<Vec<serde_json::Value>>);

impl Reporter for Log {
    fn event(&self, event: Event<'_>) {
        let value = serde_json::to_value(event).expect("serialisable");
        self.0.lock().expect("no panic").push(value);
    }
}

impl Log {
    pub(super) fn all(&self, kind: &str) -> Vec<serde_json::Value> {
        let events = self.0.lock().expect("no panic");
        events.iter().filter(|event| event["event"] == kind).cloned().collect()
    }
}

pub(super) struct World {
    folder: tempfile::TempDir,
    pub(super) http: Http,
    pub(super) cache: Cache,
}

impl World {
    pub(super) fn new() -> Self {
        Self::with(options())
    }

    pub(super) fn with(options: Options) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let cache = Cache::new(folder.path().join("cache"));
        Self {
            folder,
            http: Http::new(options),
            cache,
        }
    }

    pub(super) fn fetcher(&self) -> Fetcher<'_> {
        Fetcher::new(&self.http, &self.cache)
    }

    fn fetch(&self, wanted: &[Wanted], reporter: &dyn Reporter) -> Result<Vec<VerifiedWheel>, Error> {
        self.fetcher().fetch_all(wanted, &FetchOptions::default(), reporter)
    }

    /// The names of the files under `partial/`.
    pub(super) fn partial(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.cache.root().join("partial"))
            .expect("a folder")
            .map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    pub(super) fn assert_has(&self, wheel: &VerifiedWheel) {
        assert_eq!(std::fs::read(wheel.path()).expect("there"), content());
        assert_eq!(wheel.path(), self.cache.wheel_path(wheel.digest(), wheel.file()));
        assert_eq!(self.partial(), [""; 0]);
    }

    pub(super) fn assert_nothing_visible(&self) {
        assert!(!self.cache.root().join("wheels").exists());
    }
}

pub(super) fn wanted(urls: &[Url]) -> Wanted {
    Wanted {
        file: FILE.to_owned(),
        digest: Some(WheelDigest::of(&content())),
        size: Some(200_000),
        urls: urls.to_vec(),
    }
}

pub(super) fn one(result: Result<Vec<VerifiedWheel>, Error>) -> VerifiedWheel {
    let mut wheels = result.expect("fetched");
    assert_eq!(wheels.len(), 1);
    wheels.remove(0)
}

/// A file server whose first `times` answers break off after `cut` bytes.
fn breaking(times: usize, cut: usize) -> Server {
    let answers = AtomicUsize::new(0);
    Server::start(move |seen| {
        let reply = Reply::file(seen, &content()).with("etag", "\"v1\"");
        let cut = (answers.fetch_add(1, Ordering::SeqCst) < times).then(|| cut.min(reply.body.len()));
        Reply { cut, ..reply }
    })
}

#[test]
fn a_wheel_is_fetched_checked_and_taken_from_the_cache_the_next_time() {
    let world = World::new();
    let server = Server::start(|seen| Reply::file(seen, &content()));
    let log = Log::default();
    let wheel = one(world.fetch(&[wanted(&[server.at(FILE)])], &log));
    world.assert_has(&wheel);
    assert_eq!((wheel.evidence(), wheel.size()), (Evidence::Downloaded, 200_000));
    let advanced: u64 = log
        .all("fetch-advanced")
        .iter()
        .filter_map(|event| event["bytes"].as_u64())
        .sum();
    assert_eq!(advanced, 200_000);
    assert_eq!(log.all("fetch-planned")[0]["bytes"], 200_000);
    assert_eq!(log.all("fetch-finished").len(), 1);

    let wheel = one(world.fetch(&[wanted(&[])], &Silent));
    assert_eq!(wheel.evidence(), Evidence::Cached);
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn a_cached_wheel_of_the_wrong_size_is_fetched_again() {
    let world = World::new();
    let server = Server::start(|seen| Reply::file(seen, &content()));
    let path = world.cache.wheel_path(&WheelDigest::of(&content()), FILE);
    std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
    std::fs::write(&path, b"truncated").expect("written");
    let wheel = one(world.fetch(&[wanted(&[server.at(FILE)])], &Silent));
    world.assert_has(&wheel);
}

#[test]
fn f54_a_download_that_breaks_anywhere_goes_on_where_it_broke() {
    for cut in [0, 1, 99_999, 199_999] {
        let world = World::new();
        let server = breaking(2, cut);
        let wheel = one(world.fetch(&[wanted(&[server.at(FILE)])], &Silent));
        world.assert_has(&wheel);
        let seen = server.seen();
        let second = (cut > 0).then(|| format!("bytes={cut}-"));
        assert_eq!(seen[1].header("range"), second.as_deref());
        assert_eq!(seen[1].header("if-range"), second.as_ref().map(|_| "\"v1\""));
    }
}

#[test]
fn f54_a_download_that_never_gets_on_is_given_up_and_its_bytes_are_kept() {
    let world = World::new();
    let server = breaking(usize::MAX, 1000);
    let error = world.fetch(&[wanted(&[server.at(FILE)])], &Silent).expect_err("broken");
    assert!(
        matches!(
            &error,
            Error::Http {
                source: http::Error::Truncated { .. },
                ..
            }
        ),
        "{error:?}"
    );
    assert_eq!(server.seen().len(), 4, "bounded");
    world.assert_nothing_visible();
    let digest = WheelDigest::of(&content());
    assert_eq!(world.partial(), [format!("{digest}.json"), format!("{digest}.part")]);

    let log = Log::default();
    let good = breaking(0, 0);
    let wheel = one(world.fetch(&[wanted(&[good.at(FILE)])], &log));
    world.assert_has(&wheel);
    assert_eq!(log.all("fetch-started")[0]["have"], 4000);
    assert_eq!(good.seen()[0].header("range"), Some("bytes=4000-"));
    assert_eq!(
        good.seen()[0].header("if-range"),
        None,
        "another place's tag means nothing here"
    );
}

/// Leaves a part of an interrupted run behind: `bytes`, said to come from `server`.
fn interrupted(world: &World, server: &Server, bytes: &[u8], etag: Option<&str>) {
    let folder = world.cache.partial_folder().expect("a folder");
    let digest = WheelDigest::of(&content()).to_string();
    let mut part = Part::open(&folder, &digest, None, false).expect("opened");
    part.set_origin(part::Origin::new(server.at(FILE), etag, None, Some(200_000)))
        .expect("noted");
    part.append(bytes).expect("written");
}

#[test]
fn f07_a_run_continues_what_an_earlier_one_left() {
    let world = World::new();
    let server = breaking(0, 0);
    interrupted(&world, &server, &content()[..150_000], Some("\"v1\""));
    let log = Log::default();
    let wheel = one(world.fetch(&[wanted(&[server.at(FILE)])], &log));
    world.assert_has(&wheel);
    assert_eq!(server.seen()[0].header("range"), Some("bytes=150000-"));
    assert_eq!(log.all("fetch-restarted").len(), 0);
    assert_eq!(log.all("fetch-started")[0]["have"], 150_000);

    let complete = World::new();
    interrupted(&complete, &server, &content(), None);
    complete.assert_has(&one(complete.fetch(&[wanted(&[server.at(FILE)])], &Silent)));
    assert_eq!(server.seen().len(), 1, "nothing was left to ask for");
}

#[test]
fn f07_answers_that_do_not_continue_the_part_start_over() {
    let whole = |_: &Seen| Reply::new(200, content()).with("etag", "\"v2\"");
    let replies: [fn(&Seen) -> Reply; 6] = [
        // `If-Range` says that the file changed, or the server has no ranges.
        |_| Reply::new(200, content()),
        // The part is longer than the file.
        |_| Reply::new(416, ""),
        // Another file, although a range is answered.
        |seen| Reply::file(seen, &content()).with("etag", "\"v2\""),
        // Another range than the one asked.
        |_| Reply::new(206, &content()[..100]).with("content-range", "bytes 0-99/200000"),
        // Another length.
        |seen| {
            let first = seen.range(200_000).map_or(0, |range| range.0);
            Reply::new(206, "x").with("content-range", format!("bytes {first}-{first}/{}", first + 1))
        },
        // Not the rest, though it starts at the right place.
        |seen| {
            let first = seen.range(200_000).map_or(0, |range| range.0);
            Reply::new(206, "x").with("content-range", format!("bytes {first}-{first}/200000"))
        },
    ];
    for (number, reply) in replies.into_iter().enumerate() {
        let world = World::new();
        let server = Server::start(move |seen| match seen.header("range") {
            Some(_) => reply(seen),
            None => whole(seen),
        });
        interrupted(&world, &server, &content()[..1000], Some("\"v1\""));
        let log = Log::default();
        let wheel = one(world.fetch(&[wanted(&[server.at(FILE)])], &log));
        world.assert_has(&wheel);
        assert_eq!(log.all("fetch-restarted").len(), 1, "reply {number}");
        assert_eq!(server.seen()[0].header("if-range"), Some("\"v1\""));
    }
}

#[test]
fn rotten_bytes_of_an_earlier_run_do_not_blame_the_server() {
    let world = World::new();
    let server = breaking(0, 0);
    interrupted(&world, &server, &[0; 1000], Some("\"v1\""));
    let log = Log::default();
    let wheel = one(world.fetch(&[wanted(&[server.at(FILE)])], &log));
    world.assert_has(&wheel);
    assert_eq!(log.all("fetch-restarted").len(), 1);
}

#[test]
fn a_server_that_breaks_off_and_lies_about_ranges_is_given_up() {
    let world = World::new();
    let server = Server::start(|seen| match seen.header("range") {
        Some(_) => Reply::new(206, "x").with("content-range", "bytes 0-0/1"),
        None => Reply {
            cut: Some(100_000),
            ..Reply::new(200, content())
        },
    });
    let error = world.fetch(&[wanted(&[server.at(FILE)])], &Silent).expect_err("lies");
    assert!(matches!(error, Error::Http { .. }), "{error:?}");
    assert!(server.seen().len() < 20);
}

#[test]
fn f50_wrong_bytes_are_kept_aside_under_their_true_digest() {
    let world = World::new();
    let server = Server::start(|_| Reply::new(200, vec![7; 200_000]));
    let error = world.fetch(&[wanted(&[server.at(FILE)])], &Silent).expect_err("wrong");
    let bad = WheelDigest::of(&vec![7; 200_000]);
    let Error::Digest {
        expected, actual, kept, ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert_eq!((*expected, *actual), (WheelDigest::of(&content()), bad));
    assert_eq!(std::fs::read(kept).expect("kept"), vec![7; 200_000]);
    assert!(kept.ends_with(format!("partial/{bad}.bad")));
    world.assert_nothing_visible();
    let text = error.to_string();
    assert!(
        text.contains(&expected.to_string()) && text.contains(&actual.to_string()),
        "{text}"
    );
}

#[test]
fn f52_a_bad_source_then_a_good_one_is_a_success_with_a_warning() {
    let bad: [fn(&Seen) -> Reply; 6] = [
        |_| Reply::new(404, ""),
        |_| Reply::new(403, ""),
        |_| Reply::new(200, vec![7; 200_000]),
        |_| Reply::new(200, "short"),
        |_| Reply::new(206, "short").with("content-range", "bytes 0-4/200000"),
        |_| Reply {
            cut: Some(500),
            ..Reply::new(200, vec![7; 200_000])
        },
    ];
    for (number, reply) in bad.into_iter().enumerate() {
        let world = World::new();
        let (bad, good) = (Server::start(reply), breaking(0, 0));
        let log = Log::default();
        let wheel = one(world.fetch(&[wanted(&[bad.at(FILE), good.at(FILE)])], &log));
        assert_eq!(std::fs::read(wheel.path()).expect("there"), content());
        let warnings = log.all("warning");
        assert_eq!(warnings.len(), 1, "source {number}: {warnings:?}");
        assert!(
            warnings[0]["message"]
                .as_str()
                .is_some_and(|text| text.contains("trying 127.0.0.1"))
        );
    }
}

#[test]
fn an_endless_or_longer_body_is_cut_off() {
    for no_length in [false, true] {
        let world = World::new();
        let server = Server::start(move |_| Reply {
            no_length,
            ..Reply::new(200, vec![0; 2_000_000])
        });
        let error = world
            .fetch(&[wanted(&[server.at(FILE)])], &Silent)
            .expect_err("too long");
        assert!(matches!(error, Error::Size { expected: 200_000, .. }), "{error:?}");
        world.assert_nothing_visible();
    }
}

#[test]
fn a_wheel_of_unknown_size_without_a_length_is_fetched() {
    let world = World::new();
    let server = Server::start(|_| Reply {
        no_length: true,
        ..Reply::new(200, content())
    });
    let wanted = Wanted {
        size: None,
        ..wanted(&[server.at(FILE)])
    };
    world.assert_has(&one(world.fetch(&[wanted], &Silent)));
}

#[test]
fn f57_offline_names_every_missing_wheel_at_once() {
    let world = World::with(Options {
        offline: true,
        ..options()
    });
    let server = Server::start(|_| panic!("nobody may ask"));
    let other = Wanted {
        file: "other-1-py3-none-any.whl".to_owned(),
        digest: Some(WheelDigest::of(b"other")),
        size: None,
        urls: Vec::new(),
    };
    let error = world
        .fetch(&[wanted(&[server.at(FILE)]), other.clone()], &Silent)
        .expect_err("offline");
    let Error::Offline { missing } = &error else {
        panic!("{error:?}")
    };
    assert_eq!(missing.len(), 2);
    assert_eq!(
        error.to_string(),
        "2 wheels are not in the cache and the network may not be used (offline): \
         demo-1-py3-none-any.whl, other-1-py3-none-any.whl"
    );
    assert_eq!(world.fetcher().missing(&[other]).expect("readable").len(), 1);
    assert!(!world.cache.root().exists(), "asking leaves no trace");
}

#[test]
fn a_wheel_of_this_machine_needs_no_network() {
    let world = World::with(Options {
        offline: true,
        ..options()
    });
    let source = world.folder.path().join(FILE);
    std::fs::write(&source, content()).expect("written");
    let url = Url::from_file_path(&source).expect("a URL");
    let locate = |_: &Wanted| Ok(vec![url.clone()]);
    let options = FetchOptions {
        locate: &locate,
        ..FetchOptions::default()
    };
    let remote = Url::parse("https://example.org/a.whl").expect("a URL");
    let wheel = one(world.fetcher().fetch_all(&[wanted(&[remote])], &options, &Silent));
    world.assert_has(&wheel);
    assert!(source.exists());
}

#[test]
fn places_are_found_out_when_the_known_ones_fail() {
    let world = World::new();
    let server = Server::start(|seen| match seen.path.as_str() {
        "/gone" => Reply::new(404, ""),
        _ => Reply::file(seen, &content()),
    });
    let asked = AtomicUsize::new(0);
    let locate = |wanted: &Wanted| {
        asked.fetch_add(1, Ordering::SeqCst);
        Ok(vec![server.at("gone"), server.at(&wanted.file)])
    };
    let options = FetchOptions {
        locate: &locate,
        ..FetchOptions::default()
    };
    let wheel = one(world
        .fetcher()
        .fetch_all(&[wanted(&[server.at("gone")])], &options, &Silent));
    world.assert_has(&wheel);
    assert_eq!(server.paths(), ["/gone".to_owned(), format!("/{FILE}")]);
    assert_eq!(asked.load(Ordering::SeqCst), 1);

    let nowhere = World::new().fetch(&[wanted(&[])], &Silent).expect_err("nowhere");
    assert!(matches!(nowhere, Error::Nowhere { .. }), "{nowhere:?}");
    let failing = |_: &Wanted| Err("no index".into());
    let options = FetchOptions {
        locate: &failing,
        ..FetchOptions::default()
    };
    let world = World::new();
    let error = world
        .fetcher()
        .fetch_all(&[wanted(&[])], &options, &Silent)
        .expect_err("unknown");
    assert!(matches!(error, Error::Locate { .. }), "{error:?}");
}

fn shortage(fetcher: &Fetcher<'_>, needed: u64, free: u64) -> Shortage {
    Shortage::expected(&fetcher.cache.root().join("partial"), needed, free)
}

#[test]
fn f04_missing_space_is_noticed_before_the_first_byte() {
    let world = World::new();
    let server = Server::start(|seen| Reply::file(seen, &content()));
    let fetcher = Fetcher {
        free_space: |_| Ok(199_999),
        ..world.fetcher()
    };
    let fetch = |size| {
        let wanted = Wanted {
            size,
            ..wanted(&[server.at(FILE)])
        };
        fetcher.fetch_all(&[wanted], &FetchOptions::default(), &Silent)
    };
    let error = fetch(Some(200_000)).expect_err("no space");
    assert!(
        matches!(&error, Error::NoSpace(found) if *found == shortage(&fetcher, 200_000, 199_999)),
        "{error:?}"
    );
    assert!(server.seen().is_empty());
    // Where only the server knows the size, it is asked first, but nothing is written.
    let error = fetch(None).expect_err("no space");
    assert!(matches!(error, Error::NoSpace(_)), "{error:?}");
    world.assert_nothing_visible();

    // What an earlier run left counts.
    interrupted(&world, &server, &content()[..1], None);
    let fits = Fetcher {
        free_space: |_| Ok(199_999),
        ..world.fetcher()
    };
    one(fits.fetch_all(&[wanted(&[server.at(FILE)])], &FetchOptions::default(), &Silent));
}

#[test]
fn f04_a_full_disk_while_writing_keeps_the_part_and_gives_figures() {
    let world = World::new();
    let fetcher = Fetcher {
        free_space: |_| Ok(12),
        ..world.fetcher()
    };
    let error = fetcher.explain_full(
        PathError {
            action: "write",
            path: "/x".into(),
            source: std::io::ErrorKind::StorageFull.into(),
        },
        500,
    );
    assert!(
        matches!(&error, Error::NoSpace(found) if *found == shortage(&fetcher, 500, 12)),
        "{error:?}"
    );
}

#[test]
fn many_wheels_come_in_the_order_asked_biggest_first_and_once_each() {
    let world = World::new();
    let bytes = |path: &str| path.trim_start_matches('/').repeat(10).into_bytes();
    let server = Server::start(move |seen| Reply::file(seen, &bytes(&seen.path)));
    let wheel = |name: &str| Wanted {
        file: name.to_owned(),
        digest: Some(WheelDigest::of(&name.repeat(10).into_bytes())),
        size: Some(name.len() as u64 * 10),
        urls: vec![server.at(name)],
    };
    let names = ["a.whl", "ccc.whl", "bb.whl", "a.whl", "dddd.whl"];
    let wanted: Vec<_> = names.iter().map(|name| wheel(name)).collect();
    let told = Mutex::new(Vec::new());
    let ready = |index: usize, wheel: &VerifiedWheel| {
        told.lock().expect("no panic").push((index, wheel.file().to_owned()));
    };
    let options = FetchOptions {
        jobs: 1,
        ready: &ready,
        ..FetchOptions::default()
    };
    let wheels = world.fetcher().fetch_all(&wanted, &options, &Silent).expect("fetched");
    let files: Vec<_> = wheels.iter().map(VerifiedWheel::file).collect();
    assert_eq!(files, names);
    assert_eq!(server.paths(), ["/dddd.whl", "/ccc.whl", "/bb.whl", "/a.whl"]);
    let told = told.into_inner().expect("no panic");
    assert_eq!(
        told.iter().map(|(index, _)| *index).collect::<Vec<_>>(),
        [4, 1, 2, 0, 3]
    );
}

#[test]
fn the_first_failure_stops_the_others_and_is_the_one_reported() {
    let world = World::new();
    let server = Server::start(|seen| match seen.path.as_str() {
        "/bad" => Reply::new(404, ""),
        _ => Reply {
            cut: Some(10),
            stall: Some(std::time::Duration::from_secs(30)),
            ..Reply::new(200, content())
        },
    });
    let bad = Wanted {
        file: "bad-1-py3-none-any.whl".to_owned(),
        digest: Some(WheelDigest::of(b"bad")),
        size: Some(1),
        urls: vec![server.at("bad")],
    };
    let one_job = FetchOptions {
        jobs: 1,
        ..FetchOptions::default()
    };
    let error = world
        .fetcher()
        .fetch_all(
            &[
                bad.clone(),
                Wanted {
                    size: Some(0),
                    ..wanted(&[server.at("slow")])
                },
            ],
            &one_job,
            &Silent,
        )
        .expect_err("bad");
    assert!(
        matches!(&error, Error::Http { file, .. } if file.starts_with("bad")),
        "{error:?}"
    );
    assert_eq!(server.paths(), ["/bad"]);
}

#[test]
fn f09_two_fetchers_of_one_wheel_download_it_once() {
    let world = World::new();
    let gate = Arc::new(std::sync::Barrier::new(2));
    let opened = Arc::clone(&gate);
    let server = Server::start(move |seen| {
        opened.wait();
        Reply::file(seen, &content())
    });
    let wanted = [wanted(&[server.at(FILE)])];
    let second = Log::default();
    let (http, cache) = (http(), world.cache.clone());
    std::thread::scope(|scope| {
        let first = scope.spawn(|| world.fetch(&wanted, &Silent));
        while server.seen().is_empty() && !world.cache.root().join("partial").exists() {
            std::thread::yield_now();
        }
        while world.partial().iter().all(|name| !name.contains(".guard")) {
            std::thread::yield_now();
        }
        let other = scope.spawn(|| Fetcher::new(&http, &cache).fetch_all(&wanted, &FetchOptions::default(), &second));
        while second.all("waiting").is_empty() {
            std::thread::yield_now();
        }
        gate.wait();
        assert_eq!(one(first.join().expect("no panic")).evidence(), Evidence::Downloaded);
        assert_eq!(one(other.join().expect("no panic")).evidence(), Evidence::Cached);
    });
    assert_eq!(server.seen().len(), 1);
    assert_eq!(world.partial(), [""; 0]);
}
