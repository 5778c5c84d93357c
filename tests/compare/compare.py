#!/usr/bin/env python3
"""Compares what flambeau locks with what uv resolves, and how long both take.

Not part of the test suite: it needs a network, a package index and uv. Only the standard library is used. Both
programs ask the same index, each with an empty cache of its own at the start; nothing is installed.

    python3 tests/compare/compare.py versions [--pythons 3.10,3.11,3.12] [--index-url URL] [REQ ...]
    python3 tests/compare/compare.py time [--python 3.11] [--rounds 5] [--index-url URL] [REQ ...]

`versions` locks the requirements once for all Pythons (Linux x86_64, channel `pip`), resolves them with
`uv pip compile` for each Python, and prints every package whose versions differ. `time` prints the medians of a
first run (cold: nothing cached; once, since it is the network that is measured) and of warm runs: `flambeau lock` and
`flambeau lock --upgrade` beside `uv pip compile` and `uv pip compile --upgrade`, in turn, so that the state of the
network is the same for all. Without --index-url the index is the one that this Python's pip has built in.
The programs are those named by FLAMBEAU and UV, else `flambeau` and `uv` of the PATH. Exit code 1 where versions differ.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MESSY = ["torch", "transformers", "accelerate", "pandas", "opencv-python-headless", "jupyterlab"]
PINNED = ["torch==2.7.0", "torchvision==0.22.0"]
FLAMBEAU = os.environ.get("FLAMBEAU", "flambeau")
UV = os.environ.get("UV", "uv")


def built_in_index():
    from pip._internal.models.index import PyPI

    return PyPI.simple_url


def run(command, folder, extra):
    """Runs a program without the configuration of whoever calls this; returns how long it took."""
    keep = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
    environment = {name: os.environ[name] for name in keep if name in os.environ}
    environment.update(PIP_CONFIG_FILE=os.devnull, UV_NO_CONFIG="1", NO_COLOR="1")
    environment.update(extra)
    start = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    elapsed = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return elapsed


class Bench:
    """One folder with a project for flambeau, a requirements file for uv, and a cache for each."""

    def __init__(self, root, requirements, index):
        self.root = Path(root)
        self.index = index
        self.requirements = requirements
        (self.root / "project").mkdir()
        (self.root / "requirements.in").write_text("".join(f"{one}\n" for one in requirements))

    def flambeau(self, *arguments):
        folders = {
            "FLAMBEAU_CACHE_DIR": str(self.root / "flambeau-cache"),
            "FLAMBEAU_STORE_DIR": str(self.root / "store"),
        }
        command = [FLAMBEAU, "lock", "--quiet", "--channel", "pip", "--index-url", self.index, *arguments]
        return run(command, self.root / "project", folders)

    def uv(self, python, *arguments):
        command = [UV, "pip", "compile", "--quiet", "--index-url", self.index, "--python-version", python]
        command += ["--python-platform", "x86_64-manylinux_2_28", "--only-binary", ":all:", "--generate-hashes"]
        command += ["--output-file", f"uv-{python}.txt", *arguments, "requirements.in"]
        return run(command, self.root, {"UV_CACHE_DIR": str(self.root / "uv-cache")})

    def uv_pins(self, python):
        text = (self.root / f"uv-{python}.txt").read_text()
        return dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\\n]+)", text, re.MULTILINE))

    def lockfile(self):
        import tomllib

        return tomllib.loads((self.root / "project/lockfiles/pylock.pip.toml").read_text())


def selected(lockfile, target):
    """The pins of one target, as flambeau's own markers of Python versions have it (one platform, so no others)."""
    full = tuple(int(part) for part in target["python-full-version"].split("."))
    pins = {}
    for package in lockfile["packages"]:
        if holds(package.get("marker"), full):
            pins[package["name"]] = package["version"]
    return pins


