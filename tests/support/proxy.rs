//! A forward proxy: `CONNECT` for https, absolute request lines for http.
//!
//! Host names need not exist: the proxy has a table of where each leads. It may want a login. Its threads end with the
//! test process.

use std::collections::BTreeMap;
use std::io::{self, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::server::{LoggedRequest, read_request};
use super::tls::pass_on;

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    log: Arc<Mutex<Vec<LoggedRequest>>>,
}

struct Rules {
    /// `host:port` and what it stands for.
    routes: BTreeMap<String, SocketAddr>,
    /// The `Proxy-Authorization` that is wanted.
    wanted: Option<String>,
}

impl Proxy {
    /// A proxy that knows these hosts and no others; `wanted` is the `Proxy-Authorization` without which it answers
    /// 407.
    pub(crate) fn start(routes: &[(&str, SocketAddr)], wanted: Option<&str>) -> Self {
        let rules = Arc::new(Rules {
            routes: routes
                .iter()
                .map(|(host, address)| ((*host).to_owned(), *address))
                .collect(),
            wanted: wanted.map(str::to_owned),
        });
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on the loopback interface");
        let address = listener.local_addr().expect("a bound socket has an address");
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (rules, log) = (Arc::clone(&rules), Arc::clone(&kept));
                // A client that goes away is no failure of the proxy.
                std::thread::spawn(move || serve(stream, &rules, &log).ok());
            }
        });
        Self { address, log }
    }

    /// The requests so far: `CONNECT host:port`, or a method and an absolute URL.
    pub(crate) fn requests(&self) -> Vec<LoggedRequest> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(stream: TcpStream, rules: &Rules, log: &Mutex<Vec<LoggedRequest>>) -> io::Result<()> {
    // Unbuffered beyond the head, since what follows a CONNECT is not ours to read.
    let mut reader = BufReader::with_capacity(1, stream.try_clone()?);
    let Some(request) = read_request(&mut reader)? else {
        return Ok(());
    };
    log.lock().unwrap_or_else(PoisonError::into_inner).push(request.clone());
    let mut client = stream;
    let answer = |mut client: &TcpStream, line: &str| {
        write!(
            client,
            "HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        )
    };
    if rules.wanted.is_some() && request.header("proxy-authorization") != rules.wanted.as_deref() {
        return answer(&client, "407 Proxy Authentication Required");
    }
    let is_tunnel = request.method == "CONNECT";
    let (host, path) = match request.raw_path.strip_prefix("http://") {
        Some(rest) => rest.split_once('/').unwrap_or((rest, "")),
        None => (request.raw_path.as_str(), ""),
    };
    let host = if host.contains(':') {
        host.to_owned()
    } else {
        format!("{host}:80")
    };
    let Some(address) = rules.routes.get(&host) else {
        return answer(&client, "502 Bad Gateway");
    };
    let mut server = TcpStream::connect(address)?;
    if is_tunnel {
        client.write_all(b"HTTP/1.1 200 Connected\r\n\r\n")?;
    } else {
        write!(server, "{} /{path} HTTP/1.1\r\nConnection: close\r\n", request.method)?;
        for (name, value) in request
            .headers
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("connection"))
        {
            write!(server, "{name}: {value}\r\n")?;
        }
        server.write_all(b"\r\n")?;
    }
    client.set_read_timeout(Some(Duration::from_millis(4)))?;
    pass_on(client, server)
}
