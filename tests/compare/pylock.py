#!/usr/bin/env python3
"""Compares flambeau's lockfiles with what packaging, uv and pip make of them, and reads theirs.

    cargo build && python3 tests/compare/pylock.py [--flambeau PATH] [--uv PATH] [--pdm PATH] [--download]

Needs a network, a package index that pip is configured for, and uv; it is no part of `cargo test`. It makes a virtual
environment with the newest pip and packaging in a temporary folder and changes nothing else. It shows that

1. the repository's lockfiles are valid (`packaging.pylock`), and for this Python select what flambeau selects;
2. the lockfile of the channel pip, exported with complete URLs, gives uv (`uv pip sync --dry-run`) and, with
   --download (pip downloads 3 GB to say what it would install), pip 26.1 or newer the same set of packages;
3. lockfiles of `uv pip compile`, `uv export`, `uv lock`, `pip lock` (and pdm, where it is named) and requirements files
   with hashes build, with the packages that their own tool says.

Exit code 0: all agree. 1: something differs; it is printed.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SMALL = """\
[project]
name = "demo"
version = "0"
requires-python = ">=3.11"
dependencies = ["jinja2==3.1.6", "numpy==2.2.5", "colorama==0.4.6; sys_platform == 'win32'"]

[project.optional-dependencies]
links = ["networkx==3.4.2"]

[dependency-groups]
dev = ["iniconfig==2.1.0"]

