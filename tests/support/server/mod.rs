//! An index server in this process: a PyTorch index and a package index on one port of the loopback interface.
//!
//! Owns: the socket, its threads, what is offered, the log of requests and the faults. `/whl/<channel>/…` behaves like
//! the PyTorch index and `/simple/…` like a package index (see [`pages`]). It misbehaves where a test asks for it
//! (see [`fault`]). Every family wheel is offered from the start; [`Server::offer`] adds more.

mod connection;
mod content;
mod fault;
mod http;
mod pages;

use std::collections::BTreeMap;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

pub(crate) use self::fault::{Action, Fault};
pub(crate) use self::http::{LoggedRequest, read_request};
use super::family::{self, Shelf};
use super::wheel::{BuiltWheel, Wheel};

/// A running server; dropping it closes every connection and frees the port.
pub(crate) struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

/// What the threads of a server share.
#[derive(Default)]
struct Shared {
    base: String,
    /// Whether the family is offered.
    with_family: bool,
    stopping: AtomicBool,
    log: Mutex<Vec<LoggedRequest>>,
    faults: Mutex<Vec<fault::Armed>>,
    offered: Mutex<BTreeMap<Shelf, Vec<Arc<BuiltWheel>>>>,
    /// Files at paths of their own.
    files: Mutex<BTreeMap<String, Arc<[u8]>>>,
    options: Mutex<Options>,
    /// The `Authorization` without which every request is answered 401.
    login: Mutex<Option<String>>,
    /// The open connections, by number: dropping the server closes them.
    connections: Mutex<BTreeMap<usize, TcpStream>>,
}

/// How the indexes differ from one another.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, set by name")]
pub(crate) struct Options {
    /// Whether the package index advertises and serves `.metadata` (PEP 658).
    pub(crate) index_core_metadata: bool,
    /// Whether the PyTorch index does.
    pub(crate) channel_core_metadata: bool,
    /// Whether the package index speaks PEP 691 to those who ask for it.
    pub(crate) json: bool,
    /// Whether rows carry `#sha256=…`.
    pub(crate) digests: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            index_core_metadata: true,
            channel_core_metadata: true,
            json: true,
            digests: true,
        }
    }
}

impl Server {
    /// Starts a server that offers the whole family.
    pub(crate) fn start() -> Self {
        Self::listen(true)
    }

    /// Starts a server that offers nothing yet.
    pub(crate) fn start_empty() -> Self {
        Self::listen(false)
    }

    fn listen(with_family: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port on the loopback interface");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            base: format!("http://{address}"),
            with_family,
            ..Shared::default()
        });
        let acceptor = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || accept(&listener, &shared)
        });
        Self {
            shared,
            address,
            acceptor: Some(acceptor),
        }
    }

    /// `http://127.0.0.1:<port>`, without a trailing slash.
    pub(crate) fn url(&self) -> &str {
        &self.shared.base
    }

    /// The package index, as `PIP_INDEX_URL` has it.
    pub(crate) fn index_url(&self) -> String {
        format!("{}/simple/", self.shared.base)
    }

    /// The PyTorch index, as `FLAMBEAU_PYTORCH_MIRROR` has it.
    pub(crate) fn pytorch_url(&self) -> String {
        format!("{}/whl", self.shared.base)
    }

    /// Offers one more wheel; where the family has the same file name on that shelf, the new one is served instead.
    pub(crate) fn offer(&self, place: Shelf, wheel: Wheel) -> Arc<BuiltWheel> {
        let wheel = Arc::new(wheel.build());
        lock(&self.shared.offered)
            .entry(place)
            .or_default()
            .push(Arc::clone(&wheel));
        wheel
    }

    /// Serves bytes at a path that begins with `/`.
    pub(crate) fn serve_file(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        lock(&self.shared.files).insert(path.to_owned(), bytes.into().into());
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers 401 to every request that has not this user and password.
    pub(crate) fn require_login(&self, user: &str, password: &str) {
        *lock(&self.shared.login) = Some(super::encoding::basic_login(user, password));
    }

    /// Changes what kind of index it is.
    pub(crate) fn configure(&self, change: impl FnOnce(&mut Options)) {
        change(&mut lock(&self.shared.options));
    }

    /// Arms a fault.
    pub(crate) fn fault(&self, fault: Fault) {
        lock(&self.shared.faults).push(fault.arm());
    }

    /// Disarms every fault.
    pub(crate) fn clear_faults(&self) {
        lock(&self.shared.faults).clear();
    }

    /// Every request so far, in the order of arrival.
    pub(crate) fn requests(&self) -> Vec<LoggedRequest> {
        lock(&self.shared.log).clone()
    }

    /// The requests whose path (percent-decoded) contains `part`.
    pub(crate) fn requests_to(&self, part: &str) -> Vec<LoggedRequest> {
        let mut requests = self.requests();
        requests.retain(|request| request.path.contains(part));
        requests
    }

    /// Forgets the requests so far.
    pub(crate) fn clear_log(&self) {
        lock(&self.shared.log).clear();
    }

    /// Fails the test, naming the requests, where there were any.
    pub(crate) fn assert_no_requests(&self) {
        let requests: Vec<_> = self.requests().iter().map(ToString::to_string).collect();
        assert!(requests.is_empty(), "no request was expected:\n{}", requests.join("\n"));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // The acceptor is woken by a connection; it looks at the flag before it serves.
        drop(TcpStream::connect(self.address));
        if let Some(acceptor) = self.acceptor.take() {
            let _joined = acceptor.join();
        }
        for connection in lock(&self.shared.connections).values() {
            let _closed = connection.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for (number, stream) in listener.incoming().enumerate() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        if let Ok(handle) = stream.try_clone() {
            lock(&shared.connections).insert(number, handle);
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            connection::serve(&stream, &shared);
            lock(&shared.connections).remove(&number);
        });
    }
}

impl Shared {
    /// The wheels of a project on a shelf: those of the family, with the test's own in their place or behind them.
    fn wheels(&self, place: Shelf, project: &str) -> Vec<Arc<BuiltWheel>> {
        let mut wheels = if self.with_family {
            family::wheels(place, project).to_vec()
        } else {
            Vec::new()
        };
        for own in lock(&self.offered).get(&place).into_iter().flatten() {
            if own.project() == project {
                wheels.retain(|wheel| wheel.filename != own.filename);
                wheels.push(Arc::clone(own));
            }
        }
        wheels
    }

    /// The projects of a shelf, sorted.
    fn projects(&self, place: Shelf) -> Vec<String> {
        let own = lock(&self.offered)
            .get(&place)
            .into_iter()
            .flatten()
            .map(|wheel| wheel.project())
            .collect::<Vec<_>>();
        let family = if self.with_family {
            family::projects(place)
        } else {
            Vec::new()
        };
        let mut projects: Vec<_> = family.into_iter().map(str::to_owned).chain(own).collect();
        projects.sort();
        projects.dedup();
        projects
    }

    fn options(&self) -> Options {
        *lock(&self.options)
    }
}

/// Locks, whatever a panicking thread left behind: the data is a list that is whole at every moment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
