//! Wheels whose digest nobody states: resumed, kept and fetched again by what the server says of its file.

use std::sync::atomic::AtomicUsize;

use super::tests::{FILE, Log, World, content, one, wanted};
use super::*;
use crate::digest::WheelDigest;
use crate::http::testing::{Reply, Seen, Server, http};
use crate::progress::Silent;

fn unstated(server: &Server) -> Wanted {
    Wanted {
        digest: None,
        size: None,
        ..wanted(&[server.at(FILE)])
    }
}

fn fetch(world: &World, server: &Server, reporter: &dyn Reporter) -> Result<Vec<VerifiedWheel>, Error> {
    let wanted = [unstated(server)];
    world.fetcher().fetch_all(&wanted, &FetchOptions::default(), reporter)
}

/// As a file server answers that knows conditions; `tag` is what its file is called now.
fn file(seen: &Seen, body: &[u8], tag: &str) -> Reply {
    let reply = match (seen.header("if-none-match"), seen.header("if-range")) {
        (Some(have), _) if have == tag => Reply::new(304, ""),
        (_, Some(have)) if have != tag => Reply::new(200, body),
        _ => Reply::file(seen, body),
    };
    reply.with("etag", tag).with("accept-ranges", "bytes")
}

/// The same, whose first answer breaks off.
fn breaking(cut: usize, answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Server {
    let answers = AtomicUsize::new(0);
    Server::start(move |seen| {
        let first = answers.fetch_add(1, Ordering::SeqCst) == 0;
        Reply {
            cut: first.then_some(cut),
            ..answer(seen)
        }
    })
}

/// Leaves a part behind as a run that was killed does.
fn interrupted(world: &World, server: &Server, bytes: &[u8], tag: Option<&str>) {
    let folder = world.cache.partial_folder().expect("a folder");
    let mut part = Part::open(&folder, &unstated(server).stem(), None, true).expect("opened");
    part.set_origin(part::Origin::new(server.at(FILE), tag, None, Some(200_000)))
        .expect("noted");
    part.append(bytes).expect("written");
}

fn header<'a>(seen: &'a [Seen], at: usize, name: &str) -> Option<&'a str> {
    seen[at].header(name)
}

#[test]
fn what_arrived_is_asked_about_and_not_fetched_again() {
    let world = World::new();
    let version = std::sync::Arc::new(AtomicUsize::new(1));
    let now = std::sync::Arc::clone(&version);
    let server = Server::start(move |seen| match now.load(Ordering::SeqCst) {
        1 => file(seen, &content(), "\"1\""),
        _ => file(seen, b"another", "\"2\""),
    });
    let log = Log::default();
    let wheel = one(fetch(&world, &server, &log));
    world.assert_has(&wheel);
    assert_eq!(*wheel.digest(), WheelDigest::of(&content()));
    assert_eq!(log.all("fetch-sized")[0]["size"], 200_000);
    for kind in ["fetch-planned", "fetch-started", "fetch-advanced", "fetch-finished"] {
        assert!(!log.all(kind).is_empty(), "{kind}");
    }
    let again = one(fetch(&world, &server, &Silent));
    assert_eq!((again.evidence(), again.digest()), (Evidence::Cached, wheel.digest()));
    assert_eq!(header(&server.seen(), 1, "if-none-match"), Some("\"1\""));
    assert_eq!(world.partial(), [""; 0]);
    // Gone from the cache: a note alone is no wheel.
    std::fs::remove_file(wheel.path()).expect("it is there");
    assert_eq!(one(fetch(&world, &server, &Silent)).evidence(), Evidence::Downloaded);
    assert_eq!(header(&server.seen(), 2, "if-none-match"), None);
    // Another file.
    version.store(2, Ordering::SeqCst);
    let other = one(fetch(&world, &server, &Silent));
    assert_eq!(*other.digest(), WheelDigest::of(b"another"));
    // Forgotten.
    world.fetcher().forget(&unstated(&server));
    assert_eq!(one(fetch(&world, &server, &Silent)).evidence(), Evidence::Downloaded);
    assert_eq!(header(&server.seen(), 4, "if-none-match"), None);
}

#[test]
fn f54_a_break_is_gone_on_from_where_the_server_can_say_that_the_file_is_the_same() {
    let world = World::new();
    let server = breaking(99_999, |seen| file(seen, &content(), "\"1\""));
    world.assert_has(&one(fetch(&world, &server, &Silent)));
    let seen = server.seen();
    assert_eq!(header(&seen, 1, "range"), Some("bytes=99999-"));
    assert_eq!(header(&seen, 1, "if-range"), Some("\"1\""));
    // By date where there is no tag.
    let dated = |seen: &Seen| Reply::file(seen, &content()).with("last-modified", "Wed, 21 Oct 2015 07:28:00 GMT");
    let server = breaking(5000, dated);
    let world = World::new();
    world.assert_has(&one(fetch(&world, &server, &Silent)));
    let seen = server.seen();
    assert_eq!(header(&seen, 1, "range"), Some("bytes=5000-"));
    assert_eq!(header(&seen, 1, "if-range"), Some("Wed, 21 Oct 2015 07:28:00 GMT"));
    // From the front where there is neither.
    let server = breaking(5000, |seen| Reply::file(seen, &content()));
    let world = World::new();
    world.assert_has(&one(fetch(&world, &server, &Silent)));
    assert_eq!(header(&server.seen(), 1, "range"), None);
}

