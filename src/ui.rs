//! The only printer: results to stdout, everything else to stderr; for people, as JSON, or as progress events.
//!
//! Owns: what a message looks like (`error:`, `caused by:`, `hint:`, `warning:`), progress bars, and that `--json`
//! prints exactly one document, on failure too. Meaning never hangs on colour alone. Whatever comes from outside
//! passes [`crate::shown`] on its way.

use std::collections::HashMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::json;

use crate::error::Failure;
use crate::progress::{Event, Reporter};
use crate::shown;

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProgressMode {
    /// Bars on a terminal, lines elsewhere.
    Auto,
    /// Nothing.
    Off,
    /// One JSON object a line on stderr.
    Json,
}

/// Settings of the printer.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches")]
pub struct UiOptions {
    /// One JSON document on stdout instead of text.
    pub json: bool,
    /// No messages but errors.
    pub quiet: bool,
    /// More messages.
    pub verbose: bool,
    /// ANSI colours on stderr.
    pub color: bool,
    /// Progress.
    pub progress: ProgressMode,
}

/// Prints.
pub struct Ui {
    options: UiOptions,
    bars: Option<Bars>,
    lines: Mutex<Lines>,
    undelivered: Mutex<Option<io::Error>>,
}

/// Bars of a terminal: one for each large wheel and a total.
struct Bars {
    all: MultiProgress,
    state: Mutex<BarState>,
}

#[derive(Default)]
struct BarState {
    total: Option<ProgressBar>,
    files: HashMap<String, ProgressBar>,
    unpack: Option<ProgressBar>,
    compile: Option<ProgressBar>,
    resolve: Option<ProgressBar>,
    verify: Option<ProgressBar>,
}

/// Totals for plain lines.
#[derive(Default)]
struct Lines {
    files: usize,
    bytes: u64,
    done_files: usize,
    done_bytes: u64,
    to_unpack: usize,
    unpacked: usize,
    last: Option<Instant>,
    started: Option<Instant>,
}

/// Wheels smaller than this share the total's bar.
const LARGE: u64 = 8 << 20;
/// Plain lines come no closer than this.
const LINE_EVERY: Duration = Duration::from_secs(5);

