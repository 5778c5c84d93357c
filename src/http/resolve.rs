//! Names to addresses, by the system's resolver, without a thread pool.
//!
//! The client's own way needs a thread and panics where the system refuses one. Here a thread asks where there is one,
//! so that other transfers go on meanwhile; else the client's thread asks itself.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::threads;

/// The system's resolver.
pub(super) struct System;

impl Resolve for System {
    fn resolve(&self, name: Name) -> Resolving {
        let answer = Answer::default();
        let (host, theirs) = (name.as_str().to_owned(), answer.clone());
        if !threads::spawn(move || theirs.set(ask(&host))) {
            answer.set(ask(name.as_str()));
        }
        Box::pin(async { Ok(Box::new(answer.await?.into_iter()) as Addrs) })
    }
}

fn ask(host: &str) -> io::Result<Vec<SocketAddr>> {
    // The client puts in the port.
    Ok((host, 0).to_socket_addrs()?.collect())
}

/// What a thread will find out.
#[derive(Clone, Default)]
struct Answer(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    found: Option<io::Result<Vec<SocketAddr>>>,
    /// Who waits for it.
    waker: Option<Waker>,
}

impl Answer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, found: io::Result<Vec<SocketAddr>>) {
        let mut state = self.lock();
        state.found = Some(found);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Future for Answer {
    type Output = io::Result<Vec<SocketAddr>>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.lock();
        if let Some(found) = state.found.take() {
            return Poll::Ready(found);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}
