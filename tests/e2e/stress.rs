//! Many commands at once over one store, some of them killed: afterwards nothing is damaged and everything works.
//!
//! A short run with a fixed seed is part of the suite. A long one:
//! `FLAMBEAU_STRESS_SECONDS=600 cargo nextest run --locked --test e2e stress --no-capture`; `FLAMBEAU_STRESS_SEED` chooses another
//! course of it.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::steps::names;
use crate::support::world::World;

/// The projects and what each of them requires.
const PROJECTS: [(&str, &[&str]); 3] = [
    ("one", &["filelock", "fsspec"]),
    ("two", &["filelock", "typing-extensions"]),
    ("three", &["torch==2.7.0", "filelock"]),
];
const CHANNELS: [&str; 2] = ["cpu", "cu118"];
const THREADS: u64 = 4;

/// xorshift64*: the same course for the same seed, as far as the machine's scheduling allows.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[usize::try_from(self.below(choices.len() as u64)).expect("a small number")]
    }
}

/// What happened: by verb, how often it ended by itself and how often it was killed.
type Tally = Mutex<BTreeMap<String, (u64, u64)>>;

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

struct Arena {
    world: World,
    projects: Vec<PathBuf>,
    tally: Tally,
}

impl Arena {
    fn new() -> Option<Self> {
        let world = World::new();
        let python = world.any_python()?;
        let mut projects = Vec::new();
        for (name, requirements) in PROJECTS {
            let project = world.path(name);
            std::fs::create_dir(&project).expect("a new folder");
            for channel in CHANNELS {
                let shown = project.display().to_string();
                let lock = [
                    "lock",
                    "--project",
                    &shown,
                    "--channel",
                    channel,
                    "--python",
                    &python.version,
                ];
                world.flambeau(&[&lock[..], requirements].concat()).ok();
            }
            projects.push(project);
        }
        Some(Self {
            world,
            projects,
            tally: Mutex::default(),
        })
    }

    /// One command of a user, or of cron.
    fn command(dice: &mut Dice) -> Vec<String> {
        let channel = *dice.of(&[&CHANNELS[0], &CHANNELS[1]]);
        let command: &[&str] = match dice.below(16) {
            0..=3 => &["build", "--channel", channel],
            4 => &["build", "--channel", channel, "--no-activate"],
            5 | 6 => &["activate", channel],
            7 => &["list"],
            8 => &["status"],
            9 => &["verify"],
            10 => &["verify", "--quick", "--all"],
            11 => &["verify", "--all", "--repair"],
            12 => &["gc"],
            13 => &["gc", "--older-than", "0s"],
            14 => &["rollback"],
            _ => &["generations", "--delete", "+2"],
        };
        command.iter().map(|&word| word.to_owned()).collect()
    }

    fn start(&self, words: &[String], project: &Path) -> Child {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let mut command = self.world.flambeau_command(&words);
        command
            .arg("--project")
            .arg(project)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command.spawn().expect("it starts")
    }

    /// One user: commands one after the other, a third of them killed.
    fn user(&self, seed: u64, until: Instant) {
        let mut dice = Dice(seed);
        while Instant::now() < until {
            let words = Self::command(&mut dice);
            let index = usize::try_from(dice.below(self.projects.len() as u64)).expect("a small number");
            let mut child = self.start(&words, &self.projects[index]);
            if dice.below(3) == 0 {
                std::thread::sleep(Duration::from_millis(dice.below(120)));
                child.kill().expect("it is ours");
            }
            let output = child.wait_with_output().expect("it ends");
            let killed = output.status.signal() == Some(9);
            let stderr = String::from_utf8_lossy(&output.stderr);
            let stdout = String::from_utf8_lossy(&output.stdout);
            // 1: nothing is built or active yet.
            let fine = killed || matches!(output.status.code(), Some(0 | 1));
            assert!(fine, "{words:?}: {}\n{stdout}\n{stderr}", output.status);
            let verb = words[0].clone();
            let mut tally = self.tally.lock().expect("nobody panicked");
            let counts = tally.entry(verb).or_default();
            if killed { counts.1 += 1 } else { counts.0 += 1 }
        }
    }

    /// Nothing is damaged, nothing needs help, and what is active works.
    fn assert_whole(&self) {
        let output = self.world.flambeau(&["verify", "--all"]);
        assert!(output.status.success(), "{output}");
        for project in &self.projects {
            if !project.join(".venv").is_symlink() {
                continue;
            }
            let mut command = self.world.command(project.join(".venv/bin/python"));
            command.args(["-c", "import filelock; print(filelock.__file__)"]);
            self.world.run(command).ok();
        }
        for (project, channel) in self.projects.iter().zip(CHANNELS.iter().cycle()) {
            let shown = project.display().to_string();
            self.world
                .flambeau(&["build", "--channel", channel, "--project", &shown])
                .ok();
        }
        self.world.flambeau(&["verify", "--all"]).ok();
    }
}

#[test]
fn stress_of_many_commands_at_once_some_of_them_killed() {
    let Some(arena) = Arena::new() else { return };
    let seconds = number("FLAMBEAU_STRESS_SECONDS", 8);
    let seed = number("FLAMBEAU_STRESS_SEED", 20_260_501);
    let until = Instant::now() + Duration::from_secs(seconds);
    std::thread::scope(|scope| {
        let users: Vec<_> = (1..=THREADS)
            .map(|user| {
                let arena = &arena;
                scope.spawn(move || arena.user(seed.wrapping_mul(user * 2 + 1), until))
            })
            .collect();
        for user in users {
            user.join().expect("no command ended as it should not");
        }
    });
    let tally = arena.tally.lock().expect("nobody panicked").clone();
    let (done, killed) = tally
        .values()
        .fold((0, 0), |sum, counts| (sum.0 + counts.0, sum.1 + counts.1));
    let debris = names(&arena.world.store().join("tmp")).len();
    let environments = names(&arena.world.store().join("envs")).len();
    let text = format!(
        "seed {seed}, {seconds} s: {done} commands ended by themselves, {killed} were killed {tally:?}; \
         {environments} environments, {debris} folders of debris"
    );
    writeln!(std::io::stderr(), "{text}").expect("a terminal or a pipe");
    assert!(done > 0 && killed > 0, "{tally:?}");
    arena.assert_whole();
}