impl Ui {
    /// A printer.
    #[must_use]
    pub fn new(options: UiOptions) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let drawn = options.progress == ProgressMode::Auto && terminal && !options.quiet;
        let bars = drawn.then(|| Bars {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()),
            state: Mutex::default(),
        });
        Self {
            options,
            bars,
            lines: Mutex::default(),
            undelivered: Mutex::default(),
        }
    }

    /// Whether results are JSON.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.options.json
    }

    /// Prints a result: the document with `"schema": 1` under `--json`, else the lines. No value breaks out of its line.
    pub fn result(&self, document: &impl Serialize, lines: &[impl AsRef<str>]) {
        self.clear();
        if self.options.json {
            self.document(document);
        } else if !lines.is_empty() {
            let lines: Vec<_> = lines.iter().map(|line| shown::line(line.as_ref())).collect();
            self.deliver(&lines.join("\n"));
        }
    }

    /// Prints a result whose text is a file for other tools: byte for byte, unless a terminal would act on it.
    pub fn file(&self, document: &impl Serialize, text: &str) {
        self.clear();
        let text = text.trim_end();
        if self.options.json {
            self.document(document);
        } else if io::stdout().is_terminal() {
            let lines: Vec<_> = text.lines().map(shown::line).collect();
            self.deliver(&lines.join("\n"));
        } else {
            self.deliver(text);
        }
    }

    fn document(&self, document: &impl Serialize) {
        let mut value = serde_json::to_value(document).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.insert("schema".to_owned(), json!(1));
        }
        self.deliver(&shown::json(&format!("{value:#}")));
    }

    /// Writes a line to stdout. A reader that stops early is nobody's failure; anything else is kept for the end.
    fn deliver(&self, text: &str) {
        let mut stdout = io::stdout().lock();
        let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
        if let Err(error) = written
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            *self.undelivered.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }

    /// Why a result did not reach stdout, where it did not (a full disk).
    pub fn undelivered(&self) -> Option<io::Error> {
        self.undelivered.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Prints a message for people on stderr.
    pub fn note(&self, message: &str) {
        if !self.options.quiet && self.options.progress != ProgressMode::Json {
            self.line("", message);
        }
    }

    /// Prints a message that only `-v` asks for.
    pub fn detail(&self, message: &str) {
        if self.options.verbose {
            self.note(message);
        }
    }

    /// Prints a warning.
    pub fn warning(&self, message: &str) {
        if self.options.progress == ProgressMode::Json {
            self.event(Event::Warning { message });
        } else if !self.options.quiet {
            self.line(&format!("{} ", self.label("warning:", "33")), message);
        }
    }

    /// Prints a failure: what failed, why, and what to do next.
    pub fn failure(&self, failure: &Failure) {
        self.clear();
        let chain = failure.chain();
        if self.options.json {
            let message = chain.join(": ");
            let error =
                json!({ "kind": failure.kind.as_str(), "message": message, "causes": chain, "hints": failure.hints });
            let document = json!({ "schema": 1, "error": error });
            self.deliver(&shown::json(&format!("{document:#}")));
            return;
        }
        for (index, message) in chain.iter().enumerate() {
            let label = if index == 0 { "error:" } else { "  caused by:" };
            say(&format!("{} {}", self.label(label, "31"), shown::message(message)));
        }
        for hint in &failure.hints {
            say(&format!("{} {}", self.label("hint:", "36"), shown::message(hint)));
        }
    }

    /// Prints what the parser of the command line says, in its own paragraphs.
    pub fn usage(&self, message: &str) {
        say(&format!(
            "{} {}",
            self.label("error:", "31"),
            shown::paragraphs(message)
        ));
    }

    fn label(&self, text: &str, color: &str) -> String {
        if self.options.color {
            format!("\x1b[1;{color}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    /// A message behind a label of ours.
    fn line(&self, label: &str, message: &str) {
        let message = format!("{label}{}", shown::message(message));
        match &self.bars {
            // A line above the bars; without bars in sight it is an ordinary line.
            Some(bars) => bars.all.suspend(|| say(&message)),
            None => say(&message),
        }
    }

    /// Takes the bars off the screen for good: what comes now is the end.
    fn clear(&self) {
        if let Some(bars) = &self.bars {
            let BarState {
                total,
                files,
                unpack,
                compile,
                resolve,
                verify,
            } = std::mem::take(&mut *bars.state.lock().unwrap_or_else(PoisonError::into_inner));
            let all = files
                .into_values()
                .chain(total)
                .chain(unpack)
                .chain(compile)
                .chain(resolve)
                .chain(verify);
            all.for_each(|bar| bar.finish_and_clear());
        }
    }

    fn plain(&self, event: &Event<'_>) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::FetchPlanned { files, bytes } | Event::CopyPlanned { files, bytes } => {
                *lines = Lines {
                    files: *files,
                    bytes: *bytes,
                    started: Some(Instant::now()),
                    to_unpack: lines.to_unpack,
                    unpacked: lines.unpacked,
                    ..Lines::default()
                };
                drop(lines);
                let size = if *bytes == 0 {
                    "sizes not known yet".to_owned()
                } else {
                    human_bytes(*bytes)
                };
                let doing = if matches!(event, Event::CopyPlanned { .. }) {
                    "copying"
                } else {
                    "fetching"
                };
                self.line("", &format!("{doing} {files} wheels ({size})"));
            }
            Event::FetchStarted { file, size, have } => {
                lines.done_bytes += have;
                drop(lines);
                if size.is_none_or(|size| size >= LARGE) {
                    let size = size.map_or_else(|| "size unknown".to_owned(), human_bytes);
                    let resumed = if *have > 0 {
                        format!(", resumed at {}", human_bytes(*have))
                    } else {
                        String::new()
                    };
                    self.line("", &format!("  {file} ({size}{resumed})"));
                }
            }
            Event::FetchSized { size, .. } => lines.bytes += size,
            Event::FetchAdvanced { bytes, .. } => {
                lines.done_bytes += bytes;
                let due = lines
                    .last
                    .or(lines.started)
                    .is_none_or(|last| last.elapsed() >= LINE_EVERY);
                if due {
                    lines.last = Some(Instant::now());
                    let text = lines.summary();
                    drop(lines);
                    self.line("", &text);
                }
            }
            Event::FetchFinished { .. } => {
                lines.done_files += 1;
                if lines.done_files == lines.files {
                    let text = lines.summary();
                    drop(lines);
                    self.line("", &text);
                }
            }
            Event::UnpackPlanned { files } => lines.to_unpack = *files,
            Event::VerifyPlanned { bytes, .. } => {
                *lines = Lines {
                    bytes: *bytes,
                    started: Some(Instant::now()),
                    ..Lines::default()
                };
            }
            Event::VerifyAdvanced { bytes } => {
                lines.done_bytes += bytes;
                let due = lines
                    .last
                    .or(lines.started)
                    .is_none_or(|last| last.elapsed() >= LINE_EVERY);
                if due {
                    lines.last = Some(Instant::now());
                    let (done, all) = (human_bytes(lines.done_bytes), human_bytes(lines.bytes));
                    drop(lines);
                    self.line("", &format!("  verified {done} of {all}"));
                }
            }
            Event::Unpacked { .. } => {
                lines.unpacked += 1;
                let (done, all) = (lines.unpacked, lines.to_unpack);
                // While wheels arrive, their lines tell enough.
                let due = lines.last.is_none_or(|last| last.elapsed() >= LINE_EVERY) || done == all;
                if due && lines.done_files == lines.files {
                    lines.last = Some(Instant::now());
                    drop(lines);
                    self.line("", &format!("  unpacked {done}/{all} wheels"));
                }
            }
            _ => {}
        }
    }
}

impl Lines {
    fn summary(&self) -> String {
        let seconds = self
            .started
            .map_or(0.0, |started| started.elapsed().as_secs_f64())
            .max(0.001);
        #[expect(clippy::cast_precision_loss, reason = "a speed for people")]
        let speed = self.done_bytes as f64 / seconds;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a speed for people"
        )]
        let (speed, left) = (
            speed as u64,
            self.bytes.saturating_sub(self.done_bytes) / (speed as u64).max(1),
        );
        let rest = if self.done_files < self.files && self.bytes > 0 {
            format!(", {left} s left")
        } else {
            String::new()
        };
        let of = if self.bytes > 0 {
            format!(" of {}", human_bytes(self.bytes.max(self.done_bytes)))
        } else {
            String::new()
        };
        format!(
            "  {}/{} wheels, {}{of}, {}/s{rest}",
            self.done_files,
            self.files,
            human_bytes(self.done_bytes),
            human_bytes(speed)
        )
    }
}

