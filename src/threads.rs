//! Threads: the only place that starts them.
//!
//! A system may refuse a thread (`ulimit -u`, a cgroup's `pids.max`). Then the same work is done by fewer, if need be
//! by the calling thread alone: nothing in here fails or panics for want of a thread. That is why neither
//! `std::thread::spawn`, nor a scope's `spawn`, nor rayon's global pool is used anywhere else; they panic.

use std::convert::Infallible;
use std::io;
use std::sync::LazyLock;
use std::thread::{Builder, Scope};

use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};

/// What to do where the system refuses a thread or a process.
pub const REFUSED_HINT: &str = "raise the limit on processes and threads: `ulimit -u`, or `pids.max` of the cgroup";

/// The pool for work on many items; none where the system refuses every thread of it.
static POOL: LazyLock<Option<ThreadPool>> = LazyLock::new(|| pool(processors()));

/// How many threads work at the same time where they only compute.
#[must_use]
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

/// A pool of `count` threads, or of as many as the system allows. One thread would gain nothing over the calling one.
#[must_use]
pub fn pool(count: usize) -> Option<ThreadPool> {
    (2..=count).rev().find_map(|count| {
        let spawn = |thread: rayon::ThreadBuilder| match refusal() {
            Some(refused) => Err(refused),
            None => Builder::new().spawn(|| thread.run()).map(drop),
        };
        ThreadPoolBuilder::new()
            .num_threads(count)
            .spawn_handler(spawn)
            .build()
            .ok()
    })
}

/// Whether an error says that the system refuses another thread or process.
#[must_use]
pub fn is_refusal(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::AGAIN.raw_os_error())
}

/// Starts a thread; whether there is one.
pub fn spawn(work: impl FnOnce() + Send + 'static) -> bool {
    refusal().is_none() && Builder::new().spawn(work).is_ok()
}

/// Starts a thread in a scope; whether there is one.
pub fn spawn_in<'scope>(scope: &'scope Scope<'scope, '_>, work: impl FnOnce() + Send + 'scope) -> bool {
    refusal().is_none() && Builder::new().spawn_scoped(scope, work).is_ok()
}

/// Calls `work` on this thread and on up to `more` others at the same time, and waits for all of them. Each call must
/// take its share from a common queue, since how many calls there are is up to the system.
pub fn share(more: usize, work: impl Fn() + Sync) {
    std::thread::scope(|scope| {
        let work = &work;
        for _ in 0..more {
            if !spawn_in(scope, work) {
                break;
            }
        }
        work();
    });
}

/// Does `work` on every item, on all processors. The answers are in the order of the items.
pub fn map<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    map_with(items, || (), |(), item| work(item))
}

/// As [`map`], with something of its own for each thread that `init` makes, at least once.
pub fn map_with<T: Send, R: Send, S>(
    items: Vec<T>,
    init: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) -> R + Sync,
) -> Vec<R> {
    let Ok(answers) = try_map(POOL.as_ref(), items, init, |own, item| {
        Ok::<_, Infallible>(work(own, item))
    });
    answers
}

/// As [`map`], with work that may fail. After a failure nothing new is begun; which of several comes back is not
/// defined.
pub fn attempt<T: Send, R: Send, E: Send>(items: Vec<T>, work: impl Fn(T) -> Result<R, E> + Sync) -> Result<Vec<R>, E> {
    try_map(POOL.as_ref(), items, || (), |(), item| work(item))
}

/// As [`attempt`], on the threads of `pool`, each with something of its own as in [`map_with`].
pub fn try_map<T: Send, R: Send, E: Send, S>(
    pool: Option<&ThreadPool>,
    items: Vec<T>,
    init: impl Fn() -> S + Sync,
    work: impl Fn(&mut S, T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let Some(pool) = pool else {
        let mut own = init();
        return items.into_iter().map(|item| work(&mut own, item)).collect();
    };
    #[expect(clippy::disallowed_methods, reason = "this is the pool that could be started")]
    pool.install(|| {
        let items = items.into_par_iter().with_max_len(1);
        items.map_init(&init, &work).collect()
    })
}

/// Why no further thread may be started, where a test says so: debug builds take `FLAMBEAU_THREADS`, the number of
/// threads that may be started.
fn refusal() -> Option<io::Error> {
    #[cfg(debug_assertions)]
    {
        use std::sync::atomic::{AtomicUsize, Ordering};
        static LEFT: LazyLock<AtomicUsize> = LazyLock::new(|| {
            let limit = std::env::var("FLAMBEAU_THREADS").ok();
            let limit = limit.map(|limit| limit.parse().expect("FLAMBEAU_THREADS is a number of threads"));
            AtomicUsize::new(limit.unwrap_or(usize::MAX))
        });
        let taken = LEFT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if taken.is_err() {
            return Some(rustix::io::Errno::AGAIN.into());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn answers_come_in_the_order_of_the_items_with_a_pool_and_without() {
        for pool in [None, pool(3)] {
            let doubled = try_map(
                pool.as_ref(),
                (0..1000).collect(),
                || 2,
                |by, n: i32| Ok::<_, ()>(n * *by),
            );
            assert_eq!(doubled, Ok((0..1000).map(|n| n * 2).collect()));
            let failed = try_map(
                pool.as_ref(),
                vec![1, 2, 3],
                || (),
                |(), n| if n == 2 { Err(n) } else { Ok(n) },
            );
            assert_eq!(failed, Err(2));
        }
    }

    #[test]
    fn shared_work_is_done_once_whatever_threads_there_are() {
        for more in [0, 1, 7] {
            let (queue, done) = (Mutex::new(0..100), AtomicUsize::new(0));
            share(more, || {
                loop {
                    let next = queue.lock().expect("unpoisoned").next();
                    let Some(_) = next else { return };
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
            assert_eq!(done.into_inner(), 100);
        }
    }

    #[test]
    fn no_pool_has_a_single_thread() {
        assert!(pool(1).is_none());
        assert_eq!(pool(2).map(|pool| pool.current_num_threads()), Some(2));
    }
}
