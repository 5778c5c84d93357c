"""Projects with several environments, built by flambeau from the package index."""
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

FLAMBEAU = os.environ["FLAMBEAU"]
TOOLS = pathlib.Path(os.environ["FLAMBEAU_TOOLS"])
PYTHON = "%d.%d" % sys.version_info[:2]
# A cache folder with the wheels of torch for channel `pip`; what needs the real torch runs only with it.
TORCH = os.environ.get("FLAMBEAU_TOOLS_TORCH")


def pins(name):
    """The packages of an environment under test, its whole closure pinned."""
    lines = pathlib.Path(__file__).with_name("environments").joinpath(name + ".txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def run(command, **options):
    """Runs a command to its end; a failure shows what it said. Returns its stdout."""
    options.setdefault("timeout", 300)
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def python_for_everybody():
    """A Python that another user can run too; a home folder is often closed to others."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become another user, with setpriv")
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3", "/usr/local/bin/python3"):
        script = "import os, sys; print(os.path.realpath(sys.executable), os.__file__.startswith(sys.base_prefix), sys.version_info >= (3, 10))"
        said = [
            subprocess.run([*user, python, "-c", script + "; print(sys.base_prefix)"], capture_output=True, text=True).stdout
            for user in ([], NOBODY)
        ]
        if said[0] == said[1] and "True True" in said[0]:
            return os.path.realpath(python)
    pytest.skip("no Python here can be run by another user")


class Project:
    """A project, its store and a home of its own, in which every tool has one cache from first to last."""

    def __init__(self, folder):
        self.folder = folder / "project"
        self.folder.mkdir()
        self.venv = self.folder / ".venv"
        self.python = self.venv / "bin/python"
        self.environ = {
            **os.environ,
            "FLAMBEAU_STORE_DIR": str(folder / "store"),
            "HOME": str(folder / "home"),
            "UV_CACHE_DIR": str(folder / "uv"),
            "VIRTUAL_ENV": str(self.venv),
            "UV_PYTHON_DOWNLOADS": "never",
        }
        (folder / "home").mkdir()

    def run(self, *command, **options):
        options.setdefault("env", self.environ)
        return run(command, cwd=self.folder, **options)

    def flambeau(self, *arguments):
        return self.run(FLAMBEAU, *arguments)

    def uv(self, *arguments):
        return self.run(TOOLS / "bin/uv", *arguments)

    def build(self, *requirements, python=PYTHON):
        """Locks and builds, for a version or an interpreter; returns the environment and its generation's number."""
        version = python
        if os.path.isabs(python):
            version = run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).strip()
        self.flambeau("lock", "--channel", "pip", "--python", version, *requirements)
        self.flambeau("build", "--channel", "pip", "--python", python)
        return self.venv.resolve(), str(json.loads(self.flambeau("status", "--json"))["generation"])

    def activate(self, generation):
        self.flambeau("activate", generation)

    def plain(self, folder):
        """A plain virtual environment of the same base Python with the same wheels as the active environment."""
        base, version = self.run(self.python, "-c", "import sys; print(sys.base_prefix, '%d.%d' % sys.version_info[:2])").split()
        run([pathlib.Path(base, "bin", "python" + version), "-m", "venv", folder])
        python = folder / "bin/python"
        run([python, "-m", "pip", "uninstall", "--quiet", "--yes", "setuptools"])
        # uv, since it is quick; the wheels are those that flambeau has cached.
        wheels = self.folder.parent / "wheels"
        wheels.mkdir()
        for wheel in pathlib.Path(self.environ["FLAMBEAU_CACHE_DIR"], "wheels").glob("*/*.whl"):
            (wheels / wheel.name).symlink_to(wheel)
        packages = json.loads((self.folder / "environment_state.json").read_text())["InstalledPackages"]
        options = ["--quiet", "--offline", "--no-index", "--no-deps", "--find-links", wheels]
        self.run(TOOLS / "bin/uv", "pip", "install", *options, "--python", python, *packages, timeout=900)

    def start(self, *command, **options):
        """Starts a command that writes a line when it is ready; reads that line."""
        options.setdefault("env", self.environ)
        process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.folder,
            **options,
        )
        assert process.stdout.readline() == "ready\n"
        return process


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A project for a whole file of tests, so that its environments are built once."""
    return Project(tmp_path_factory.mktemp("shared"))


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    """A project whose folders other users can read."""
    project = Project(tmp_path_factory.mktemp("opened"))
    for folder in (project.folder.parent, tmp_path_factory.getbasetemp()):
        folder.chmod(0o755)
    return project


@pytest.fixture(scope="session")
def torch(tmp_path_factory):
    """A project with two environments: generation 1 has the real torch, generation 2 only six."""
    if TORCH is None:
        pytest.skip("FLAMBEAU_TOOLS_TORCH is not set")
    project = Project(tmp_path_factory.mktemp("torch"))
    project.environ["FLAMBEAU_CACHE_DIR"] = TORCH
    project.run(FLAMBEAU, "build", "--channel", "pip", timeout=900)
    version = project.run(project.python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    project.build("six==1.17.0", python=version)
    project.activate("1")
    return project
