//! The rules of [`Http`] against a real socket.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::testing::{Reply, Server, http, options};
use super::*;

fn url(text: &str) -> Url {
    Url::parse(text).expect("a URL")
}

#[test]
fn offline_refuses_before_a_socket_is_made() {
    let server = Server::start(|_| Reply::new(200, "x"));
    let network = Http::new(Options {
        offline: true,
        ..options()
    });
    let error = network
        .get(&server.at("a?token=secret"))
        .document(9)
        .expect_err("offline");
    assert!(matches!(error, Error::Offline { .. }), "{error:?}");
    assert!(!error.to_string().contains("secret"), "{error}");
    assert!(server.seen().is_empty());
    assert!(network.clients.lock().expect("unused").is_empty());
}

#[test]
fn transient_answers_are_tried_again_and_others_are_not() {
    for (code, times) in [(503, 4), (429, 4), (500, 4), (404, 1), (403, 1), (401, 1)] {
        let server = Server::start(move |_| Reply::new(code, "").with("retry-after", "0"));
        let error = http().get(&server.url).document(9).expect_err("never succeeds");
        assert_eq!(error.status(), Some(code));
        assert_eq!(server.seen().len(), times, "{code}");
    }
}

#[test]
fn f54_a_body_cut_anywhere_is_fetched_again() {
    let body = b"0123456789".repeat(20);
    for cut in [0, 1, 100, body.len() - 1] {
        let answers = AtomicUsize::new(0);
        let whole = body.clone();
        let server = Server::start(move |_| Reply {
            cut: (answers.fetch_add(1, Ordering::SeqCst) < 2).then_some(cut),
            ..Reply::new(200, whole.clone())
        });
        let document = http().get(&server.url).document(1000).expect("the third time");
        assert_eq!(document.body, body);
        assert_eq!(server.seen().len(), 3, "cut at {cut}");
    }
}

#[test]
fn f54_a_body_that_is_always_cut_is_an_error_that_says_so() {
    let server = Server::start(|_| Reply {
        cut: Some(3),
        ..Reply::new(200, "0123456789")
    });
    let error = http().get(&server.url).document(1000).expect_err("cut");
    assert!(matches!(error, Error::Truncated { received: 3, .. }), "{error:?}");
}

#[test]
fn silence_is_a_timeout_that_names_the_host() {
    let network = Http::new(Options {
        read_timeout: Duration::from_millis(50),
        retry: Retry {
            tries: 1,
            ..Retry::default()
        },
        ..options()
    });
    let server = Server::start(|seen| Reply {
        stall: Some(Duration::from_secs(5)),
        cut: Some(usize::from(seen.path == "/body")),
        ..Reply::new(200, "0123")
    });
    let error = network.get(&server.at("body")).document(9).expect_err("a stalled body");
    assert!(
        matches!(&error, Error::Timeout { host, .. } if host.starts_with("127.0.0.1:")),
        "{error:?}"
    );
    let mute = Server::start(|_| {
        std::thread::sleep(Duration::from_secs(5));
        Reply::new(200, "")
    });
    let error = network.get(&mute.url).document(9).expect_err("no head");
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
}

#[test]
fn a_closed_port_names_the_host() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port that is free again")
        .port();
    let error = http()
        .get(&url(&format!("http://127.0.0.1:{port}/x")))
        .document(9)
        .expect_err("closed");
    assert!(
        matches!(&error, Error::Connect { host, .. } if *host == format!("127.0.0.1:{port}")),
        "{error:?}"
    );
}

#[test]
fn large_bodies_are_refused_with_and_without_a_length() {
    for no_length in [false, true] {
        let server = Server::start(move |_| Reply {
            no_length,
            ..Reply::new(200, vec![0; 100])
        });
        let error = http().get(&server.url).document(99).expect_err("too large");
        assert!(matches!(error, Error::TooLarge { limit: 99, .. }), "{error:?}");
        assert_eq!(http().get(&server.url).document(100).expect("fits").body.len(), 100);
    }
}

