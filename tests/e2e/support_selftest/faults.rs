//! The server when something goes wrong: each fault is what a client sees.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use reqwest::blocking::Client;
use reqwest::header::HeaderMap;

use crate::support::server::{Action, Fault, Server};

const BODY: &[u8] = b"0123456789abcdefghijklmnopqrstuvwxyz";
const PATH: &str = "/files/thing.bin";

/// A server with one file, and one fault at it.
fn server_with(fault: Fault) -> Server {
    let server = Server::start_empty();
    server.serve_file(PATH, BODY);
    server.fault(fault);
    server
}

fn on_file(action: Action) -> Server {
    server_with(Fault::on("/thing.bin$", action))
}

/// An answer, read to its end while the server lives.
struct Answer {
    status: u16,
    headers: HeaderMap,
    body: reqwest::Result<Vec<u8>>,
}

fn send(server: &Server, range: Option<&str>) -> reqwest::Result<Answer> {
    let client = Client::builder().no_proxy().timeout(Duration::from_secs(20)).build()?;
    let mut request = client.get(format!("{}{PATH}", server.url()));
    if let Some(range) = range {
        request = request.header("range", range);
    }
    let response = request.send()?;
    Ok(Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.bytes().map(|bytes| bytes.to_vec()),
    })
}

/// What arrives on a plain socket, and how the connection ends.
fn raw(server: &Server) -> (Vec<u8>, Option<ErrorKind>) {
    let mut stream = TcpStream::connect(server.url().trim_start_matches("http://")).expect("a connection");
    write!(stream, "GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is sent");
    let mut bytes = Vec::new();
    let ended = stream.read_to_end(&mut bytes).err().map(|error| error.kind());
    let start = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map_or(0, |at| at + 4);
    (bytes.split_off(start), ended)
}

#[test]
fn a_body_may_be_cut_off() {
    assert_eq!(raw(&on_file(Action::Truncate(10))), (BODY[..10].to_vec(), None));
    assert_eq!(
        raw(&on_file(Action::Reset(10))),
        (BODY[..10].to_vec(), Some(ErrorKind::ConnectionReset))
    );
    assert!(
        send(&on_file(Action::Truncate(10)), None)
            .expect("a head")
            .body
            .is_err()
    );
    // A fault behind the end of the body lets it through.
    let server = on_file(Action::Truncate(1000));
    assert_eq!(send(&server, None).expect("a head").body.expect("a body"), BODY);
}

#[test]
fn a_server_may_fall_silent() {
    for (action, length) in [(Action::Stall(10), 10), (Action::StallBeforeHead, 0)] {
        let server = on_file(action);
        let address = server.url().trim_start_matches("http://").to_owned();
        let mut stream = TcpStream::connect(address).expect("a connection");
        write!(stream, "GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n").expect("it is sent");
        stream
            .set_read_timeout(Some(Duration::from_millis(200)))
            .expect("a timeout");
        let mut bytes = Vec::new();
        let error = stream.read_to_end(&mut bytes).expect_err("the connection stays open");
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        assert!(bytes.ends_with(&BODY[..length]) && !bytes.ends_with(&BODY[..=length]));
        assert_eq!(bytes.is_empty(), length == 0);
        drop(server);
        stream.set_read_timeout(None).expect("no timeout");
        // The end of the server ends the connection, one way or the other.
        let _ended = stream.read_to_end(&mut bytes);
    }
}

#[test]
fn a_body_may_be_wrong() {
    let flipped = send(&on_file(Action::Flip(3)), Some("bytes=2-4"))
        .expect("a head")
        .body
        .expect("a body");
    assert_eq!(flipped, [b'2', b'3' ^ 0x20, b'4']);
    let other = send(&on_file(Action::Body(b"login page".to_vec())), None).expect("a head");
    assert_eq!(other.body.expect("a body"), b"login page");
}

#[test]
fn a_status_may_pass_after_a_while() {
    let server = server_with(
        Fault::on("thing", Action::Status(503, &[("Retry-After", "1")]))
            .after(1)
            .times(2),
    );
    let statuses = || {
        let response = send(&server, None).expect("a head");
        (response.status, response.headers.contains_key("retry-after"))
    };
    assert_eq!(
        [statuses(), statuses(), statuses(), statuses()],
        [(200, false), (503, true), (503, true), (200, false)]
    );
    let logged: Vec<_> = server.requests().iter().map(|request| request.status).collect();
    assert_eq!(logged, [200, 503, 503, 200]);
    server.fault(Fault::on(PATH, Action::Status(429, &[])));
    server.clear_faults();
    assert_eq!(statuses().0, 200);
}

#[test]
fn ranges_may_be_ignored_or_wrong() {
    let ignored = send(&on_file(Action::IgnoreRange), Some("bytes=2-4")).expect("a head");
    assert_eq!(ignored.status, 200);
    assert!(!ignored.headers.contains_key("accept-ranges"));
    assert_eq!(ignored.body.expect("a body"), BODY);
    let shifted = send(&on_file(Action::ShiftContentRange(5)), Some("bytes=2-4")).expect("a head");
    assert_eq!(shifted.headers["content-range"], "bytes 7-9/36");
    assert_eq!(shifted.body.expect("a body"), b"234");
    let only_ranged = server_with(Fault::on("thing", Action::Status(500, &[])).ranged(true));
    assert_eq!(send(&only_ranged, None).expect("a head").status, 200);
    assert_eq!(send(&only_ranged, Some("bytes=0-1")).expect("a head").status, 500);
}

#[test]
fn framing_and_validators_may_be_others() {
    for action in [Action::NoContentLength, Action::Chunked, Action::Slow(720)] {
        let response = send(&on_file(action.clone()), None).expect("a head");
        let has_length = response.headers.contains_key("content-length");
        assert_eq!(has_length, matches!(action, Action::Slow(_)), "{action:?}");
        assert_eq!(response.body.expect("a body"), BODY, "{action:?}");
    }
    let changing = on_file(Action::ChangingEtag);
    let etag = || send(&changing, None).expect("a head").headers["etag"].clone();
    assert_ne!(etag(), etag());
    let none = send(&on_file(Action::NoValidators), None).expect("a head");
    assert!(!none.headers.contains_key("etag") && !none.headers.contains_key("last-modified"));
}

#[test]
fn redirects_may_lead_elsewhere_or_nowhere() {
    let elsewhere = Server::start_empty();
    elsewhere.serve_file("/moved.bin", BODY);
    let server = on_file(Action::Redirect(302, format!("{}/moved.bin", elsewhere.url())));
    assert_eq!(send(&server, None).expect("a head").body.expect("a body"), BODY);
    assert_eq!(elsewhere.requests().len(), 1);
    let same_host = server_with(Fault::on("thing", Action::Redirect(307, "{base}{path}".to_owned())).times(1));
    assert_eq!(send(&same_host, None).expect("a head").body.expect("a body"), BODY);
    let looping = on_file(Action::Redirect(302, "{path}".to_owned()));
    assert!(send(&looping, None).err().is_some_and(|error| error.is_redirect()));
}