#[test]
fn f54_a_file_that_changes_is_never_put_together_from_two() {
    let new = || vec![9; 200_000];
    // A server that knows `If-Range`, and one that only gives the change away by its tag.
    let rows: [fn(&Seen, &[u8]) -> Reply; 2] = [
        |seen, body| file(seen, body, "\"2\""),
        |seen, body| Reply::file(seen, body).with("etag", "\"2\""),
    ];
    for answer in rows {
        let world = World::new();
        let answers = AtomicUsize::new(0);
        let server = Server::start(move |seen| match answers.fetch_add(1, Ordering::SeqCst) {
            0 => Reply {
                cut: Some(70_000),
                ..file(seen, &content(), "\"1\"")
            },
            _ => answer(seen, &new()),
        });
        let wheel = one(fetch(&world, &server, &Silent));
        assert_eq!(std::fs::read(wheel.path()).expect("there"), new());
        assert_eq!(*wheel.digest(), WheelDigest::of(&new()));
    }
}

#[test]
fn f07_what_a_killed_run_left_is_gone_on_with_where_the_file_is_the_same() {
    let server = Server::start(|seen| file(seen, &content(), "\"1\""));
    // (what is left, its tag, the range that is asked)
    let rows = [
        (1000, Some("\"1\""), Some("bytes=1000-")),
        // Complete: nobody says that it still is the file, so its last byte is asked for.
        (200_000, Some("\"1\""), Some("bytes=199999-")),
        (1000, Some("\"0\""), Some("bytes=1000-")),
        // What cannot be asked about is not gone on with.
        (1000, None, None),
        (1000, Some("W/\"1\""), None),
    ];
    for (left, tag, range) in rows {
        let world = World::new();
        interrupted(&world, &server, &content()[..left], tag);
        let before = server.seen().len();
        world.assert_has(&one(fetch(&world, &server, &Silent)));
        assert_eq!(header(&server.seen(), before, "range"), range, "{left} {tag:?}");
    }
}

#[test]
fn f54_a_server_without_ranges_is_read_from_the_front() {
    let server = breaking(1000, |_| Reply::new(200, content()).with("etag", "\"1\""));
    let world = World::new();
    world.assert_has(&one(fetch(&world, &server, &Silent)));
    assert_eq!(server.seen().len(), 2);
}

#[test]
fn several_connections_where_each_answer_says_of_which_file_it_is() {
    let options = FetchOptions {
        split_from: 50_000,
        segment: 16 << 10,
        ..FetchOptions::default()
    };
    for (tag, several) in [(true, true), (false, false)] {
        let server = Server::start(move |seen| {
            if tag {
                file(seen, &content(), "\"1\"")
            } else {
                Reply::file(seen, &content()).with("accept-ranges", "bytes")
            }
        });
        let world = World::new();
        world.assert_has(&one(world.fetcher().fetch_all(&[unstated(&server)], &options, &Silent)));
        assert_eq!(server.seen().len() > 1, several);
    }
}

#[test]
fn an_answer_that_says_unchanged_unasked_is_none() {
    let server = Server::start(|_| Reply::new(304, ""));
    let world = World::new();
    let error = fetch(&world, &server, &Silent).expect_err("nothing came");
    assert!(matches!(error, Error::WrongRange { .. }), "{error:?}");
    world.assert_nothing_visible();
}

#[test]
fn offline_says_that_the_network_is_needed() {
    let world = World::with(crate::http::Options {
        offline: true,
        ..crate::http::testing::options()
    });
    let server = Server::start(|_| panic!("nobody may ask"));
    let error = fetch(&world, &server, &Silent).expect_err("offline");
    let offline = matches!(
        &error,
        Error::Http {
            source: crate::http::Error::Offline { .. },
            ..
        }
    );
    assert!(offline, "{error:?}");
}

#[test]
fn f09_two_fetchers_of_one_wheel_get_the_same_bytes() {
    let world = World::new();
    let server = Server::start(|seen| file(seen, &content(), "\"1\""));
    let (http, cache) = (http(), world.cache.clone());
    let wanted = [unstated(&server)];
    let fetcher = Fetcher::new(&http, &cache);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| one(fetcher.fetch_all(&wanted, &FetchOptions::default(), &Silent))))
            .collect();
        for thread in threads {
            assert_eq!(*thread.join().expect("no panic").digest(), WheelDigest::of(&content()));
        }
    });
    // One has downloaded it; the others were told that it is the same.
    let asked = server.seen();
    let whole = asked.iter().filter(|seen| seen.header("if-none-match").is_none());
    assert_eq!((whole.count(), asked.len()), (1, 4));
    assert_eq!(world.partial(), [""; 0]);
}
