//! A tiny HTTP server for tests in this crate: one thread a connection, answers made by a closure, and the few ways to
//! misbehave that unit tests need.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use url::Url;

use super::{Http, Options, Proxy, Retry};

/// A request as the server saw it; header names in lower case.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(have, _)| have == name)
            .map(|(_, value)| value.as_str())
    }

    /// The first offset and the optional last one of a `Range` header, resolved against `length`.
    pub(crate) fn range(&self, length: usize) -> Option<(usize, usize)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some(match (first, last) {
            ("", count) => (length.saturating_sub(count.parse().ok()?), length - 1),
            (first, "") => (first.parse().ok()?, length - 1),
            (first, last) => (first.parse().ok()?, last.parse::<usize>().ok()?.min(length - 1)),
        })
    }
}

/// An answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// Close after this many bytes of the body, though the announced length is the whole body's.
    pub(crate) cut: Option<usize>,
    /// Send nothing more after the cut, but keep the connection for this long.
    pub(crate) stall: Option<Duration>,
    /// Announce no length; the end of the connection is the end of the body.
    pub(crate) no_length: bool,
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            body: body.into(),
            ..Self::default()
        }
    }

    pub(crate) fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// `body` with range support, as a file server answers.
    pub(crate) fn file(seen: &Seen, body: &[u8]) -> Self {
        match seen.range(body.len()) {
            Some((first, _)) if first >= body.len() => Self::new(416, ""),
            Some((first, last)) => Self::new(206, &body[first..=last])
                .with("content-range", format!("bytes {first}-{last}/{}", body.len())),
            None => Self::new(200, body),
        }
    }
}

/// A running server; it ends with the test process.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&seen), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                // A client that goes away in the middle is no failure of the server.
                std::thread::spawn(move || serve(&stream, &log, answer.as_ref()).ok());
            }
        });
        Self {
            url: Url::parse(&format!("http://127.0.0.1:{port}/")).expect("a URL"),
            seen,
        }
    }

    pub(crate) fn at(&self, path: &str) -> Url {
        self.url.join(path).expect("a path")
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no panic in the server").clone()
    }

    /// The paths of the requests so far.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }
}

fn serve(stream: &TcpStream, log: &Mutex<Vec<Seen>>, answer: &dyn Fn(&Seen) -> Reply) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let seen = Seen { path, headers };
    let reply = answer(&seen);
    log.lock().expect("no panic in the server").push(seen);
    let mut stream = stream;
    let mut head = format!("HTTP/1.1 {} x\r\nconnection: close\r\n", reply.status);
    if !reply.no_length {
        write!(head, "content-length: {}\r\n", reply.body.len()).expect("text");
    }
    for (name, value) in &reply.headers {
        write!(head, "{name}: {value}\r\n").expect("text");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())])?;
    stream.flush()?;
    if let Some(stall) = reply.stall {
        std::thread::sleep(stall);
    }
    stream.shutdown(std::net::Shutdown::Write)?;
    // Until the client has gone; closing earlier could take the answer away from it.
    std::io::copy(&mut reader, &mut std::io::sink())?;
    Ok(())
}

/// Options that wait for nothing and use no proxy.
pub(crate) fn options() -> Options {
    Options {
        retry: Retry {
            base: Duration::from_millis(1),
            cap: Duration::from_millis(5),
            ..Retry::default()
        },
        proxy: Proxy::None,
        ..Options::default()
    }
}

/// A network under [`options`].
pub(crate) fn http() -> Http {
    Http::new(options())
}