/// What arrived of all wheels, and of one; where the size is not known, a bar would say that all of it is there.
const TOTAL: &str = "{prefix} [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left";
const TOTAL_UNKNOWN: &str = "{prefix} {decimal_bytes} {decimal_bytes_per_sec}";
const FILE: &str = "  {msg:44!} [{bar:20}] {decimal_bytes}/{decimal_total_bytes}";
const FILE_UNKNOWN: &str = "  {msg:44!} {decimal_bytes}";

fn bar_style(template: &str) -> ProgressStyle {
    // The templates are constants below; one that indicatif cannot read falls back to its default bar.
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
}

impl Bars {
    /// Modules of `more` wheels are to be compiled, those of `done` are.
    fn compile(&self, state: &mut BarState, more: u64, done: Option<&str>) {
        let bar = state.compile.get_or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(0));
            bar.set_style(bar_style("compiling [{bar:30}] {pos}/{len} {msg}"));
            bar
        });
        bar.inc_length(more);
        if let Some(file) = done {
            bar.set_message(shown::line(file).into_owned());
            bar.inc(1);
        }
    }

    fn event(&self, event: &Event<'_>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Resolving { package } => {
                let bar = state.resolve.get_or_insert_with(|| {
                    let bar = self.all.add(ProgressBar::new_spinner());
                    bar.set_style(bar_style("{spinner} resolving {msg}"));
                    bar
                });
                bar.set_message(shown::line(package).into_owned());
                bar.tick();
            }
            Event::FetchPlanned { bytes, files } | Event::CopyPlanned { bytes, files } => {
                if let Some(bar) = state.resolve.take() {
                    bar.finish_and_clear();
                }
                let bar = self.all.add(ProgressBar::new(*bytes));
                bar.set_style(bar_style(if *bytes > 0 { TOTAL } else { TOTAL_UNKNOWN }));
                bar.set_prefix(format!("{files} wheels"));
                if let Some(earlier) = state.total.replace(bar) {
                    earlier.finish_and_clear();
                }
            }
            Event::FetchStarted { file, size, have } => {
                if let Some(total) = &state.total {
                    total.inc(*have);
                }
                if size.is_none_or(|size| size >= LARGE) {
                    let bar = ProgressBar::new(size.unwrap_or(0));
                    let bar = match &state.total {
                        Some(total) => self.all.insert_before(total, bar),
                        None => self.all.add(bar),
                    };
                    bar.set_style(bar_style(if size.is_some() { FILE } else { FILE_UNKNOWN }));
                    bar.set_message(shown::line(file).into_owned());
                    bar.set_position(*have);
                    state.files.insert((*file).to_owned(), bar);
                }
            }
            Event::FetchSized { file, size } => {
                if let Some(bar) = state.files.get(*file) {
                    bar.set_style(bar_style(FILE));
                    bar.set_length(*size);
                }
                if let Some(total) = &state.total {
                    total.set_style(bar_style(TOTAL));
                    total.inc_length(*size);
                }
            }
            Event::FetchAdvanced { file, bytes } => {
                for bar in state.files.get(*file).into_iter().chain(&state.total) {
                    bar.inc(*bytes);
                }
            }
            Event::FetchRestarted { file, have } => {
                if let Some(bar) = state.files.get(*file) {
                    if let Some(total) = &state.total {
                        total.set_position(total.position().saturating_sub(bar.position().saturating_sub(*have)));
                    }
                    bar.set_position(*have);
                }
            }
            Event::FetchFinished { file } => {
                if let Some(bar) = state.files.remove(*file) {
                    bar.finish_and_clear();
                }
            }
            Event::UnpackPlanned { files } => {
                let bar = self.all.add(ProgressBar::new(*files as u64));
                bar.set_style(bar_style("unpacking [{bar:30}] {pos}/{len} {msg}"));
                state.unpack = Some(bar);
            }
            Event::Unpacked { file } => {
                if let Some(bar) = &state.unpack {
                    bar.set_message(shown::line(file).into_owned());
                    bar.inc(1);
                }
            }
            Event::CompileStarted { .. } => self.compile(&mut state, 1, None),
            Event::Compiled { file } => self.compile(&mut state, 0, Some(file)),
            Event::VerifyPlanned { bytes, .. } => {
                let bar = self.all.add(ProgressBar::new(*bytes));
                bar.set_style(bar_style(
                    "verifying [{bar:30}] {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta} left",
                ));
                if let Some(earlier) = state.verify.replace(bar) {
                    earlier.finish_and_clear();
                }
            }
            Event::VerifyAdvanced { bytes } => {
                if let Some(bar) = &state.verify {
                    bar.inc(*bytes);
                }
            }
            Event::UnpackStarted { .. }
            | Event::ComposeStarted
            | Event::Composed
            | Event::Warning { .. }
            | Event::Waiting { .. } => {}
        }
    }
}