def holds(marker, full):
    """Evaluates the few forms of markers that a lockfile with one platform has."""
    if marker is None:
        return True

    def compare(found):
        name, operator, text = found.groups()
        assert name in ("python_full_version", "python_version"), marker
        if text.endswith(".*"):
            wanted = tuple(int(part) for part in text[:-2].split("."))
            return str((full[: len(wanted)] == wanted) == (operator == "=="))
        wanted = tuple(int(part) for part in text.split("."))
        have = full if name == "python_full_version" else full[:2]
        return str(eval(f"{have} {operator} {wanted}"))  # two tuples of numbers

    return eval(re.sub(r"(\w+) (==|!=|<=|>=|<|>) '([\d.*]+)'", compare, marker))


def versions(arguments):
    requirements = arguments.requirements or MESSY
    pythons = arguments.pythons.split(",")
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(root, requirements, arguments.index_url or built_in_index())
        bench.flambeau("--python", arguments.pythons, "--platform", "linux_x86_64", *requirements)
        lockfile = bench.lockfile()
        targets = {one["target"].split("-")[0]: one for one in lockfile["tool"]["flambeau"]["targets"]}
        rows, counts = [], []
        for python in pythons:
            target = targets["cp" + python.replace(".", "")]
            full = target["python-full-version"]
            # Markers may look at the patch level: both resolve for the same one.
            bench.uv(full)
            ours, theirs = selected(lockfile, target), bench.uv_pins(full)
            counts.append(f"| {full} | {len(ours)} | {len(theirs)} | {sum(ours[n] == theirs.get(n) for n in ours)} |")
            for name in sorted(ours.keys() | theirs.keys()):
                if ours.get(name) != theirs.get(name):
                    rows.append(f"| {full} | {name} | {ours.get(name, '-')} | {theirs.get(name, '-')} |")
    print("requirements:", " ".join(requirements))
    print("\n| Python | packages (flambeau) | packages (uv) | the same version |\n|---|---|---|---|")
    print("\n".join(counts))
    print("\n| Python | package | flambeau | uv |\n|---|---|---|---|")
    print("\n".join(rows) or "| | none differs | | |")
    return 1 if rows else 0


def times(arguments):
    requirements = arguments.requirements or PINNED
    python = arguments.python
    with tempfile.TemporaryDirectory() as root:
        bench = Bench(root, requirements, arguments.index_url or built_in_index())
        cold = [
            bench.flambeau("--python", python, "--platform", "linux_x86_64", *requirements),
            bench.uv(python),
        ]
        warm = {
            "`flambeau lock`": lambda: bench.flambeau(),
            "`uv pip compile`": lambda: bench.uv(python),
            "`flambeau lock --upgrade`": lambda: bench.flambeau("--upgrade"),
            "`uv pip compile --upgrade`": lambda: bench.uv(python, "--upgrade"),
        }
        measured = {name: [] for name in warm}
        for _ in range(arguments.rounds):
            for name, once in warm.items():
                measured[name].append(once())
    print("requirements:", " ".join(requirements), "on Python", python)
    print("\n| | median of", arguments.rounds, "| all |\n|---|---|---|")
    for name, all_of_them in measured.items():
        listed = ", ".join(f"{one:.2f}" for one in sorted(all_of_them))
        print(f"| {name}, warm | {statistics.median(all_of_them):.2f} s | {listed} |")
    print(f"| flambeau, cold | {cold[0]:.2f} s | once |\n| uv, cold | {cold[1]:.2f} s | once |")
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for name, function in (("versions", versions), ("time", times)):
        verb = verbs.add_parser(name)
        verb.set_defaults(function=function)
        verb.add_argument("requirements", nargs="*", metavar="REQ")
        verb.add_argument("--index-url")
        if function is versions:
            verb.add_argument("--pythons", default="3.10,3.11,3.12")
        else:
            verb.add_argument("--python", default="3.11")
            verb.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    sys.exit(arguments.function(arguments))


if __name__ == "__main__":
    main()
