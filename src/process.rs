//! Short-lived children under a time limit: tools that probe hardware, interpreters that are asked for facts.
//!
//! Owns: the way such a child is run. It has no stdin, is a process group of its own, its stdout and stderr are read
//! at the same time and bounded, and it never outlives its time limit unnoticed. A child that cannot be killed (one in
//! uninterruptible sleep inside a hung driver) is left behind and reported, because waiting for it would hang us too.
//! Refuses: nothing. What the output means is the caller's business; it is lossy UTF-8.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

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
    let mut pipes = Pipes::of(&mut child, limits.output);
    match wait(&mut child, &mut pipes, limits.time) {
        Ok(Some(status)) => {
            let [stdout, stderr] = pipes.0;
            Outcome::Finished(Finished {
                exit: status
                    .code()
                    .unwrap_or_else(|| 128 + status.signal().unwrap_or_default()),
                stdout: stdout.text(),
                stderr: stderr.text(),
            })
        }
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

/// What arrives from one of the child's streams.
struct Pipe {
    /// None once it has ended.
    open: Option<File>,
    kept: Vec<u8>,
    limit: usize,
}

impl Pipe {
    /// Takes what is there; what is beyond the limit is read and dropped, so that the child never waits for us.
    fn read(&mut self) {
        let Some(open) = &mut self.open else { return };
        let mut buffer = [0u8; 8192];
        match open.read(&mut buffer) {
            Ok(count) if count > 0 => {
                let room = self.limit.saturating_sub(self.kept.len());
                self.kept.extend_from_slice(&buffer[..count.min(room)]);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(_) | Err(_) => self.open = None,
        }
    }

    fn text(self) -> String {
        String::from_utf8_lossy(&self.kept).into_owned()
    }
}

/// Both streams, read by the one thread that waits for the child: a child that fills one while the other is read never
/// blocks, and no thread is needed that the system may refuse.
struct Pipes([Pipe; 2]);

impl Pipes {
    fn of(child: &mut Child, limit: usize) -> Self {
        let ends = [
            child.stdout.take().map(OwnedFd::from),
            child.stderr.take().map(OwnedFd::from),
        ];
        Self(ends.map(|end| Pipe {
            open: end.map(File::from),
            kept: Vec::new(),
            limit,
        }))
    }

    fn are_drained(&self) -> bool {
        self.0.iter().all(|pipe| pipe.open.is_none())
    }

    /// Waits until something arrives, at most for a slice, and takes it.
    fn read(&mut self) -> io::Result<()> {
        let open: Vec<usize> = (0..2).filter(|at| self.0[*at].open.is_some()).collect();
        let watched = open.iter().filter_map(|at| self.0[*at].open.as_ref());
        let mut watched: Vec<PollFd<'_>> = watched.map(|file| PollFd::new(file, PollFlags::IN)).collect();
        match poll(&mut watched, Some(&SLICE.try_into().map_err(io::Error::other)?)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready: Vec<bool> = watched.iter().map(|one| !one.revents().is_empty()).collect();
        for (at, _) in open.into_iter().zip(ready).filter(|(_, ready)| *ready) {
            self.0[at].read();
        }
        Ok(())
    }
}

/// Waits for the child's end and for the end of its output; `None` when the time is up.
fn wait(child: &mut Child, pipes: &mut Pipes, time: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    let mut pause = Duration::from_micros(200);
    let mut ended: Option<(ExitStatus, Instant)> = None;
    loop {
        if ended.is_none() {
            ended = child.try_wait()?.map(|status| (status, Instant::now()));
        }
        if let Some((status, at)) = ended
            && (pipes.are_drained() || at.elapsed() >= LINGER)
        {
            return Ok(Some(status));
        }
        if ended.is_none() && start.elapsed() >= time {
            return Ok(None);
        }
        if pipes.are_drained() {
            thread::sleep(pause);
            pause = (pause * 2).min(SLICE);
        } else {
            pipes.read()?;
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
