//! Large wheels over several connections, from servers that misbehave.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use super::tests::{FILE, Log, World, content, one, wanted};
use super::*;
use crate::digest::WheelDigest;
use crate::http::testing::{Reply, Seen, Server};
use crate::progress::Silent;

const SEGMENT: u64 = 16 << 10;

/// The test's file is 200,000 bytes: thirteen segments.
fn options() -> FetchOptions<'static> {
    FetchOptions {
        connections: 8,
        split_from: 50_000,
        segment: SEGMENT,
        ..FetchOptions::default()
    }
}

fn fetch(world: &World, urls: &[Url], reporter: &dyn Reporter) -> Result<Vec<VerifiedWheel>, Error> {
    world.fetcher().fetch_all(&[wanted(urls)], &options(), reporter)
}

/// As a file server answers that offers ranges.
fn file(seen: &Seen) -> Reply {
    Reply::file(seen, &content())
        .with("accept-ranges", "bytes")
        .with("etag", "\"v1\"")
}

/// Bytes that a log counts, less those that were said not to count.
fn counted(log: &Log) -> u64 {
    let sum = |kind: &str| -> u64 { log.all(kind).iter().filter_map(|event| event["bytes"].as_u64()).sum() };
    sum("fetch-advanced")
}

#[test]
fn a_large_wheel_comes_over_several_connections() {
    let world = World::new();
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, peak) = (Arc::clone(&busy), Arc::clone(&most));
    let server = Server::start(move |seen| {
        peak.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(20));
        inside.fetch_sub(1, Ordering::SeqCst);
        file(seen)
    });
    let log = Log::default();
    world.assert_has(&one(fetch(&world, &[server.at(FILE)], &log)));
    assert_eq!(counted(&log), 200_000, "every byte once");
    let most = most.load(Ordering::SeqCst);
    assert!((2..=5).contains(&most), "{most} connections at once");
    let seen = server.seen();
    let ranges: Vec<&str> = seen.iter().filter_map(|seen| seen.header("range")).collect();
    assert!(ranges.contains(&"bytes=196608-199999"), "{ranges:?}");
    for request in seen.iter().filter(|seen| seen.header("range").is_some()) {
        assert_eq!(request.header("if-range"), Some("\"v1\""));
    }
}

#[test]
fn connections_are_bounded_for_all_wheels_together() {
    let world = World::new();
    let (busy, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inside, peak) = (Arc::clone(&busy), Arc::clone(&most));
    let server = Server::start(move |seen| {
        peak.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        inside.fetch_sub(1, Ordering::SeqCst);
        file(seen)
    });
    let several: Vec<Wanted> = (0..6)
        .map(|number| Wanted {
            file: format!("demo-{number}-py3-none-any.whl"),
            ..wanted(&[server.at(FILE)])
        })
        .collect();
    let options = FetchOptions {
        jobs: 2,
        connections: 4,
        ..options()
    };
    let fetched = world.fetcher().fetch_all(&several, &options, &Silent).expect("fetched");
    assert_eq!(fetched.len(), 6);
    let most = most.load(Ordering::SeqCst);
    assert!((2..=4).contains(&most), "{most} connections at once");
}

#[test]
fn f54_ranges_that_are_not_answered_as_asked_lead_to_one_front_to_back_download() {
    let other = |seen: &Seen| Reply::file(seen, &vec![7; 200_000]);
    let replies: [fn(&Seen, Reply) -> Reply; 8] = [
        // Ranges are ignored.
        |_, _| Reply::new(200, content()),
        |_, _| Reply::new(416, ""),
        |_, _| Reply::new(403, ""),
        // Another place in the file.
        |_, _| Reply::new(206, &content()[..100]).with("content-range", "bytes 0-99/200000"),
        // Another length of the file.
        |seen, reply| {
            let (first, last) = seen.range(200_000).unwrap_or_default();
            Reply::new(206, reply.body).with("content-range", format!("bytes {first}-{last}/200001"))
        },
        // Fewer bytes than the header says.
        |seen, reply| {
            let (first, last) = seen.range(200_000).unwrap_or_default();
            Reply::new(206, &reply.body[..100]).with("content-range", format!("bytes {first}-{last}/200000"))
        },
        // Another file by its tag.
        |_, reply| Reply {
            headers: reply
                .headers
                .into_iter()
                .map(|(name, value)| (name, value.replace("v1", "v2")))
                .collect(),
            ..reply
        },
        // No range in the answer at all.
        |_, reply| Reply::new(206, reply.body),
    ];
    for (number, reply) in replies.into_iter().enumerate() {
        let world = World::new();
        // A part cannot be continued from such a server either, so the last request is for the whole file.
        let server = Server::start(move |seen| match seen.header("range") {
            Some(_) => reply(seen, file(seen)),
            None => file(seen),
        });
        let wheel = fetch(&world, &[server.at(FILE)], &Silent);
        world.assert_has(&one(wheel));
        assert!(
            server.seen().len() < 20,
            "reply {number}: {} requests",
            server.seen().len()
        );
    }
    // Ranges of other bytes, without a tag that tells: only the digest does.
    let world = World::new();
    let server = Server::start(move |seen| match seen.header("range") {
        Some(_) => other(seen),
        None => Reply::file(seen, &content()).with("accept-ranges", "bytes"),
    });
    let log = Log::default();
    world.assert_has(&one(fetch(&world, &[server.at(FILE)], &log)));
    assert_eq!(log.all("fetch-restarted").len(), 1);
}

