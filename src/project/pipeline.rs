//! Trees beside the network: wheels are unpacked while others arrive, and compiled while others are unpacked.
//!
//! Of the wheels that are there, the largest is taken first: it keeps the compilers busy longest, and one that is begun
//! last is waited for alone. A tree is published when it is unpacked and then handed over to compiling, so that neither
//! waits for the other.

use std::collections::BinaryHeap;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::homes::Homes;
use super::network::Network;
use super::realise::{fetch_wheels, wheel_id};
use crate::cache::Cache;
use crate::env::tree::{Tree, TreeError, Trees};
use crate::fetch::{self, Evidence, VerifiedWheel};
use crate::lockfile::Selected;
use crate::progress::Event;
use crate::threads;

/// The bytecode of so many trees is made at a time; a thread that waits costs nothing else.
const FINISHERS: usize = 4;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Work of which the largest piece is taken first.
struct Pile {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    /// Size, and place among the wheels.
    waiting: BinaryHeap<(u64, usize)>,
    closed: bool,
}

impl Pile {
    fn new() -> Self {
        Self {
            state: Mutex::default(),
            news: Condvar::new(),
        }
    }

    fn push(&self, size: u64, at: usize) {
        lock(&self.state).waiting.push((size, at));
        self.news.notify_one();
    }

    /// Nothing more comes.
    fn close(&self) {
        lock(&self.state).closed = true;
        self.news.notify_all();
    }

    /// The largest piece; waits for one, unless nothing more comes.
    fn pop(&self) -> Option<usize> {
        let mut state = lock(&self.state);
        loop {
            if let Some((_, at)) = state.waiting.pop() {
                return Some(at);
            }
            if state.closed {
                return None;
            }
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Closes the pile when the fetching ends, be it by a panic: whoever waits for work would wait for ever.
struct Closing<'a>(&'a Pile);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What a build makes trees of, and with.
pub(super) struct Pipeline<'a> {
    pub(super) network: &'a Network,
    pub(super) wheels: &'a [Selected<'a>],
    pub(super) homes: &'a Homes,
    pub(super) trees: &'a Trees<'a>,
    /// How many wheels are unpacked at a time.
    pub(super) workers: usize,
    /// Whether wheels stay in the cache once their trees are visible.
    pub(super) keep_wheels: bool,
}

/// What became of one wheel.
type Outcome = Option<Result<Tree, TreeError>>;

/// What the threads of one run share.
struct Shared {
    pile: Pile,
    there: Mutex<Vec<Option<VerifiedWheel>>>,
    made: Mutex<Vec<Outcome>>,
    /// Trees whose bytecode is to be made.
    finishing: Mutex<Receiver<(usize, Tree)>>,
}