impl Reporter for Ui {
    fn event(&self, event: Event<'_>) {
        if self.options.progress == ProgressMode::Json {
            let text = serde_json::to_string(&event).unwrap_or_default();
            say(&shown::json(&text));
            return;
        }
        match &event {
            Event::Warning { message } => return self.warning(message),
            Event::Waiting { what } => return self.note(&format!("waiting for another flambeau that works on {what}")),
            _ => {}
        }
        if self.options.quiet || self.options.progress == ProgressMode::Off {
            return;
        }
        match &self.bars {
            Some(bars) => bars.event(&event),
            None => self.plain(&event),
        }
    }
}

/// Prints where this program panicked, and the way there where `RUST_BACKTRACE` asks for it.
pub fn panicked(info: &std::panic::PanicHookInfo<'_>) {
    say(&shown::line(&info.to_string()));
    let way = std::backtrace::Backtrace::capture();
    if way.status() == std::backtrace::BacktraceStatus::Captured {
        say(&way.to_string());
    }
}

/// Writes a line to stderr. Where that is closed or full there is nobody to tell, and the work goes on.
fn say(text: &str) {
    writeln!(io::stderr().lock(), "{text}").ok();
}

/// `1.8 GB`: three digits at the most, decimal units.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    if value < 9.95 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits_at_the_most() {
        let rows = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9949, "9.9 kB"),
            (9950, "10 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (2_900_000_000, "2.9 GB"),
        ];
        for (bytes, text) in rows {
            assert_eq!(human_bytes(bytes), text, "{bytes}");
        }
    }
}
