//! The server when nothing goes wrong: pages, files, ranges, the log.

use reqwest::blocking::{Client, Response};
use serde_json::Value;

use crate::support::encoding::sha256;
use crate::support::family::{self, Shelf};
use crate::support::server::Server;
use crate::support::wheel::Wheel;

/// Asks without following redirects.
fn get(server: &Server, path: &str, headers: &[(&str, &str)]) -> Response {
    let client = Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .expect("a client");
    let request = client.get(format!("{}{path}", server.url()));
    let request = headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, *value));
    request.send().expect("an answer")
}

fn header(response: &Response, name: &str) -> String {
    let value = response
        .headers()
        .get(name)
        .unwrap_or_else(|| panic!("no header {name}"));
    value.to_str().expect("ASCII").to_owned()
}

const WHEEL: &str = "/whl/cu118/torch-2.7.0%2Bcu118-cp311-cp311-manylinux_2_28_x86_64.whl";

#[test]
fn the_pytorch_index_has_the_form_of_2025() {
    let server = Server::start();
    // Clients that ask for JSON get the page all the same.
    let json = [("accept", "application/vnd.pypi.simple.v1+json")];
    let response = get(&server, "/whl/cu118/torch/", &json);
    assert_eq!(header(&response, "content-type"), "text/html");
    let page = response.text().expect("text");
    let wheel = family::wheel(Shelf::Channel("cu118"), "torch", "2.7.0+cu118-cp311");
    let metadata = sha256(wheel.metadata.as_bytes());
    let row = format!(
        "    <a href=\"{WHEEL}#sha256={}\" data-dist-info-metadata=\"sha256={metadata}\" \
         data-core-metadata=\"sha256={metadata}\">torch-2.7.0+cu118-cp311-cp311-manylinux_2_28_x86_64.whl</a><br/>\n",
        wheel.sha256
    );
    assert!(page.contains(&row), "{page}");
    assert!(page.starts_with("<!DOCTYPE html>\n<html>\n  <body>\n    <h1>Links for torch</h1>\n"));
    assert!(page.ends_with("</html>\n<!--TIMESTAMP 1747699200-->\n"));
    assert!(
        page.contains("href=\"/whl/torch-2.0.1-cp310-cp310-manylinux2014_aarch64.whl#"),
        "the root is listed"
    );
    assert!(!page.contains("data-requires-python"));
    let root = get(&server, "/whl/rocm6.3/", &[]).text().expect("text");
    assert!(
        root.contains("<a href=\"pytorch-triton-rocm/\">pytorch-triton-rocm</a><br/>"),
        "{root}"
    );
}

#[test]
fn the_pytorch_index_denies_what_it_does_not_know() {
    let server = Server::start();
    for path in [
        "/whl/cu118/nosuch/",
        "/whl/cu118/torch",
        "/whl/cu999/torch/",
        "/whl/cu118/x-1-py3-none-any.whl",
        "/whl/cu118",
    ] {
        let response = get(&server, path, &[]);
        assert_eq!(response.status(), 403, "{path}");
        assert!(
            response.text().expect("text").contains("<Code>AccessDenied</Code>"),
            "{path}"
        );
    }
}

#[test]
fn files_come_whole_in_ranges_and_with_metadata() {
    let server = Server::start();
    let wheel = family::wheel(Shelf::Channel("cu118"), "torch", "2.7.0+cu118-cp311");
    let whole = get(&server, WHEEL, &[]);
    let (etag, modified) = (header(&whole, "etag"), header(&whole, "last-modified"));
    assert_eq!(header(&whole, "accept-ranges"), "bytes");
    assert_eq!(whole.bytes().expect("a body"), wheel.bytes);
    // `+` without escaping is the same file.
    assert_eq!(
        get(&server, &WHEEL.replace("%2B", "+"), &[]).bytes().expect("a body"),
        wheel.bytes
    );
    assert_eq!(
        get(&server, &format!("{WHEEL}.metadata"), &[]).text().expect("text"),
        wheel.metadata
    );

    let size = wheel.bytes.len();
    let last = format!("bytes=-{}", size + 10);
    let table = [
        ("bytes=0-0", 206, format!("bytes 0-0/{size}"), 0..1),
        ("bytes=10-", 206, format!("bytes 10-{}/{size}", size - 1), 10..size),
        (
            "bytes=-22",
            206,
            format!("bytes {}-{}/{size}", size - 22, size - 1),
            size - 22..size,
        ),
        (
            "bytes=100-99999999",
            206,
            format!("bytes 100-{}/{size}", size - 1),
            100..size,
        ),
        (last.as_str(), 206, format!("bytes 0-{}/{size}", size - 1), 0..size),
        ("bytes=99999999-", 416, format!("bytes */{size}"), 0..0),
    ];
    for (range, status, content_range, part) in table {
        let response = get(&server, WHEEL, &[("range", range)]);
        assert_eq!(response.status(), status, "{range}");
        assert_eq!(header(&response, "content-range"), content_range, "{range}");
        assert_eq!(response.bytes().expect("a body"), wheel.bytes[part], "{range}");
    }
    for (validator, status) in [(etag.as_str(), 206), (modified.as_str(), 206), ("\"other\"", 200)] {
        let response = get(&server, WHEEL, &[("range", "bytes=1-2"), ("if-range", validator)]);
        assert_eq!(response.status(), status, "{validator}");
    }
    assert_eq!(get(&server, WHEEL, &[("if-none-match", &etag)]).status(), 304);
}

