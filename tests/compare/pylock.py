#!/usr/bin/env python3
"""Compares flambeau's lockfiles with what packaging, uv and pip make of them, and reads theirs.

    cargo build && python3 tests/compare/pylock.py [--flambeau PATH] [--uv PATH] [--pdm PATH] [--torch]

Needs a network, a package index that pip is configured for, and uv; it is no part of `cargo test`. It makes a virtual
environment with the newest pip and packaging in a temporary folder and changes nothing else. It shows that

1. the repository's lockfiles are valid (`packaging.pylock`), and for this Python select what flambeau selects; uv
   (`uv pip sync --dry-run`) would install that of the channel pip, exported;
2. the lockfile of a small project on the channel pip, written by `lock --urls` or by `export --format pylock`, gives the same
   packages in fresh virtual environments, installed by `uv pip sync` and by pip 26.1 or newer, as `flambeau build` makes;
   with a local wheel and one by URL among its requirements too; with --torch (gigabytes, five times) the repository's
   own lockfile as well;
3. lockfiles of `uv pip compile`, `uv export`, `uv lock`, `pip lock` (and pdm, where it is named) and requirements files
   with hashes build, with the packages that their own tool says or installs.

Exit code 0: all agree. 1: something differs; it is printed.
"""

import argparse
import base64
import functools
import hashlib
import http.server
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import venv
import zipfile
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

LOCKED = ["safetensors", "numpy", "jinja2"]

LIST = """\
import importlib.metadata as metadata
for found in metadata.distributions():
    print(found.metadata["Name"] + "==" + found.version)
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
        print(run(self.python, "-m", "pip", "--version", cwd=folder).stdout.split(" from")[0], end=", ")
        print(run(self.uv, "--version", cwd=folder).stdout.strip(), flush=True)
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

    def installed(self, python):
        listed = run(python, "-I", "-c", LIST, cwd=self.folder).stdout.split()
        return [normal(line) for line in listed]

    def fresh(self):
        """An empty virtual environment of the same Python, without pip."""
        folder = Path(tempfile.mkdtemp(prefix="fresh-", dir=self.folder)) / "venv"
        run(self.uv, "venv", "-q", "-p", self.python, folder, cwd=self.folder)
        return folder

    def uv_installs(self, lockfile):
        folder = self.fresh()
        sync = [self.uv, "pip", "sync", "-q", "--preview-features", "pylock", "-p", folder / "bin/python"]
        run(*sync, lockfile, cwd=self.folder)
        return self.installed(folder / "bin/python")

    def pip_installs(self, lockfile):
        folder = self.fresh()
        pip = [self.python, "-m", "pip", "--python", folder / "bin/python", "install", "--no-cache-dir", "-q"]
        run(*pip, "-r", lockfile, cwd=self.folder)
        return self.installed(folder / "bin/python")


def install_everywhere(tools, project, what):
    """The project's lockfile of the channel pip, built by flambeau and installed by uv and pip."""
    tools.flambeau("build", "--locked", "--channel", "pip", cwd=project)
    built = json.loads((project / "environment_state.json").read_text())["InstalledPackages"]
    same(f"{what}: the built environment has what its state says", built, tools.installed(project / ".venv/bin/python"))
    # pip wants the name pylock.toml or pylock.<name>.toml.
    exported = project / "exported/pylock.pip.toml"
    exported.parent.mkdir()
    tools.flambeau("export", "--channel", "pip", "--format", "pylock", "-o", exported, cwd=project)
    tools.flambeau("lock", "--channel", "pip", "--urls", cwd=project)
    for form, lockfile in [("exported", exported), ("lock --urls", project / "lockfiles/pylock.pip.toml")]:
        same(f"{what}: packaging.pylock, {form}", built, tools.selected(lockfile))
        same(f"{what}: uv pip sync, {form}", built, tools.uv_installs(lockfile))
        same(f"{what}: pip install -r, {form}", built, tools.pip_installs(lockfile))


def make_wheel(folder, name, requires):
    """A wheel without any code."""
    stem = f"{name}-1.0"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}-py3-none-any.whl"
    members = {
        f"{stem}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: {requires}\n",
        f"{stem}.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    names = [*members, f"{stem}.dist-info/RECORD"]
    rows = {}
    for member, text in members.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
        rows[member] = f"{member},sha256={digest},{len(text.encode())}"
    members[names[-1]] = "\n".join([*rows.values(), f"{names[-1]},,"]) + "\n"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    return path


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def small_projects(tools):
    python = f"{sys.version_info[0]}.{sys.version_info[1]}"
    lock = ["lock", "--channel", "pip", "--python", python, "--platform", "linux_x86_64"]
    project = tools.folder / "locked"
    project.mkdir()
    print(f"installing {' '.join(LOCKED)}")
    tools.flambeau(*lock, *LOCKED, cwd=project)
    install_everywhere(tools, project, "small")

    print("installing a local wheel and one by URL")
    project = tools.folder / "direct"
    local = make_wheel(project / "dist", "localdemo", "iniconfig")
    make_wheel(tools.folder / "served", "urldemo", "localdemo")
    handler = functools.partial(Quiet, directory=tools.folder / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/urldemo-1.0-py3-none-any.whl"
        tools.flambeau(*lock, f"./dist/{local.name}", f"urldemo @ {url}", cwd=project)
        install_everywhere(tools, project, "direct")
        (project / "in.txt").write_text(f"localdemo @ {local.as_uri()}\nurldemo @ {url}\n")
        compiled = [tools.uv, "pip", "compile", "-q", "in.txt", "-p", sys.executable, "--format", "pylock.toml"]
        run(*compiled, "-o", "pylock.uv.toml", cwd=project)
        run(tools.python, "-m", "pip", "lock", "-q", "-r", "in.txt", "-o", "pylock.pip.toml", cwd=project)
        # uv does not open the `file:` URL that pip writes for a local wheel.
        for file, install in [("pylock.uv.toml", tools.uv_installs), ("pylock.pip.toml", tools.pip_installs)]:
            tools.flambeau("build", "--from", file, cwd=project)
            built = json.loads((project / "environment_state.json").read_text())["InstalledPackages"]
            same(f"direct: build --from {file}", install(project / file), built)
        server.shutdown()


def own_lockfiles(tools, torch):
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
        if torch:
            tools.flambeau("lock", "--channel", "pip", cwd=project)
            install_everywhere(tools, project, "torch")


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
            same("uv pip sync installs it", state["InstalledPackages"], tools.uv_installs(project / file))
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
    parser.add_argument("--flambeau", type=os.path.abspath, default=ROOT / "target/debug/flambeau")
    parser.add_argument("--uv", default=shutil.which("uv"), required=shutil.which("uv") is None)
    parser.add_argument("--pdm", default=None)
    parser.add_argument("--torch", action="store_true", help="install torch too: several GB, five times")
    arguments = parser.parse_args()
    if sys.version_info < (3, 11):
        raise SystemExit("run this with Python 3.11 or newer")
    folder = Path(tempfile.mkdtemp(prefix="flambeau-compare-"))
    try:
        tools = Tools(arguments, folder)
        own_lockfiles(tools, arguments.torch)
        small_projects(tools)
        their_files(tools)
    finally:
        # Trees of the store are read-only.
        subprocess.run(["chmod", "-R", "u+w", folder], check=False)
        shutil.rmtree(folder)
    print(f"{len(failures)} differences" if failures else "all agree")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
