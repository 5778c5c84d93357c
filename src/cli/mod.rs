//! The command line: clap types, one file a verb, and the mapping of errors to exit codes and hints.
//!
//! Verbs orchestrate the library and say what happened; no logic lives here that a user of the library would miss.

#![expect(
    clippy::doc_markdown,
    reason = "documentation of arguments is help text, shown as it is"
)]

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, ValueEnum};

use crate::config::{Config, Overrides, Vars};
use crate::error::{Failure, Kind};
use crate::progress::Reporter;
use crate::project::Project;
use crate::project::lockfiles::ReadLockfile;
use crate::shown;
use crate::ui::{self, ProgressMode, Ui, UiOptions};

mod activate;
mod build;
mod changes;
mod detect;
mod diff;
mod doctor;
mod edit;
mod explain;
mod explain_bundle;
mod explain_from;
mod explain_wheel;
mod export;
mod fetch;
mod gc;
mod generations;
mod hash;
mod import;
mod list;
mod lock;
mod options;
mod pin;
mod rebuild;
mod rollback;
mod run;
mod selection;
mod status;
mod tree;
mod verbs;
mod verify;
mod why;

use options::ChoiceArgs;
use verbs::verbs;

/// Builds PyTorch environments the way Nix builds packages: one key, one immutable environment, switching by one
/// symlink.
#[derive(Debug, Parser)]
#[command(name = "flambeau", version, max_term_width = 110)]
struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Flags that every verb takes, before or after it.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
struct Globals {
    /// The project's folder [default: the current folder]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    project: Option<PathBuf>,
    /// The settings file to read in place of appsettings.json
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    config: Option<PathBuf>,
    /// Where environments are kept [env: FLAMBEAU_STORE_DIR] [default: the user's data folder]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    store_dir: Option<PathBuf>,
    /// Where wheels are kept [env: FLAMBEAU_CACHE_DIR] [default: ./cache where it holds CACHEDIR.TAG, else the user's
    /// cache folder]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Global options")]
    cache_dir: Option<PathBuf>,
    /// Never use the network [env: FLAMBEAU_OFFLINE]
    #[arg(long, global = true, help_heading = "Global options")]
    offline: bool,
    /// Let this host, NAME or NAME:PORT, be asked by http and without a valid certificate; may be given several times
    #[arg(long, global = true, value_name = "HOST", help_heading = "Global options")]
    allow_insecure_host: Vec<String>,
    /// Print one JSON document
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// Print nothing but results and errors
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Global options"
    )]
    quiet: bool,
    /// Say more
    #[arg(short, long, global = true, help_heading = "Global options")]
    verbose: bool,
    /// Show no progress
    #[arg(long, global = true, conflicts_with = "progress", help_heading = "Global options")]
    no_progress: bool,
    /// How to show progress; `json` writes one event a line to stderr
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "HOW",
        help_heading = "Global options"
    )]
    progress: ProgressArg,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        help_heading = "Global options"
    )]
    color: ColorArg,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum ProgressArg {
    #[default]
    Auto,
    None,
    Json,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum ColorArg {
    #[default]
    Auto,
    Always,
    Never,
}

verbs! {
    "detect" Detect(detect::DetectArgs) "Say which backend this machine gets, and why";
    "doctor" Doctor(doctor::DoctorArgs) "Say what is well and what is not: GPU, Python, indexes, disk, store, cache, the active environment's torch";
    "init" Init(edit::InitArgs) "Start a project: write pyproject.toml with the default requirements, and lock them";
    "add" Add(edit::AddArgs) "Add requirements to pyproject.toml, and lock anew";
    "remove" Remove(edit::RemoveArgs) "Take requirements out of pyproject.toml, and lock anew";
    "lock" Lock(lock::LockArgs) "Resolve requirements and write lockfiles/pylock.*.toml and keys.json";
    "hash" Hash(hash::HashArgs) "Print environment keys";
    "fetch" Fetch(fetch::FetchArgs) "Bring wheels into the cache";
    "build" Build(build::BuildArgs) "Build the wanted environment, if it is not there yet, and activate it";
    "activate" Activate(activate::ActivateArgs) "Flip .venv to an environment that is already built";
    "rollback" Rollback(rollback::RollbackArgs) "Go back to the environment that was active before";
    "generations" Generations(generations::GenerationsArgs) "List the environments that were active in this project, or forget some";
    "status" Status(status::StatusArgs) "Say what is active";
    "diff" Diff(diff::DiffArgs) "Compare two environments or lockfiles, package by package";
    "why" Why(why::WhyArgs) "Say which packages need a package";
    "tree" Tree(tree::TreeArgs) "Draw the packages with what each needs";
    "list" List(list::ListArgs) "List the environments of the store";
    "verify" Verify(verify::VerifyArgs) "Check that everything is still what it was when it was built, and mend what is not";
    "gc" Gc(gc::GcArgs) "Delete what nothing needs: environments, wheel trees, leftovers of killed commands";
    "pin" Pin(pin::PinArgs) "Keep an environment under a name, whatever projects do";
    "unpin" Unpin(pin::UnpinArgs) "Remove a pin";
    "export" Export(export::ExportArgs) "Write a bundle for machines without a network, or a lockfile in a form that other tools install from";
    "import" Import(import::ImportArgs) "Take a bundle in: wheels into the cache, trees into the store, lockfiles into the project";
    "run" Run(run::RunArgs) "Run a command in the wanted environment, building it first if needed";
    "shell" Shell(run::InsideArgs) "Start a shell in the wanted environment, building it first if needed";
}

impl Command {
    /// The choice that a verb's flags make.
    fn choice(&self) -> Option<ChoiceArgs> {
        match self {
            Self::Detect(args) => Some(args.choice.clone()),
            Self::Doctor(args) => Some(args.choice.clone()),
            Self::Init(_)
            | Self::Add(_)
            | Self::Remove(_)
            | Self::Lock(_)
            | Self::Activate(_)
            | Self::Rollback(_)
            | Self::Generations(_)
            | Self::Status(_)
            | Self::Gc(_)
            | Self::Pin(_)
            | Self::Unpin(_)
            | Self::Diff(_)
            | Self::Why(_)
            | Self::Tree(_)
            | Self::Verify(_)
            | Self::List(_)
            | Self::Import(_) => None,
            Self::Hash(args) => Some(args.choice.clone()),
            Self::Fetch(args) => Some(args.selection.choice()),
            Self::Build(args) => Some(args.choice.clone()),
            Self::Export(args) => Some(args.selection.choice()),
            Self::Run(args) => Some(args.inside.choice.clone()),
            Self::Shell(args) => Some(args.choice.clone()),
        }
    }

    /// Whether a verb reads and writes a few small files, and that is all.
    const fn is_brief(&self) -> bool {
        matches!(
            self,
            Self::Hash(_)
                | Self::Activate(_)
                | Self::Rollback(_)
                | Self::Generations(_)
                | Self::Status(_)
                | Self::Diff(_)
                | Self::Why(_)
                | Self::Tree(_)
                | Self::List(_)
                | Self::Pin(_)
                | Self::Unpin(_)
        )
    }

    /// The flags of a verb that stand for configuration.
    fn overrides(&self) -> Overrides {
        let choice = self.choice().unwrap_or_default();
        let allow_path = match self {
            Self::Add(args) => args.allow_path,
            Self::Lock(args) => args.allow_path,
            Self::Fetch(args) => args.from.allow_path,
            Self::Build(args) => args.from.allow_path,
            Self::Hash(args) => args.from.allow_path,
            _ => false,
        };
        let allow_unrecorded = match self {
            Self::Add(args) => args.allow_unrecorded,
            Self::Lock(args) => args.allow_unrecorded,
            Self::Build(args) => args.allow_unrecorded,
            _ => false,
        };
        let (no_bytecode, no_wheels) = match self {
            Self::Build(args) => (args.no_compile_bytecode, args.no_keep_wheels),
            _ => (false, false),
        };
        Overrides {
            backend: choice.backend,
            channel: choice.channel,
            python: choice.python,
            index_url: choice.index_url,
            link_mode: choice.link_mode,
            allow_path,
            allow_unrecorded,
            no_bytecode,
            no_wheels,
            only_looks: self.only_looks(),
            ..Overrides::default()
        }
    }

    /// Whether a verb, with its flags, only looks: then project, store and cache stay as they are, byte for byte.
    const fn only_looks(&self) -> bool {
        match self {
            Self::Detect(_)
            | Self::Doctor(_)
            | Self::Hash(_)
            | Self::Status(_)
            | Self::Diff(_)
            | Self::Why(_)
            | Self::Tree(_)
            | Self::List(_) => true,
            Self::Lock(args) => args.check,
            Self::Fetch(args) => args.dry_run || args.check,
            Self::Build(args) => args.dry_run,
            Self::Generations(args) => args.only_looks(),
            Self::Verify(args) => !args.repair,
            Self::Gc(args) => args.only_looks(),
            Self::Import(args) => args.check,
            Self::Init(_)
            | Self::Add(_)
            | Self::Remove(_)
            | Self::Activate(_)
            | Self::Rollback(_)
            | Self::Pin(_)
            | Self::Unpin(_)
            | Self::Export(_)
            | Self::Run(_)
            | Self::Shell(_) => false,
        }
    }
}

/// What a verb works with.
pub(crate) struct Context<'a> {
    config: &'a Config,
    vars: &'a Vars,
    ui: &'a Ui,
    /// Who is told of long work: `ui`, or somebody before it.
    reporter: &'a dyn Reporter,
}