impl Pipeline<'_> {
    /// Fetches the wheels and makes their trees. Returns what was fetched, and a tree or failure for each wheel that was.
    ///
    /// This thread fetches. Where the system refuses the threads that unpack and finish, it does that too, afterwards.
    pub(super) fn run(&self) -> (Result<Vec<VerifiedWheel>, fetch::Error>, Vec<Outcome>) {
        let (unpacked, finishing) = channel();
        let shared = Shared {
            pile: Pile::new(),
            there: Mutex::new(vec![None; self.wheels.len()]),
            made: Mutex::new(self.wheels.iter().map(|_| None).collect()),
            finishing: Mutex::new(finishing),
        };
        let fetched = std::thread::scope(|scope| {
            let shared = &shared;
            let start = |count: usize, work: &dyn Fn() -> bool| (0..count).take_while(|_| work()).count() > 0;
            let unpacking = start(self.workers, &|| {
                let unpacked = unpacked.clone();
                threads::spawn_in(scope, move || self.unpack_all(shared, &unpacked))
            });
            let finishing = start(FINISHERS, &|| threads::spawn_in(scope, || self.finish_all(shared)));
            let closing = Closing(&shared.pile);
            let ready = |at: usize, wheel: &VerifiedWheel| {
                lock(&shared.there)[at] = Some(wheel.clone());
                shared.pile.push(wheel.size(), at);
            };
            let fetched = fetch_wheels(self.network, (self.wheels, self.homes), &ready, self.trees.reporter);
            drop(closing);
            if !unpacking {
                self.unpack_all(shared, &unpacked);
            }
            // Finishers end when the last sender is gone.
            drop(unpacked);
            if !finishing {
                self.finish_all(shared);
            }
            fetched
        });
        (
            fetched,
            shared.made.into_inner().unwrap_or_else(PoisonError::into_inner),
        )
    }

    /// Unpacks the wheels of the pile until no more come.
    fn unpack_all(&self, shared: &Shared, unpacked: &Sender<(usize, Tree)>) {
        while let Some(at) = shared.pile.pop() {
            let Some(wheel) = lock(&shared.there)[at].take() else {
                continue;
            };
            match self.unpack(at, &wheel) {
                Ok(tree) => {
                    if !self.keep_wheels {
                        drop_wheel(&self.network.cache, &self.wheels[at]);
                    }
                    // The receiver lives as long as this run, so nothing is ever refused.
                    unpacked.send((at, tree)).ok();
                }
                Err(error) => lock(&shared.made)[at] = Some(Err(error)),
            }
        }
    }

    /// Makes the bytecode of trees until no more come.
    fn finish_all(&self, shared: &Shared) {
        loop {
            let next = lock(&shared.finishing).recv();
            let Ok((at, tree)) = next else { return };
            let outcome = self.trees.compile(&tree).map(|()| tree);
            lock(&shared.made)[at] = Some(outcome);
        }
    }

    /// A cached wheel that rotted is fetched again, once, where the network may be used.
    fn unpack(&self, at: usize, wheel: &VerifiedWheel) -> Result<Tree, TreeError> {
        let (selected, trees) = (&self.wheels[at], self.trees);
        let id = wheel_id(selected);
        let hashed = wheel.evidence() == Evidence::Downloaded;
        match trees.unpack_for(&id, wheel.path(), hashed) {
            Err(TreeError::Digest { path, expected, actual }) if !hashed && !self.network.http.is_offline() => {
                let message = format!(
                    "the cached wheel {} is damaged (its digest is {actual}); fetching it again",
                    path.display()
                );
                trees.reporter.event(Event::Warning { message: &message });
                let damaged = TreeError::Digest {
                    path: path.clone(),
                    expected,
                    actual,
                };
                if std::fs::remove_file(&path).is_err() {
                    return Err(damaged);
                }
                let again = fetch_wheels(self.network, (&[*selected], self.homes), &|_, _| {}, trees.reporter);
                match again.map(|mut wheels| wheels.pop()) {
                    Ok(Some(wheel)) => trees.unpack_for(&id, wheel.path(), true),
                    Ok(None) => Err(damaged),
                    Err(error) => {
                        trees.reporter.event(Event::Warning {
                            message: &error.to_string(),
                        });
                        Err(damaged)
                    }
                }
            }
            other => other,
        }
    }
}

/// Removes the wheel of a tree that is in the store. One that cannot be removed only takes space.
pub(super) fn drop_wheel(cache: &Cache, selected: &Selected<'_>) {
    cache.remove_wheel(&selected.wheel.digest, &selected.wheel.file).ok();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_piece_is_taken_first_and_nothing_is_lost_when_the_pile_closes() {
        let pile = Pile::new();
        for (at, size) in [3, 9, 1].into_iter().enumerate() {
            pile.push(size, at);
        }
        assert_eq!(pile.pop(), Some(1));
        drop(Closing(&pile));
        assert_eq!((pile.pop(), pile.pop(), pile.pop()), (Some(0), Some(2), None));
    }

    #[test]
    fn whoever_waits_gets_what_comes_later() {
        let pile = Pile::new();
        let taken: Vec<usize> = std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| pile.pop())).collect();
            pile.push(1, 7);
            pile.push(2, 8);
            pile.close();
            waiting
                .into_iter()
                .filter_map(|thread| thread.join().expect("ended"))
                .collect()
        });
        assert_eq!(taken.iter().sum::<usize>(), 15);
    }
}
