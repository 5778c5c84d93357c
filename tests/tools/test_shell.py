"""What `flambeau shell` looks like in the shells that people use."""
import shutil

import pexpect
import pytest

from conftest import FLAMBEAU

# A configuration that sets its own prompt, as most do; and one that people have who have moved their files.
RC = {
    "bash": (".bashrc", "PS1='own> '\n"),
    "zsh": (".zshrc", "PS1='own> '\n"),
    "fish": (".config/fish/config.fish", "function fish_prompt; printf 'own> '; end\n"),
}


@pytest.fixture
def small(project):
    project.build("six==1.17.0")
    return project


def shell(project, name, more="", **environ):
    if not shutil.which(name):
        pytest.skip(f"{name} is not installed")
    file, text = RC[name]
    rc = project.folder.parent / "home" / file
    rc.parent.mkdir(parents=True, exist_ok=True)
    rc.write_text(text + more)
    # Or fish, at its first start, writes them in the background and outlives the test.
    (project.folder.parent / "home/.local/share/fish/generated_completions").mkdir(parents=True, exist_ok=True)
    environ = {**project.environ, "SHELL": shutil.which(name), "TERM": "dumb", **environ}
    for variable in ("VIRTUAL_ENV", "ZDOTDIR", "PROMPT_COMMAND"):
        if variable not in environ or variable == "VIRTUAL_ENV":
            environ.pop(variable, None)
    arguments = ["shell", "--channel", "pip"]
    return pexpect.spawn(FLAMBEAU, arguments, cwd=str(project.folder), env=environ, encoding="utf-8", timeout=60)


@pytest.mark.parametrize("name", RC)
def test_the_prompt_is_marked_after_the_user_s_own_configuration(small, name):
    child = shell(small, name)
    child.expect_exact("(project) own> ")
    child.sendline("python -c 'import sys; print(\"pre\" + \"fix\", sys.prefix)'")
    child.expect_exact(f"prefix {small.venv}")
    child.expect_exact("(project) own> ")
    child.sendline("exit")
    child.expect(pexpect.EOF)


@pytest.mark.parametrize("name", RC)
def test_the_environment_comes_first_whatever_the_configuration_puts_on_the_path(small, name):
    path = "set -gx PATH /usr/bin /bin; set -gx VIRTUAL_ENV /other\n" if name == "fish" else "export PATH=/usr/bin:/bin VIRTUAL_ENV=/other\n"
    child = shell(small, name, more=path)
    child.expect_exact("(project) own> ")
    child.sendline("python -c 'import os, sys; print(\"pre\" + \"fix\", sys.prefix, os.environ[\"VIRTUAL_ENV\"])'")
    child.expect_exact(f"prefix {small.venv} {small.venv}")


def test_bash_keeps_the_prompt_command_that_it_was_given(small):
    child = shell(small, "bash", PROMPT_COMMAND="echo given")
    for _ in range(2):
        child.expect_exact("given")
        child.expect_exact("(project) own> ")
        child.sendline("true")
    child.expect_exact("(project) own> ")


def test_bash_keeps_what_the_configuration_adds_to_the_prompt_command(small):
    child = shell(small, "bash", more='PROMPT_COMMAND="echo added; $PROMPT_COMMAND"\n')
    for _ in range(3):
        child.expect_exact("added")
        child.expect_exact("(project) own> ")
        child.sendline("true")


def test_zsh_writes_nothing_into_the_environment(small):
    child = shell(small, "zsh", more="autoload -U compinit; compinit -u\nHISTFILE=${ZDOTDIR:-$HOME}/.history SAVEHIST=9\n")
    child.expect_exact("(project) own> ")
    child.sendline("echo kept; exit")
    child.expect(pexpect.EOF)
    assert not list(small.venv.resolve().rglob(".zcompdump*"))
    assert (small.folder.parent / "home/.zcompdump").exists()
    small.flambeau("verify")


def test_zsh_finds_its_files_where_zdotdir_says(small):
    folder = small.folder.parent / "dots"
    folder.mkdir()
    (folder / ".zshrc").write_text("PS1='moved> '\n")
    child = shell(small, "zsh", ZDOTDIR=str(folder))
    child.expect_exact("(project) moved> ")
    child.sendline('echo "is $ZDOTDIR"')
    child.expect_exact(f"is {folder}")


def test_the_prompt_can_be_left_alone(small):
    child = shell(small, "bash", VIRTUAL_ENV_DISABLE_PROMPT="1")
    child.expect("own> ")
    assert "(project)" not in child.before


def test_after_a_build_in_a_shell_one_line_says_where_it_is(small):
    child = shell(small, "bash")
    child.expect_exact("(project) own> ")
    child.sendline(f"{FLAMBEAU} lock --channel pip six==1.16.0 && {FLAMBEAU} build --channel pip")
    child.expect_exact("this shell's next command is in the new environment")
    child.expect_exact("(project) own> ")
    child.sendline("python -c 'import six; print(\"six is\", six.__version__)'")
    child.expect_exact("six is 1.16.0")