impl<'a> Context<'a> {
    fn project(&self) -> Project<'a> {
        Project {
            config: self.config,
            vars: self.vars,
            reporter: self.reporter,
        }
    }

    /// Says what is odd about a lockfile that was read.
    fn warn_of(&self, read: &ReadLockfile) {
        for warning in &read.warnings {
            self.ui.warning(&format!("{}: {warning}", read.path.display()));
        }
    }
}

/// What a verb ends with: nothing, or the exit code of a program it ran.
type VerbResult = Result<ExitCode, Failure>;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    std::panic::set_hook(Box::new(ui::panicked));
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(error, &arguments),
    };
    tell_of_large_files();
    let vars = Vars::current();
    let options = cli.globals.ui_options(&vars);
    if cli.command.is_brief() {
        end_quietly_on_signals();
    } else {
        end_on_signals(options);
    }
    let ui = Ui::new(options);
    // What panicked is dropped with the process; only the answer goes on.
    let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(cli, &vars, &ui)));
    let result = ran.unwrap_or_else(|_| {
        Err(Failure::new(Kind::Defect, "internal error: this is a bug in flambeau")
            .hint("report it with the lines above; run `flambeau verify` to check the active environment"))
    });
    let code = match result {
        Ok(code) => code,
        Err(failure) => {
            ui.failure(&failure);
            ExitCode::from(failure.kind.exit_code())
        }
    };
    match ui.undelivered() {
        None => code,
        Some(source) => {
            let failure = Failure::user(crate::fsx::PathError {
                action: "write to",
                path: "stdout".into(),
                source,
            });
            ui.failure(&failure);
            ExitCode::from(failure.kind.exit_code())
        }
    }
}

/// Lets a file that outgrows its limit (`ulimit -f`) be an error that is told, where the signal would end the process
/// without a word. Programs that are started get the signal's own meaning back.
fn tell_of_large_files() {
    let seen = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, seen).ok();
}

/// The same for verbs that are over before anybody could ask what was interrupted; starting a thread would take them a
/// good part of their time.
fn end_quietly_on_signals() {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let code = i32::from(Kind::Interrupted.exit_code());
    for signal in [SIGINT, SIGTERM] {
        let always = Arc::new(AtomicBool::new(true));
        signal_hook::flag::register_conditional_shutdown(signal, code, always).ok();
    }
}

/// Ends the process with exit code 130 on SIGINT and SIGTERM. What was fetched stays and is resumed; what was being
/// written is debris under `tmp/` that nobody sees; workers end because their pipe closes.
fn end_on_signals(options: UiOptions) {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]);
    // Without a handler the signals end the process all the same, only without the exit code.
    let Ok(mut signals) = signals else { return };
    let watching = crate::threads::spawn(move || {
        if signals.forever().next().is_some() {
            let failure = Failure::new(Kind::Interrupted, "interrupted").hint("run the same command again");
            Ui::new(UiOptions {
                progress: ProgressMode::Off,
                ..options
            })
            .failure(&failure);
            std::process::exit(i32::from(Kind::Interrupted.exit_code()));
        }
    });
    if !watching {
        // The code without the words is all that can be given without a thread.
        end_quietly_on_signals();
    }
}

/// Help and version go to stdout; a wrong command line is told as every failure is.
fn usage(mut error: clap::Error, arguments: &[OsString]) -> ExitCode {
    // A value that is no URL may hold a password all the same.
    if let Some(ContextValue::String(value)) = error.get(ContextKind::InvalidValue)
        && let Some((_, rest)) = value.rsplit_once('@')
    {
        let hidden = ContextValue::String(format!("****@{rest}"));
        error.insert(ContextKind::InvalidValue, hidden);
    }
    let options = UiOptions {
        json: false,
        quiet: false,
        verbose: false,
        color: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stderr().is_terminal(),
        progress: ProgressMode::Off,
    };
    let is_answer = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let before_command = arguments.iter().take_while(|argument| *argument != "--");
    let json = before_command.into_iter().any(|argument| argument == "--json");
    if is_answer {
        // A closed pipe is nobody's failure.
        error.print().ok();
    } else {
        if !json {
            one_line_each(&mut error);
        }
        let text = error.to_string();
        let message = text.strip_prefix("error: ").unwrap_or(&text).trim().to_owned();
        if json {
            Ui::new(UiOptions { json, ..options }).failure(&Failure::new(Kind::Usage, message));
        } else {
            Ui::new(options).usage(&message);
        }
    }
    ExitCode::from(if is_answer { 0 } else { Kind::Usage.exit_code() })
}

