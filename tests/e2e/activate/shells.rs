//! The activate scripts, in the shells that are here: where they lead, and that leaving puts everything back.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::world::{Output, World};

/// Names that a script has to quote.
const FOLDER: &str = "it's a \"pro$ject\" ü";
const SCRIPTS: [&str; 5] = [
    "activate",
    "activate.csh",
    "activate.fish",
    "activate.nu",
    "activate.ps1",
];

/// A world with an environment, and its project's folder under an awkward name.
fn world() -> Option<(World, PathBuf)> {
    let world = World::new();
    world.any_python()?;
    world.build(&["--channel", "cpu"]);
    let folder = world.path(FOLDER);
    fs::create_dir(&folder).expect("the name is free");
    std::os::unix::fs::symlink(world.active(), folder.join(".venv")).expect("the name is free");
    Some((world, folder))
}

/// Runs a program of a shell, if the machine has that shell. `$1` (`$argv[1]`) is the project's folder.
fn shell(world: &World, name: &str, options: &[&str], program: &str, folder: &Path) -> Option<Output> {
    let path = std::env::var_os("PATH")?;
    let Some(shell) = std::env::split_paths(&path)
        .map(|at| at.join(name))
        .find(|path| path.is_file())
    else {
        let _written = writeln!(std::io::stderr(), "SKIPPED: this machine has no {name}");
        return None;
    };
    let script = world.path("tmp/script");
    fs::write(&script, program).expect("a writable world");
    let mut command = world.command(shell);
    command
        .args(options)
        .arg(&script)
        .arg(folder)
        .env("PYTHONHOME", "/before");
    Some(world.run(command).ok())
}

const POSIX: &str = r#"
before=$PATH
PS1='> '
cd /
. "$1/.venv/bin/activate"
echo "$VIRTUAL_ENV"
echo "$VIRTUAL_ENV_PROMPT"
command -v python
echo "$PS1"
echo "${PYTHONHOME-unset}"
pwd
. "$1/.venv/bin/activate"
deactivate
[ "$before" = "$PATH" ] && echo "same path"
echo "${VIRTUAL_ENV-unset} ${VIRTUAL_ENV_PROMPT-unset} $PYTHONHOME $PS1"
set | grep -c '^_OLD_VIRTUAL\|^_flambeau' || true
command -v deactivate || echo "no command"
"#;

fn expected(environment: &Path, name: &str) -> String {
    let shown = environment.display();
    format!(
        "{shown}\n{name}\n{shown}/bin/python\n({name}) > \nunset\n/\nsame path\nunset unset /before > \n0\nno command\n"
    )
}

#[test]
fn posix_shells_activate_and_leave() {
    let Some((world, folder)) = world() else { return };
    for tool in ["grep", "test"] {
        let here = std::path::Path::new("/usr/bin").join(tool);
        std::os::unix::fs::symlink(here, world.path("tools").join(tool)).expect("the name is free");
    }
    for (name, options) in [("bash", &["-eu"][..]), ("zsh", &["-feu"])] {
        let Some(output) = shell(&world, name, options, POSIX, &folder) else {
            continue;
        };
        assert_eq!(
            output.stdout,
            expected(&folder.join(".venv"), FOLDER),
            "{name}: {output}"
        );
        assert_eq!(output.stderr, "", "{name}");
    }
    // dash tells no script where it is, so what is active is the environment that the link leads to.
    let real = world.active();
    let above = real
        .parent()
        .and_then(Path::file_name)
        .expect("envs")
        .to_string_lossy()
        .into_owned();
    if let Some(output) = shell(&world, "dash", &["-eu"], POSIX, &folder) {
        assert_eq!(output.stdout, expected(&real, &above), "{output}");
    }
    let here = "cd \"$1\"\n. .venv/bin/activate\necho \"$VIRTUAL_ENV\"\n";
    for name in ["bash", "zsh", "dash"] {
        let Some(output) = shell(&world, name, &["-eu"], here, &folder) else {
            continue;
        };
        assert_eq!(
            output.text(),
            folder.join(".venv").display().to_string(),
            "{name}: {output}"
        );
    }
}

#[test]
fn no_prompt_is_made_where_none_is_wanted() {
    let Some((world, folder)) = world() else { return };
    let program = ". \"$1/.venv/bin/activate\"\necho \"${PS1-none}\"\ndeactivate\necho \"${PS1-none}\"\n\
                   PS1=x; VIRTUAL_ENV_DISABLE_PROMPT=1\n. \"$1/.venv/bin/activate\"\necho \"$PS1\"\n";
    let Some(output) = shell(&world, "bash", &["-eu"], program, &folder) else {
        return;
    };
    assert_eq!(output.stdout, "none\nnone\nx\n", "{output}");
}

#[test]
fn fish_activates_and_leaves() {
    let Some((world, folder)) = world() else { return };
    let program = r#"
set before "$PATH"
cd /
function fish_prompt; printf '> '; end
source "$argv[1]/.venv/bin/activate.fish"
echo $VIRTUAL_ENV
echo $VIRTUAL_ENV_PROMPT
command -v python
fish_prompt; echo
set -q PYTHONHOME; or echo unset
pwd
source "$argv[1]/.venv/bin/activate.fish"
deactivate
test "$before" = "$PATH"; and echo "same path"
set -q VIRTUAL_ENV; or set -q VIRTUAL_ENV_PROMPT; or echo "unset unset" $PYTHONHOME (fish_prompt)
set -n | string match -r '^_OLD_VIRTUAL.*|^_flambeau.*' | count
functions -q deactivate; or echo "no command"
true
"#;
    let Some(output) = shell(&world, "fish", &["--no-config"], program, &folder) else {
        return;
    };
    assert_eq!(output.stdout, expected(&folder.join(".venv"), FOLDER), "{output}");
}

