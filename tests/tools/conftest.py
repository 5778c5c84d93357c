"""Projects with several environments, built by flambeau from the package index."""
import os
import pathlib
import subprocess
import sys

import pytest

FLAMBEAU = os.environ["FLAMBEAU"]
TOOLS = pathlib.Path(os.environ["FLAMBEAU_TOOLS"])
PYTHON = "%d.%d" % sys.version_info[:2]


def run(command, **options):
    """Runs a command to its end; a failure shows what it said. Returns its stdout."""
    options.setdefault("timeout", 300)
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


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
        """Locks and builds; returns the environment's folder and the number of its generation."""
        self.flambeau("lock", "--channel", "pip", "--python", python, *requirements)
        self.flambeau("build", "--channel", "pip", "--python", python)
        generations = len(list((self.folder / ".flambeau/generations").glob("*.json")))
        return self.venv.resolve(), str(generations)

    def activate(self, generation):
        self.flambeau("activate", generation)


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path)
