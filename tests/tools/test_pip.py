"""What answers for pip in an environment says what the real pip says of it, and refuses what would change it."""
import json
import subprocess

import pytest
from conftest import TOOLS

REQUIREMENTS = ["jinja2==3.1.6", "attrs==25.3.0", "requests==2.32.5", "packaging==25.0"]


@pytest.fixture(scope="module")
def built(shared):
    shared.build(*REQUIREMENTS)
    return shared


def real(project, *arguments):
    pip = [TOOLS / "bin/python", "-m", "pip", "--python", project.python, "--disable-pip-version-check"]
    return project.run(*pip, *arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        ["list"],
        ["list", "--format", "json"],
        ["list", "--format=freeze"],
        ["list", "--exclude", "jinja2"],
        ["freeze"],
        ["freeze", "--all"],
        ["check"],
    ],
    ids=" ".join,
)
def test_answers_are_those_of_pip(built, arguments):
    expected = real(built, *arguments)
    for ours in (["bin/pip"], ["bin/pip3"], ["bin/python", "-m", "pip"], ["bin/python", "-mpip"]):
        assert built.run(built.venv / ours[0], *ours[1:], *arguments) == expected
    for inside in (["pip"], ["python", "-m", "pip"], ["sh", "-c", 'pip "$@"', "sh"]):
        assert built.flambeau("run", "--", *inside, *arguments) == expected


def test_show_agrees_on_every_package(built):
    names = [row["name"] for row in json.loads(real(built, "list", "--format", "json"))]
    fields = ("Name:", "Version:", "Summary:", "Requires:", "Required-by:")

    def facts(said):
        # How names are written and sorted in lists differs between versions of pip.
        lines = [line for line in said.splitlines() if line.startswith(fields)]
        return [(line.split(":")[0], sorted(line.split(":", 1)[1].replace(" ", "").replace("_", "-").lower().split(","))) for line in lines]

    assert facts(built.run(built.venv / "bin/pip", "show", *names)) == facts(real(built, "show", *names))


def test_inspect_lists_the_same(built):
    def packages(said):
        return sorted((one["metadata"]["name"], one["metadata"]["version"]) for one in json.loads(said)["installed"])

    assert packages(built.run(built.venv / "bin/pip", "inspect")) == packages(real(built, "inspect"))


def test_what_would_change_it_is_refused_with_the_command_to_use(built):
    for ours in ([built.venv / "bin/pip"], [built.python, "-m", "pip"]):
        for arguments, hint in (
            (["install", "six"], "`flambeau add six`"),
            (["uninstall", "-y", "attrs"], "`flambeau remove attrs`"),
            (["install"], "`flambeau add PACKAGE`"),
            (["download", "six"], "hint: "),
            (["cache", "dir"], "hint: "),
        ):
            command = [str(word) for word in (*ours, *arguments)]
            done = subprocess.run(command, cwd=built.folder, env=built.environ, capture_output=True, text=True)
            assert done.returncode == 1 and done.stdout == "", done
            assert hint in done.stderr and "immutable" in done.stderr, done.stderr


def test_an_environment_with_pip_has_the_real_one(project):
    project.build("pip==25.2", "six==1.17.0")
    assert project.run(project.python, "-m", "pip", "--version").startswith("pip 25.2 from ")
    listed = {row["name"] for row in json.loads(project.run(project.venv / "bin/pip", "list", "--format", "json"))}
    assert listed == {"pip", "six"}


def test_a_reader_that_has_seen_enough_is_no_failure_to_look_at(built):
    command = ["sh", "-c", f"'{built.venv}/bin/pip' inspect | head -1"]
    done = subprocess.run(command, cwd=built.folder, env=built.environ, capture_output=True, text=True)
    assert done.stdout == "{\n" and done.stderr == "", done


def test_its_version_is_in_pip_s_form(built):
    said = built.run(built.venv / "bin/pip", "--version")
    assert said.startswith("pip ") and said.rstrip().endswith(")") and "/pip (python 3." in said, said
