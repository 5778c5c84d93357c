"""After a flip every tool sees the environment that is active, with the cache that it had before."""
import json

import pytest
from conftest import TOOLS, run

ONE = {"six": "1.16.0", "attrs": "25.3.0"}
TWO = {"six": "1.17.0", "idna": "3.10"}


def pins(packages):
    return [f"{name}=={version}" for name, version in packages.items()]


@pytest.fixture
def two(project):
    """Two environments of one Python version: a generation and what is in it, each."""
    environments = []
    for packages in (ONE, TWO):
        folder, generation = project.build(*pins(packages))
        environments.append((generation, folder, packages))
    return environments


def listed(text):
    return {row["name"]: row["version"] for row in json.loads(text)}


def seen_by_uv(project, packages):
    assert listed(project.uv("pip", "list", "--format", "json")) == packages
    assert sorted(project.uv("pip", "freeze").split()) == sorted(pins(packages))
    project.uv("pip", "check")
    assert f"Version: {packages['six']}" in project.uv("pip", "show", "six")
    script = "import six, sys; print(six.__version__, sys.prefix, sys.executable)"
    said = project.uv("run", "--no-project", "python", "-c", script).split()
    assert said == [packages["six"], str(project.venv), str(project.python)]
    assert project.uv("python", "find").strip() in (str(project.python), str(project.python) + "3")


def seen_by_pip(project, packages):
    pip = [TOOLS / "bin/python", "-m", "pip", "--python", project.python, "--disable-pip-version-check"]
    assert listed(project.run(*pip, "list", "--format", "json")) == packages
    project.run(*pip, "check")


@pytest.mark.parametrize("look", [seen_by_uv, seen_by_pip])
def test_every_flip_is_seen_at_once(project, two, look):
    for generation, _, packages in [*two, *two, *reversed(two)]:
        project.activate(generation)
        look(project, packages)


@pytest.mark.parametrize("look", [seen_by_uv, seen_by_pip])
def test_a_collection_of_the_other_changes_nothing(project, two, look):
    (first, gone, one), (second, _, packages) = two
    project.activate(first)
    look(project, one)
    project.activate(second)
    project.flambeau("generations", "--delete", first)
    project.flambeau("gc", "--older-than", "0s")
    assert not gone.exists()
    look(project, packages)


def test_names_that_programs_write_down_are_those_of_the_link(project, two):
    script = (
        "import json, site, sys, sysconfig\n"
        "print(json.dumps([sys.prefix, sys.exec_prefix, sys.executable, site.getsitepackages()[0],"
        " sysconfig.get_path('purelib'), sysconfig.get_path('scripts'), sysconfig.get_path('data')]))"
    )
    said = {}
    for generation, folder, _ in two:
        project.activate(generation)
        said[generation] = json.loads(project.run(project.python, "-c", script))
        assert all(path.startswith(str(project.venv)) for path in said[generation]), said
        imported = project.run(project.python, "-c", "import six; print(six.__file__)").strip()
        assert imported.startswith(str(folder)), "what is imported is pinned"
    assert len({json.dumps(names) for names in said.values()}) == 1
    assert project.flambeau("run", "--", "sh", "-c", "echo $VIRTUAL_ENV").strip() == str(project.venv)


def test_uv_is_content_with_run(project, two):
    import subprocess

    done = subprocess.run(
        [str(word) for word in (project.environ["FLAMBEAU"], "run", "--", TOOLS / "bin/uv", "pip", "list")],
        cwd=project.folder,
        env=project.environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr
