//! Short-lived children under a time limit: tools that probe hardware, interpreters that are asked for facts.
//!
//! Owns: the way such a child is run. It has no stdin, is a process group of its own, its stdout and stderr are read
//! at the same time and bounded, and it never outlives its time limit unnoticed. A child that cannot be killed (one in
//! uninterruptible sleep inside a hung driver) is left behind and reported, because waiting for it would hang us too.
//! Refuses: nothing. What the output means is the caller's business; it is lossy UTF-8.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a child whose output has not ended is looked at again.
const SLICE: Duration = Duration::from_millis(10);
/// How long a finished child's output may stay open, held by a grandchild, before it is taken as it stands.
const LINGER: Duration = Duration::from_millis(500);
/// How long a killed child may take to die before it counts as unkillable.
const DYING: Duration = Duration::from_millis(500);

/// What a child may use.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Wall-clock time.
    pub time: Duration,
    /// Bytes kept of stdout and of stderr, each; what comes after them is read and dropped.
    pub output: usize,
}

/// How a child ended.
#[derive(Debug)]
pub enum Outcome {
    /// It ended by itself.
    Finished(Finished),
    /// Its time was up; `abandoned` where it did not even die when killed.
    TimedOut {
        /// Whether it still exists.
        abandoned: bool,
    },
    /// There is no such program.
    NotFound,
    /// It could not be started or watched.
    Failed(io::Error),
}

/// A child that ended by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// Its exit code; 128 plus the signal's number where a signal ended it, as shells have it.
    pub exit: i32,
    /// Its stdout, bounded.
    pub stdout: String,
    /// Its stderr, bounded.
    pub stderr: String,
}

/// Runs `command` to its end or to its limits.
#[must_use]
pub fn run(mut command: Command, limits: Limits) -> Outcome {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    let mut child = match spawn(&mut command) {
        Ok(child) => child,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Outcome::NotFound,
        Err(error) => return Outcome::Failed(error),
    };
    let (open, closed) = channel();
    let stdout = child
        .stdout
        .take()
        .map(|pipe| capture(pipe, limits.output, open.clone()));
    let stderr = child
        .stderr
        .take()
        .map(|pipe| capture(pipe, limits.output, open.clone()));
    drop(open);
    match wait(&mut child, &closed, limits.time) {
        Ok(Some(status)) => Outcome::Finished(Finished {
            exit: status
                .code()
                .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
            stdout: text(stdout),
            stderr: text(stderr),
        }),
        Ok(None) => Outcome::TimedOut {
            abandoned: !kill(&mut child),
        },
        Err(error) => {
            kill(&mut child);
            Outcome::Failed(error)
        }
    }
}

/// Starts the child; a program that somebody is just writing is tried a few times.
fn spawn(command: &mut Command) -> io::Result<Child> {
    let mut attempts = 0;
    loop {
        match command.spawn() {
            Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && attempts < 20 => {
                attempts += 1;
                thread::sleep(SLICE);
            }
            result => return result,
        }
    }
}

type Shared = Arc<Mutex<Vec<u8>>>;

/// Reads `pipe` on a thread of its own, so that a child that fills one pipe while the other is read never blocks.
fn capture(mut pipe: impl Read + Send + 'static, limit: usize, open: Sender<()>) -> Shared {
    let shared = Shared::default();
    let kept = Arc::clone(&shared);
    thread::spawn(move || {
        let mut buffer = [0u8; 8192];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => {
                    let mut bytes = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    let room = limit.saturating_sub(bytes.len());
                    bytes.extend_from_slice(&buffer[..count.min(room)]);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        // The receiver learns of the end by the sender's disappearance.
        drop(open);
    });
    shared
}

fn text(shared: Option<Shared>) -> String {
    let bytes = shared.map(|shared| std::mem::take(&mut *shared.lock().unwrap_or_else(PoisonError::into_inner)));
    String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
}

/// Waits for the child's end and for the end of its output; `None` when the time is up.
fn wait(child: &mut Child, closed: &Receiver<()>, time: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(200);
    let mut drained = false;
    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        if ended.is_none() {
            ended = child.try_wait()?.map(|status| (status, Instant::now()));
        }
        if let Some((status, at)) = ended
            && (drained || at.elapsed() >= LINGER)
        {
            return Ok(Some(status));
        }
        if ended.is_none() && start.elapsed() >= time {
            return Ok(None);
        }
        if drained {
            thread::sleep(pause);
            pause = (pause * 2).min(SLICE);
        } else {
            drained = closed.recv_timeout(SLICE) == Err(RecvTimeoutError::Disconnected);
        }
    }
}

/// Kills the child's process group; whether the child is gone afterwards.
fn kill(child: &mut Child) -> bool {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(group) = group {
        // Refused only where the group is already gone, which the loop below sees.
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
    }
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(None) if start.elapsed() < DYING => thread::sleep(SLICE),
            Ok(status) => return status.is_some(),
            Err(_) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str, limits: Limits) -> Outcome {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        run(command, limits)
    }

    const WIDE: Limits = Limits {
        time: Duration::from_mins(1),
        output: 1 << 20,
    };

    #[test]
    fn a_child_ends_with_its_code_and_both_streams() {
        let Outcome::Finished(finished) = shell("echo out; echo err >&2; read line || exit 3", WIDE) else {
            panic!("finished")
        };
        assert_eq!(
            (finished.exit, finished.stdout.as_str(), finished.stderr.as_str()),
            (3, "out\n", "err\n")
        );
        let Outcome::Finished(finished) = shell("kill -9 $$", WIDE) else {
            panic!("finished")
        };
        assert_eq!(finished.exit, 137);
    }

    #[test]
    fn output_is_bounded_and_full_pipes_do_not_block() {
        let script = "i=0; while [ $i -lt 3000 ]; do printf '%0100d' 0; printf '%0100d' 0 >&2; i=$((i+1)); done";
        let limits = Limits { output: 1000, ..WIDE };
        let Outcome::Finished(finished) = shell(script, limits) else {
            panic!("finished")
        };
        assert_eq!((finished.stdout.len(), finished.stderr.len()), (1000, 1000));
    }

    #[test]
    fn a_child_that_hangs_is_killed_with_its_children() {
        let limits = Limits {
            time: Duration::from_millis(50),
            output: 10,
        };
        assert!(matches!(
            shell("sleep 600 & wait", limits),
            Outcome::TimedOut { abandoned: false }
        ));
    }

    #[test]
    fn output_held_open_by_a_grandchild_is_taken_as_it_stands() {
        // `sleep` inherits stdout and outlives the shell by far more than the linger time.
        let Outcome::Finished(finished) = shell("echo $$; sleep 5 & exit 0", WIDE) else {
            panic!("finished")
        };
        assert!(finished.stdout.trim().parse::<u32>().is_ok());
    }

    #[test]
    fn a_missing_program_is_told_apart() {
        assert!(matches!(
            run(Command::new("/nonexistent/tool"), WIDE),
            Outcome::NotFound
        ));
    }
}