/// The words of the command line, each as one line: clap shows them as they are.
fn one_line_each(error: &mut clap::Error) {
    let words: Vec<(ContextKind, ContextValue)> = error
        .context()
        .filter_map(|(kind, value)| {
            let line = |word: &String| shown::line(word).into_owned();
            let shown = match value {
                ContextValue::String(word) => ContextValue::String(line(word)),
                ContextValue::Strings(words) => ContextValue::Strings(words.iter().map(line).collect()),
                _ => return None,
            };
            Some((kind, shown))
        })
        .collect();
    for (kind, value) in words {
        error.insert(kind, value);
    }
}

fn run(cli: Cli, vars: &Vars, ui: &Ui) -> VerbResult {
    let config = cli.globals.config(cli.command.overrides(), vars)?;
    let context = Context {
        config: &config,
        vars,
        ui,
        reporter: ui,
    };
    match cli.command {
        Command::Detect(args) => detect::run(&args, &context),
        Command::Doctor(_) => Ok(doctor::run(&context)),
        Command::Init(args) => edit::init(&args, &context),
        Command::Add(args) => edit::add(&args, &context),
        Command::Remove(args) => edit::remove(&args, &context),
        Command::Lock(args) => lock::run(&args, &context),
        Command::Hash(args) => hash::run(&args, &context),
        Command::Fetch(args) => fetch::run(&args, &context),
        Command::Build(args) => build::run(&args, &context),
        Command::Activate(args) => activate::run(&args, &context),
        Command::Rollback(args) => rollback::run(&args, &context),
        Command::Generations(args) => generations::run(&args, &context),
        Command::Status(args) => status::run(&args, &context),
        Command::Diff(args) => diff::run(&args, &context),
        Command::Why(args) => why::run(&args, &context),
        Command::Tree(args) => tree::run(&args, &context),
        Command::List(args) => list::run(&args, &context),
        Command::Verify(args) => verify::run(&args, &context),
        Command::Gc(args) => gc::run(&args, &context),
        Command::Pin(args) => pin::pin(&args, &context),
        Command::Unpin(args) => pin::unpin(&args, &context),
        Command::Export(args) => export::run(&args, &context),
        Command::Import(args) => import::run(&args, &context),
        Command::Run(args) => run::run(&args, &context),
        Command::Shell(args) => run::shell(&args, &context),
    }
}

impl Globals {
    fn config(&self, of_verb: Overrides, vars: &Vars) -> Result<Config, Failure> {
        let cwd = match (std::env::current_dir(), &self.project) {
            (Ok(cwd), _) => cwd,
            // A deleted current folder does not matter to those who name the project's.
            (Err(_), Some(project)) if project.is_absolute() => project.clone(),
            (Err(source), _) => {
                let path = "the current folder".into();
                return Err(Failure::user(crate::fsx::PathError {
                    action: "find",
                    path,
                    source,
                })
                .hint("change into a folder that exists, or name the project's with --project"));
            }
        };
        let overrides = Overrides {
            project: self.project.clone(),
            config: self.config.clone(),
            store_dir: self.store_dir.clone(),
            cache_dir: self.cache_dir.clone(),
            offline: self.offline,
            insecure_hosts: self.allow_insecure_host.clone(),
            ..of_verb
        };
        Ok(Config::load(&overrides, vars, &cwd)?)
    }

    fn ui_options(&self, vars: &Vars) -> UiOptions {
        // NO_COLOR (no-color.org): present and not empty.
        let color = match self.color {
            ColorArg::Always => true,
            ColorArg::Never => false,
            ColorArg::Auto => vars.os("NO_COLOR").is_none() && std::io::stderr().is_terminal(),
        };
        let progress = match self.progress {
            _ if self.no_progress => ProgressMode::Off,
            ProgressArg::Auto => ProgressMode::Auto,
            ProgressArg::None => ProgressMode::Off,
            ProgressArg::Json => ProgressMode::Json,
        };
        UiOptions {
            json: self.json,
            quiet: self.quiet,
            verbose: self.verbose,
            color,
            progress,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn global_flags_stand_before_or_after_the_verb() {
        for line in [["flambeau", "--json", "status"], ["flambeau", "status", "--json"]] {
            assert!(Cli::try_parse_from(line).expect("parsed").globals.json);
        }
    }
}
