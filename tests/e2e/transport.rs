//! HTTPS, certificates, proxies, and the hosts that may do without.

use std::fs;
use std::net::SocketAddr;

use crate::support::encoding::basic_login;
use crate::support::proxy::Proxy;
use crate::support::server::Server;
use crate::support::tls::Authority;
use crate::support::world::{Output, World, hints, text};

const WANTED: &str = "filelock==3.18.0";
const HOST: &str = "index.example.test";

/// A world whose package index is `url`, with the authority's certificate in `tmp/ca.pem`, trusted by nobody yet.
fn world(authority: &Authority, url: &str) -> Option<World> {
    let mut world = World::new();
    world.any_python()?;
    fs::write(world.path("tmp/ca.pem"), &authority.pem).expect("a writable world");
    world.set("PIP_INDEX_URL", url);
    Some(world)
}

fn lock(world: &World, flags: &[&str]) -> Output {
    let python = world.any_python().expect("the test has asked for it");
    let arguments = ["lock", "-v", "--channel", "pip", "--python", &python.version, WANTED];
    world.flambeau(&[&arguments, flags].concat())
}

#[track_caller]
fn assert_builds(world: &World, flags: &[&str]) {
    lock(world, flags).ok();
    world.flambeau(&[&["build", "--channel", "pip"], flags].concat()).ok();
    world.venv_python(&["-c", "import filelock"]).ok();
}

/// An index behind HTTPS on this machine, and the address of its front.
fn secure(names: &[&str]) -> (Authority, Server, SocketAddr) {
    let (authority, server) = (Authority::new(), Server::start());
    let front = authority.front(server.address(), names);
    (authority, server, front)
}

#[test]
fn an_unknown_authority_is_refused_until_it_is_trusted() {
    let (authority, server, front) = secure(&["localhost"]);
    let url = format!("https://localhost:{}/simple/", front.port());
    let Some(mut world) = world(&authority, &url) else {
        return;
    };
    let error = world.flambeau_error(4, &["lock", "--channel", "pip", WANTED]);
    assert!(text(&error, "message").contains("localhost"), "{error:#}");
    assert!(hints(&error).contains("SSL_CERT_FILE"), "{error:#}");
    server.assert_no_requests();

    let file = world.path("tmp/ca.pem").display().to_string();
    for variable in ["SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"] {
        world.set(variable, &file);
        assert_builds(&world, &[]);
        world.unset(variable);
        world.delete(&world.cache());
        world.delete(&world.store());
    }
    // OpenSSL's form of a folder: the hash of the subject, and a number.
    fs::create_dir(world.path("tmp/certs")).expect("a writable world");
    fs::copy(&file, world.path("tmp/certs/01234567.0")).expect("a writable world");
    let folder = world.path("tmp/certs").display().to_string();
    world.set("SSL_CERT_DIR", folder);
    assert_builds(&world, &[]);
}

#[test]
fn a_certificate_for_another_name_is_refused_unless_the_host_is_trusted_by_name() {
    let (authority, server, front) = secure(&["elsewhere.example.test"]);
    let url = format!("https://localhost:{}/simple/", front.port());
    let Some(mut world) = world(&authority, &url) else {
        return;
    };
    let file = world.path("tmp/ca.pem").display().to_string();
    world.set("SSL_CERT_FILE", file);
    world.flambeau_error(4, &["lock", "--channel", "pip", WANTED]);
    let host = format!("localhost:{}", front.port());
    world.flambeau_error(
        4,
        &[
            "lock",
            "--channel",
            "pip",
            "--allow-insecure-host",
            "localhost:1",
            WANTED,
        ],
    );
    server.assert_no_requests();
    assert_builds(&world, &["--allow-insecure-host", &host]);
    world.delete(&world.cache());
    world.set("PIP_TRUSTED_HOST", "localhost");
    assert_builds(&world, &[]);
}

#[test]
fn plain_http_is_refused_before_a_name_is_looked_up() {
    let (server, authority) = (Server::start(), Authority::new());
    let Some(mut world) = world(&authority, &format!("http://{HOST}/simple/")) else {
        return;
    };
    let proxy = Proxy::start(&[(&format!("{HOST}:80"), server.address())], None);
    world.set("HTTP_PROXY", format!("http://{}", proxy.address));
    let error = world.flambeau_error(4, &["lock", "--channel", "pip", WANTED]);
    assert!(text(&error, "message").contains(HOST), "{error:#}");
    assert!(hints(&error).contains("--allow-insecure-host"), "{error:#}");
    assert!(proxy.requests().is_empty());
    assert_builds(&world, &["--allow-insecure-host", HOST]);
    assert!(
        proxy
            .requests()
            .iter()
            .all(|request| request.raw_path.starts_with(&format!("http://{HOST}/")))
    );
}

#[test]
fn proxies_carry_https_and_their_password_is_shown_nowhere() {
    const SECRET: &str = "pr0xy-S3CRET";
    let (authority, _server, front) = secure(&[HOST]);
    let login = basic_login("proxy-user", SECRET);
    let route = format!("{HOST}:443");
    for variable in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "PIP_PROXY"] {
        let Some(mut world) = world(&authority, &format!("https://{HOST}/simple/")) else {
            return;
        };
        let proxy = Proxy::start(&[(&route, front)], Some(&login));
        let file = world.path("tmp/ca.pem").display().to_string();
        world.set("SSL_CERT_FILE", file);
        world.set(variable, format!("http://proxy-user:{SECRET}@{}", proxy.address));
        let locked = lock(&world, &[]).ok();
        let built = world.flambeau(&["build", "-v", "--json", "--channel", "pip"]).ok();
        let requests = proxy.requests();
        assert!(!requests.is_empty(), "{variable}");
        for request in &requests {
            assert_eq!(
                (request.method.as_str(), request.raw_path.as_str()),
                ("CONNECT", route.as_str())
            );
            assert_eq!(request.header("authorization"), None);
        }
        world.set(variable, format!("http://proxy-user:wrong-{SECRET}@{}", proxy.address));
        world.delete(&world.cache());
        let refused = lock(&world, &["--upgrade"]).fails(4);
        for output in [locked, built, refused] {
            assert!(!output.to_string().contains(SECRET), "{output}");
        }
    }
}

#[test]
fn no_proxy_lists_what_is_asked_directly() {
    let (authority, server, front) = secure(&["localhost"]);
    let url = format!("https://localhost:{}/simple/", front.port());
    let Some(mut world) = world(&authority, &url) else {
        return;
    };
    let proxy = Proxy::start(&[], None);
    let file = world.path("tmp/ca.pem").display().to_string();
    world.set("SSL_CERT_FILE", file);
    world.set("HTTPS_PROXY", format!("http://{}", proxy.address));
    world.set("NO_PROXY", "example.org,localhost");
    assert_builds(&world, &[]);
    assert!(proxy.requests().is_empty() && !server.requests().is_empty());
    world.set("NO_PROXY", "example.org");
    world.delete(&world.cache());
    lock(&world, &["--upgrade"]).fails(4);
    assert!(!proxy.requests().is_empty());
}