[tool.uv]
package = false
"""

SELECT = """\
import json, sys, tomllib
from packaging.pylock import Pylock
lock = Pylock.from_dict(tomllib.loads(open(sys.argv[1]).read()))
lock.validate()
print(json.dumps(sorted(f"{package.name}=={package.version}" for package, _ in lock.select())))
"""

failures = []


def run(*command, cwd, env=None):
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=env, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(f"failed: {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done


def same(what, expected, found):
    if sorted(expected) == sorted(found):
        print(f"  same: {what} ({len(expected)} packages)")
    else:
        failures.append(what)
        missing, surplus = set(expected) - set(found), set(found) - set(expected)
        print(f"  DIFFERENT: {what}: without {sorted(missing)}, with {sorted(surplus)}")


def normal(requirement):
    name, version = requirement.split("==")
    return re.sub(r"[-_.]+", "-", name).lower() + "==" + version


class Tools:
    def __init__(self, arguments, folder):
        self.flambeau_path, self.uv, self.pdm = arguments.flambeau, arguments.uv, arguments.pdm
        self.folder = folder
        print("making a virtual environment with the newest pip and packaging", flush=True)
        venv.create(folder / "tools", with_pip=True)
        self.python = folder / "tools/bin/python"
        run(self.python, "-m", "pip", "install", "-q", "-U", "pip", "packaging", cwd=folder)
        self.clean = folder / "clean"
        run(self.uv, "venv", "-q", "-p", self.python, self.clean, cwd=folder)
        self.env = dict(os.environ, FLAMBEAU_STORE_DIR=str(folder / "store"), UV_PYTHON=str(sys.executable))

    def flambeau(self, *arguments, cwd):
        done = run(self.flambeau_path, *arguments, "--json", "--no-progress", cwd=cwd, env=self.env)
        return json.loads(done.stdout)

    def selected(self, lockfile):
        return json.loads(run(self.python, "-c", SELECT, lockfile, cwd=self.folder).stdout)

    def uv_would_install(self, *arguments, cwd):
        done = run(self.uv, "pip", *arguments, "--dry-run", "-p", self.clean, cwd=cwd)
        return [normal(line.strip().removeprefix("+ ")) for line in done.stderr.splitlines() if line.startswith(" + ")]

    def pip_would_install(self, lockfile):
        report = self.folder / "report.json"
        pip = [self.python, "-m", "pip", "install", "--no-cache-dir", "-q", "--dry-run", "--ignore-installed"]
        run(*pip, "--report", report, "-r", lockfile, cwd=self.folder)
        rows = json.loads(report.read_text())["install"]
        return [normal(f"{row['metadata']['name']}=={row['metadata']['version']}") for row in rows]


def own_lockfiles(tools, download):
    project = tools.folder / "own"
    shutil.copytree(ROOT / "lockfiles", project / "lockfiles")
    for lockfile in sorted((project / "lockfiles").glob("pylock.*.toml")):
        print(lockfile.name)
        channel = re.search(r'^channel = "(.+)"$', lockfile.read_text(), re.M)[1]
        ours = tools.flambeau("build", "--dry-run", "--locked", "--channel", channel, cwd=project)["packages"]
        same("packaging.pylock selects what flambeau does", ours, tools.selected(lockfile))
        if channel != "pip":
            continue
        exported = tools.folder / "pylock.pip.toml"
        tools.flambeau("export", "--channel", "pip", "--format", "pylock", "-o", exported, cwd=project)
        same("packaging.pylock, exported", ours, tools.selected(exported))
        sync = tools.uv_would_install("sync", "--preview-features", "pylock", exported, cwd=project)
        same("uv pip sync, exported", ours, sync)
        requirements = tools.folder / "requirements.txt"
        tools.flambeau("export", "--channel", "pip", "--format", "requirements", "-o", requirements, cwd=project)
        sync = tools.uv_would_install("sync", "--require-hashes", requirements, cwd=project)
        same("uv pip sync, requirements", ours, sync)
        if download:
            same("pip install -r, exported", ours, tools.pip_would_install(exported))
        else:
            print("  skipped: pip (needs --download)")


def their_files(tools):
    project = tools.folder / "small"
    project.mkdir()
    (project / "pyproject.toml").write_text(SMALL)
    (project / "in.txt").write_text("jinja2==3.1.6\nnumpy==2.2.5\n")
    python = ["-p", sys.executable]
    run(tools.uv, "lock", "-q", *python, cwd=project)
    run(tools.uv, "export", "-q", "--format", "pylock.toml", "--no-dev", "-o", "pylock.export.toml", cwd=project)
    run(tools.uv, "export", "-q", "--no-dev", "-o", "requirements.export.txt", cwd=project)
    compiled = [tools.uv, "pip", "compile", "-q", "in.txt", *python]
    run(*compiled, "--format", "pylock.toml", "-o", "pylock.compile.toml", cwd=project)
    run(*compiled, "--generate-hashes", "-o", "requirements.compile.txt", cwd=project)
    run(tools.python, "-m", "pip", "lock", "-q", "-r", "in.txt", "-o", "pylock.lock.toml", cwd=project)
    files = [
        "pylock.export.toml",
        "requirements.export.txt",
        "pylock.compile.toml",
        "requirements.compile.txt",
        "pylock.lock.toml",
        "uv.lock",
    ]
    if tools.pdm:
        run(tools.pdm, "config", "-q", "--local", "lock.format", "pylock", cwd=project)
        run(tools.pdm, "lock", "-q", "-G:all", cwd=project)
        files.append("pylock.toml")
    # The project's own folder may have a .venv that pdm made.
    building = tools.folder / "building"
    building.mkdir()
    for file in files:
        print(f"build --from {file}")
        built = tools.flambeau("build", "--from", project / file, cwd=building)
        state = json.loads((building / "environment_state.json").read_text())
        if file.startswith("pylock."):
            if file == "pylock.toml":
                print("  made by pdm")
            same("packaging.pylock selects what was built", state["InstalledPackages"], tools.selected(project / file))
        elif file.startswith("requirements"):
            sync = tools.uv_would_install("sync", "--require-hashes", file, cwd=project)
            same("uv pip sync", state["InstalledPackages"], sync)
        else:
            again = tools.flambeau("hash", "--from", "pylock.export.toml", cwd=project)
            same("the key is that of uv's export", [f"key=={built['key']}"], [f"key=={again['key']}"])
        check = "import jinja2, numpy; print(numpy.__version__)"
        run(building / ".venv/bin/python", "-c", check, cwd=building)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flambeau", default=ROOT / "target/debug/flambeau")
    parser.add_argument("--uv", default=shutil.which("uv"), required=shutil.which("uv") is None)
    parser.add_argument("--pdm", default=None)
    parser.add_argument("--download", action="store_true", help="let pip download 3 GB")
    arguments = parser.parse_args()
    if sys.version_info < (3, 11):
        raise SystemExit("run this with Python 3.11 or newer")
    folder = Path(tempfile.mkdtemp(prefix="flambeau-compare-"))
    try:
        tools = Tools(arguments, folder)
        own_lockfiles(tools, arguments.download)
        their_files(tools)
    finally:
        # Trees of the store are read-only.
        subprocess.run(["chmod", "-R", "u+w", folder], check=False)
        shutil.rmtree(folder)
    print(f"{len(failures)} differences" if failures else "all agree")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