#[test]
fn the_package_index_speaks_both_dialects() {
    let server = Server::start();
    let accept = [("accept", "application/vnd.pypi.simple.v1+json, text/html;q=0.1")];
    let text = get(&server, "/simple/numpy/", &accept).text().expect("text");
    let json: Value = serde_json::from_str(&text).expect("JSON");
    let wheel = family::wheel(Shelf::Index, "numpy", "2.2.5-cp312");
    let files = json["files"].as_array().expect("a list");
    let file = files
        .iter()
        .find(|file| file["filename"] == wheel.filename.as_str())
        .expect("the wheel");
    assert_eq!(file["hashes"]["sha256"], wheel.sha256.as_str());
    assert_eq!(file["requires-python"], ">=3.10");
    let url = file["url"].as_str().expect("a string");
    assert_eq!(get(&server, url, &[]).bytes().expect("a body"), wheel.bytes);
    let metadata = get(&server, &format!("{url}.metadata"), &[]).text().expect("text");
    assert_eq!(file["core-metadata"]["sha256"], sha256(metadata.as_bytes()));

    let html = get(&server, "/simple/yanked/", &[]);
    assert_eq!(header(&html, "content-type"), "text/html");
    let html = html.text().expect("text");
    assert!(
        html.contains("data-yanked=\"breaks &amp; burns\">yanked-1.1-py3-none-any.whl</a>"),
        "{html}"
    );
    assert!(
        html.contains("yanked-1.0.tar.gz</a>"),
        "a source distribution to pass over: {html}"
    );
    assert!(
        get(&server, "/simple/numpy/", &[])
            .text()
            .expect("text")
            .contains("data-requires-python=\"&gt;=3.9\"")
    );

    assert_eq!(get(&server, "/simple/nosuch/", &[]).status(), 404);
    for path in ["/simple/Typing_Extensions/", "/simple/typing-extensions"] {
        let response = get(&server, path, &[]);
        assert_eq!(
            (response.status().as_u16(), header(&response, "location").as_str()),
            (301, "/simple/typing-extensions/")
        );
    }
}

#[test]
fn an_index_may_have_neither_metadata_nor_digests() {
    let server = Server::start();
    server.configure(|options| {
        options.index_core_metadata = false;
        options.digests = false;
        options.json = false;
    });
    let page = get(
        &server,
        "/simple/mpmath/",
        &[("accept", "application/vnd.pypi.simple.v1+json")],
    )
    .text()
    .expect("text");
    assert!(
        page.contains("<a href=") && !page.contains("core-metadata") && !page.contains("py3-none-any.whl#"),
        "{page}"
    );
    let wheel = family::wheel(Shelf::Index, "mpmath", "1.3.0");
    let path = format!("/packages/{}/{}", &wheel.sha256[..16], wheel.filename);
    assert_eq!(get(&server, &format!("{path}.metadata"), &[]).status(), 404);
    assert_eq!(get(&server, &path, &[("range", "bytes=-100")]).status(), 206);
}

#[test]
fn wheels_of_the_test_join_the_family_or_take_its_place() {
    let server = Server::start();
    server.offer(Shelf::Index, Wheel::new("my-own", "1.0").file("my_own.py", ""));
    let other = server.offer(Shelf::Index, Wheel::new("mpmath", "1.3.0").file("mpmath.py", "other"));
    let page = get(&server, "/simple/mpmath/", &[]).text().expect("text");
    assert!(page.contains(&other.sha256) && page.contains("mpmath-1.4.1"), "{page}");
    assert!(get(&server, "/simple/", &[]).text().expect("text").contains("my-own"));
    server.serve_file("/elsewhere/a.bin", "abc");
    assert_eq!(
        get(&server, "/elsewhere/a.bin", &[("range", "bytes=1-")])
            .text()
            .expect("text"),
        "bc"
    );

    let empty = Server::start_empty();
    assert_eq!(get(&empty, "/simple/mpmath/", &[]).status(), 404);
    assert_eq!(get(&empty, "/whl/cpu/torch/", &[]).status(), 403);
}

#[test]
fn every_request_is_logged() {
    let server = Server::start();
    server.assert_no_requests();
    get(&server, WHEEL, &[("range", "bytes=-22")]);
    get(&server, "/simple/nosuch/?query", &[]);
    let lines: Vec<_> = server.requests().iter().map(ToString::to_string).collect();
    assert_eq!(
        lines,
        [
            "GET /whl/cu118/torch-2.7.0+cu118-cp311-cp311-manylinux_2_28_x86_64.whl [bytes=-22] -> 206",
            "GET /simple/nosuch/ -> 404",
        ]
    );
    assert_eq!(server.requests_to("nosuch").len(), 1);
    server.clear_log();
    server.assert_no_requests();
}

/// Not a test: serves until it is killed, for a look with other clients (`-- --ignored --nocapture serve_until_killed`).
#[test]
#[ignore = "serves until killed"]
fn serve_until_killed() {
    use std::io::Write as _;
    let server = Server::start();
    let _written = writeln!(
        std::io::stderr(),
        "index {}\nchannels {}/<channel>/",
        server.index_url(),
        server.pytorch_url()
    );
    let mut seen = 0;
    loop {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let requests = server.requests();
        for request in &requests[seen..] {
            let _written = writeln!(std::io::stderr(), "{request}");
        }
        seen = requests.len();
    }
}