#[test]
fn f54_segments_that_break_are_continued_where_they_broke() {
    for cut in [1, 1000, 5000, 16_383] {
        let world = World::new();
        let answers = AtomicUsize::new(0);
        let server = Server::start(move |seen| {
            let reply = file(seen);
            let breaks = answers.fetch_add(1, Ordering::SeqCst).is_multiple_of(2);
            let cut = breaks.then(|| cut.min(reply.body.len()));
            Reply { cut, ..reply }
        });
        let log = Log::default();
        world.assert_has(&one(fetch(&world, &[server.at(FILE)], &log)));
        assert_eq!(counted(&log), 200_000, "cut after {cut}: nothing is received twice");
    }
}

#[test]
fn f07_a_later_run_asks_only_for_the_segments_that_are_missing() {
    let world = World::new();
    // What lies in one stretch of the file never arrives.
    let dead = Server::start(|seen| match seen.range(200_000) {
        None => Reply {
            cut: Some(20_000),
            ..file(seen)
        },
        Some((first, last)) if first < 98_304 && last > 49_152 => Reply::new(503, ""),
        Some(_) => file(seen),
    });
    let error = fetch(&world, &[dead.at(FILE)], &Silent).expect_err("the server is dead");
    assert!(matches!(error, Error::Http { .. }), "{error:?}");
    let names = world.partial();
    assert_eq!(names.len(), 2, "{names:?}");
    world.assert_nothing_visible();

    // The same address, now alive: the sidecar belongs to a URL, so the ports must agree.
    let sidecar = names.iter().find(|name| name.ends_with(".json")).expect("a sidecar");
    let sidecar = world.cache.root().join("partial").join(sidecar);
    let alive = Server::start(file);
    let text = std::fs::read_to_string(&sidecar).expect("readable");
    let moved = text.replace(dead.url.as_str(), alive.url.as_str());
    std::fs::write(&sidecar, moved).expect("written");
    let log = Log::default();
    world.assert_has(&one(fetch(&world, &[alive.at(FILE)], &log)));
    let had = log.all("fetch-started")[0]["have"].as_u64().expect("a number");
    assert!(had >= 100_000, "{had} bytes were there");
    assert_eq!(counted(&log), 200_000 - had, "nothing is received twice");
}

#[test]
fn f07_later_segments_of_a_file_that_changed_are_dropped() {
    let world = World::new();
    let digest = WheelDigest::of(&content()).to_string();
    let server = Server::start(file);
    for (etag, kept) in [("\"v1\"", true), ("\"v0\"", false)] {
        let folder = world.cache.partial_folder().expect("a folder");
        let mut part = Part::open(&folder, &digest, None, false).expect("opened");
        part.restart().expect("empty");
        let origin = part::Origin::new(server.at(FILE), Some(etag), None, Some(200_000));
        part.set_origin_of_ranges(origin).expect("noted");
        let file = part.handle().expect("opened");
        file.write_all_at(&content()[100_000..], 100_000).expect("written");
        part.arrived(100_000, &content()[100_000..]).expect("counted");
        part.note_ranges().expect("noted");
        drop((part, file));
        let log = Log::default();
        let wheel = one(fetch(&world, &[server.at(FILE)], &log));
        world.assert_has(&wheel);
        assert_eq!(log.all("fetch-restarted").is_empty(), kept, "{etag}");
        assert_eq!(counted(&log), if kept { 100_000 } else { 200_000 });
        std::fs::remove_file(wheel.path()).expect("removed");
    }
}

#[test]
fn a_server_without_ranges_is_asked_once() {
    let world = World::new();
    let server = Server::start(|_| Reply::new(200, content()));
    world.assert_has(&one(fetch(&world, &[server.at(FILE)], &Silent)));
    assert_eq!(server.seen().len(), 1);
}

#[test]
fn f50_wrong_bytes_in_segments_are_blamed_only_after_one_whole_answer() {
    let world = World::new();
    let server = Server::start(|seen| Reply::file(seen, &vec![7; 200_000]).with("accept-ranges", "bytes"));
    let error = fetch(&world, &[server.at(FILE)], &Silent).expect_err("wrong");
    assert!(matches!(error, Error::Digest { .. }), "{error:?}");
    assert_eq!(
        server
            .seen()
            .iter()
            .filter(|seen| seen.header("range").is_none())
            .count(),
        2
    );
    world.assert_nothing_visible();
}