#[test]
fn f53_redirects_are_bounded_and_never_carry_a_login_to_another_host() {
    let other = Server::start(|_| Reply::new(200, "file"));
    let target = other.at("file").to_string();
    let server = Server::start(move |seen| match seen.path.as_str() {
        "/away" => Reply::new(302, "").with("location", target.clone()),
        "/here" => Reply::new(301, "").with("location", "there"),
        "/there" => Reply::new(200, "same host"),
        _ => Reply::new(302, "").with("location", "/loop"),
    });
    let network = http();
    let mut with_login = server.url.clone();
    with_login.set_username("user").expect("a user");
    with_login.set_password(Some("secret")).expect("a password");
    let base = network.adopt(with_login);
    assert_eq!(base, server.url);

    let document = network
        .get(&base.join("away").expect("a path"))
        .document(99)
        .expect("followed");
    assert_eq!(
        (document.body.as_slice(), document.url),
        (&b"file"[..], other.at("file"))
    );
    assert_eq!(server.seen()[0].header("authorization"), Some("Basic dXNlcjpzZWNyZXQ="));
    assert_eq!(other.seen()[0].header("authorization"), None);

    network.get(&server.at("here")).document(99).expect("followed");
    assert_eq!(server.seen()[2].path, "/there");
    assert!(server.seen()[2].header("authorization").is_some());

    let error = network.get(&server.at("loop")).document(99).expect_err("a loop");
    assert!(matches!(error, Error::TooManyRedirects { .. }), "{error:?}");
    assert!(!error.to_string().contains("secret"));
}

#[test]
fn f53_redirects_to_plain_http_or_odd_schemes_are_refused() {
    let server = Server::start(|seen| {
        let location = match seen.path.as_str() {
            "/a" => "http://files.example.org/x?token=secret",
            "/b" => "file:///etc/passwd",
            _ => "https://",
        };
        Reply::new(302, "").with("location", location)
    });
    for path in ["a", "b", "c"] {
        let error = http().get(&server.at(path)).document(99).expect_err("refused");
        assert!(matches!(error, Error::RedirectRefused { .. }), "{error:?}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert_eq!(server.paths().last().map(String::as_str), Some(&*format!("/{path}")));
    }
}

#[test]
fn plain_http_is_for_this_machine_and_trusted_hosts() {
    let network = Http::new(Options {
        insecure_hosts: vec!["Files.example.org".to_owned(), "index.example.org:8080".to_owned()],
        ..options()
    });
    for allowed in [
        "https://example.org/",
        "http://localhost/",
        "http://127.1.2.3:80/",
        "http://[::1]/",
        "http://files.example.org:1234/",
        "http://index.example.org:8080/",
    ] {
        assert_eq!(network.refusal(&url(allowed)), None, "{allowed}");
    }
    for refused in [
        "http://example.org/",
        "http://index.example.org/",
        "http://localhost.example.org/",
        "http://10.0.0.1/",
        "ftp://example.org/",
        "file:///etc/passwd",
    ] {
        assert!(network.refusal(&url(refused)).is_some(), "{refused}");
    }
    assert!(network.is_trusted(&url("https://files.example.org/")));
    assert!(!network.is_trusted(&url("https://example.org/")));
}

#[test]
fn a_missing_certificate_file_is_named() {
    let network = Http::new(Options {
        certificates: Some("/nonexistent/ca.pem".into()),
        ..options()
    });
    let error = network
        .get(&url("http://127.0.0.1:9/"))
        .document(9)
        .expect_err("no file");
    assert!(matches!(error, Error::CertificateFile(_)), "{error:?}");
}

#[test]
fn a_configured_proxy_is_used() {
    let proxy = Server::start(|_| Reply::new(200, "from the proxy"));
    let network = Http::new(Options {
        proxy: Proxy::Url(proxy.url.to_string()),
        insecure_hosts: vec!["index.example.org".to_owned()],
        ..options()
    });
    let document = network
        .get(&url("http://index.example.org/simple/"))
        .document(99)
        .expect("proxied");
    assert_eq!(document.body, b"from the proxy");
    assert_eq!(proxy.paths(), ["http://index.example.org/simple/"]);
}

#[test]
fn requests_name_the_program_and_compression_is_for_documents_only() {
    let server = Server::start(|_| Reply::new(200, ""));
    let network = http();
    network
        .get(&server.url)
        .header("accept", "text/html")
        .document(9)
        .expect("answered");
    network.get(&server.url).bulk().range(5, None).send().expect("answered");
    network.get(&server.url).suffix(10).send().expect("answered");
    let seen = server.seen();
    assert!(
        seen[0]
            .header("user-agent")
            .is_some_and(|agent| agent.starts_with("flambeau/"))
    );
    assert_eq!(seen[0].header("accept"), Some("text/html"));
    assert_eq!(seen[0].header("accept-encoding"), Some("gzip"));
    assert_eq!(seen[1].header("accept-encoding"), Some("identity"));
    assert_eq!(seen[1].header("range"), Some("bytes=5-"));
    assert_eq!(seen[2].header("range"), Some("bytes=-10"));
}