#[test]
fn csh_activates_and_leaves() {
    let Some((world, folder)) = world() else { return };
    let program = r#"
cd "$argv[1]:q"
set before = "$PATH"
set prompt = '> '
source .venv/bin/activate.csh
echo "$VIRTUAL_ENV"
echo "$VIRTUAL_ENV_PROMPT"
which python
echo "$prompt"
if ( ! $?PYTHONHOME ) echo unset
echo /
source .venv/bin/activate.csh
deactivate
if ( "$before" == "$PATH" ) echo "same path"
if ( ! $?VIRTUAL_ENV && ! $?VIRTUAL_ENV_PROMPT ) echo "unset unset $PYTHONHOME $prompt"
set | grep -c '^_OLD_VIRTUAL\|^_flambeau'
alias deactivate
echo "no command"
cd /
source "$argv[1]:q/.venv/bin/activate.csh"
echo "$VIRTUAL_ENV"
"#;
    for tool in ["grep", "test"] {
        let here = std::path::Path::new("/usr/bin").join(tool);
        std::os::unix::fs::symlink(here, world.path("tools").join(tool)).expect("the name is free");
    }
    let Some(output) = shell(&world, "tcsh", &["-f"], program, &folder) else {
        return;
    };
    let expected = format!(
        "{}{}\n",
        expected(&folder.join(".venv"), FOLDER),
        world.active().display()
    );
    assert_eq!(output.stdout, expected, "{output}");
}

#[test]
fn variables_that_hide_gpus_are_set_and_taken_back() {
    let Some((world, folder)) = world() else { return };
    let here = Command::new("uname").arg("-n").output().expect("uname").stdout;
    let here = String::from_utf8_lossy(&here).into_owned();
    for tool in ["cat", "test"] {
        let link = world.path("tools").join(tool);
        if !link.exists() {
            std::os::unix::fs::symlink(Path::new("/usr/bin").join(tool), link).expect("the name is free");
        }
    }
    fs::create_dir(folder.join(".flambeau")).expect("the name is free");
    let posix = "HIP_VISIBLE_DEVICES=7; export HIP_VISIBLE_DEVICES\n. \"$1/.venv/bin/activate\"\n\
                 echo ${CUDA_VISIBLE_DEVICES-none} $HIP_VISIBLE_DEVICES ${LD_PRELOAD-none}\ndeactivate\n\
                 echo ${CUDA_VISIBLE_DEVICES-none} $HIP_VISIBLE_DEVICES\n";
    let fish = "set -x HIP_VISIBLE_DEVICES 7\nsource \"$argv[1]/.venv/bin/activate.fish\"\n\
                set -q CUDA_VISIBLE_DEVICES; or set none none\n\
                echo \"$CUDA_VISIBLE_DEVICES$none\" $HIP_VISIBLE_DEVICES none\ndeactivate\n\
                set -q CUDA_VISIBLE_DEVICES; or echo none $HIP_VISIBLE_DEVICES\n";
    let csh = "setenv HIP_VISIBLE_DEVICES 7\ncd \"$argv[1]:q\"\nsource .venv/bin/activate.csh\n\
               set none = none\nif ( $?CUDA_VISIBLE_DEVICES ) then\nset none = $CUDA_VISIBLE_DEVICES\nendif\n\
               echo $none $HIP_VISIBLE_DEVICES none\ndeactivate\n\
               if ( ! $?CUDA_VISIBLE_DEVICES ) echo none $HIP_VISIBLE_DEVICES\n";
    for (host, seen) in [(here.trim(), "0,2"), ("another", "none")] {
        fs::write(
            folder.join(".flambeau/gpu.env"),
            format!("host={host}\nCUDA_VISIBLE_DEVICES=0,2\nHIP_VISIBLE_DEVICES=1\nLD_PRELOAD=/evil\n"),
        )
        .expect("written");
        for (name, options, program) in [
            ("bash", &["-eu"][..], posix),
            ("zsh", &["-feu"], posix),
            ("dash", &["-eu"], posix),
            ("fish", &["--no-config"], fish),
            ("tcsh", &["-f"], csh),
        ] {
            // dash finds the environment itself, beside which there is no such file.
            let seen = if name == "dash" { "none" } else { seen };
            let Some(output) = shell(&world, name, options, program, &folder) else {
                continue;
            };
            assert_eq!(output.stdout, format!("{seen} 7 none\nnone 7\n"), "{name}: {output}");
        }
    }
}

#[test]
fn every_script_is_there_and_holds_no_path() {
    let Some((world, folder)) = world() else { return };
    let root = world.path("").display().to_string();
    for script in SCRIPTS {
        let text = fs::read_to_string(folder.join(".venv/bin").join(script)).expect(script);
        assert!(!text.contains(root.trim_end_matches('/')), "{script}");
        assert!(
            text.contains("VIRTUAL_ENV_PROMPT") && text.contains("deactivate"),
            "{script}"
        );
    }
    for (shell_name, options, program) in [
        (
            "pwsh",
            &["-NoProfile", "-File"][..],
            "& \"$($args[0])/.venv/bin/activate.ps1\"\n$env:VIRTUAL_ENV\ndeactivate\n",
        ),
        (
            "nu",
            &["--no-config-file"],
            "def main [folder: string] { nu --no-config-file -c $'overlay use \"($folder)/.venv/bin/activate.nu\"; $env.VIRTUAL_ENV' }\n",
        ),
    ] {
        let Some(output) = shell(&world, shell_name, options, program, &folder) else {
            continue;
        };
        assert_eq!(output.text(), folder.join(".venv").display().to_string(), "{output}");
    }
}
