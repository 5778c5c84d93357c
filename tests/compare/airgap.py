#!/usr/bin/env python3
"""Builds the real torch environment without a network, three ways, and compares what comes out.

Not part of the test suite: it needs gigabytes of real wheels, and Linux with `unshare` (root, or user namespaces). Only the
standard library is used.

    python3 tests/compare/airgap.py [--channel pip] [--python 3.11] [--cache DIR --lockfiles DIR] [--folder DIR] [--split 1G]

Warms a cache for the channel (or takes a warm one, hard-linked, so that it stays as it is, with the lockfiles it was
warmed for), then goes into a network namespace without interfaces and builds in a fresh project and store each time: from
the cache alone, from an export folder, and from an archive in parts, both imported into an empty cache. Imports torch in
each. Prints what every step took; exit code 1 where a key or a tree digest differs. The program is the one that FLAMBEAU
names, else `flambeau` of the PATH. About 8 GB are used below --folder, and freed again.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FLAMBEAU = os.environ.get("FLAMBEAU", "flambeau")
PROBE = "import torch, torchvision; x = torch.ones(64, 64); print(torch.__version__, float((x @ x).sum()))"


class Machine:
    """A project, a store and a cache of their own."""

    def __init__(self, root, cache=None):
        self.root = Path(root)
        self.project = self.root / "project"
        self.project.mkdir(parents=True)
        keep = ("PATH", "HOME", "LANG", "TMPDIR", "PIP_INDEX_URL", "PIP_CONFIG_FILE", "SSL_CERT_FILE")
        self.environment = {name: os.environ[name] for name in keep if name in os.environ}
        self.environment.update(
            FLAMBEAU_STORE_DIR=str(self.root / "store"),
            FLAMBEAU_CACHE_DIR=str(cache or self.root / "cache"),
        )

    def flambeau(self, *arguments):
        start = time.perf_counter()
        command = [FLAMBEAU, "--json", "--no-progress", *arguments]
        done = subprocess.run(command, cwd=self.project, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
        return json.loads(done.stdout), time.perf_counter() - start

    def probe(self):
        start = time.perf_counter()
        command = [self.project / ".venv/bin/python", "-c", PROBE]
        done = subprocess.run(command, cwd=self.project, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout.strip(), time.perf_counter() - start

    def remove(self):
        subprocess.run(["find", self.root, "-type", "d", "-exec", "chmod", "u+w", "{}", "+"], check=True)
        shutil.rmtree(self.root)


def assert_cut_off():
    interfaces = os.listdir("/sys/class/net") if Path("/sys/class/net").is_dir() else []
    for family, address in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as probe:
            probe.settimeout(2)
            try:
                probe.connect((address, 9))
            except OSError as error:
                assert error.errno in (101, 99, 97), f"{address}: {error}"
            else:
                sys.exit(f"{address} can be reached: there is a network here")
    print(f"in a network namespace of its own; nothing can be reached (interfaces seen in /sys: {interfaces})")


def build(machine, arguments):
    built, seconds = machine.flambeau("build", "--offline", "--locked", "--channel", arguments.channel, "--python", arguments.python)
    said, first = machine.probe()
    print(f"  build {seconds:.2f} s, {built['packages']} packages, downloaded {built['downloaded_bytes']} bytes")
    print(f"  first import {first:.2f} s: {said}")
    print(f"  key {built['key']}\n  tree digest {built['tree_digest']}")
    return built["key"], built["tree_digest"]


def cut_off(arguments):
    assert_cut_off()
    root, cache = Path(arguments.folder), Path(arguments.cache)
    results = []

    print("from the cache alone")
    machine = Machine(root / "from-cache", cache)
    shutil.copytree(arguments.lockfiles, machine.project / "lockfiles")
    results.append(build(machine, arguments))
    exporter = Machine(root / "exporter", cache)
    shutil.copytree(arguments.lockfiles, exporter.project / "lockfiles")
    machine.remove()

    for name, flags in (("folder", []), ("cut.tar", ["--split", arguments.split])):
        print(f"from an export: {name} {' '.join(flags)}".rstrip())
        bundle = root / name
        selection = ["--channel", arguments.channel, "--python", arguments.python]
        exported, seconds = exporter.flambeau("export", str(bundle), *selection, *flags, "--offline")
        parts = len(exported["paths"])
        print(f"  export {seconds:.2f} s, {exported['size_bytes'] / 1e9:.2f} GB in {parts} path(s)")
        machine = Machine(root / f"from-{name}")
        imported, seconds = machine.flambeau("import", str(bundle), "--expect", exported["digest"], "--offline")
        print(f"  import {seconds:.2f} s, {imported['new_wheels']} wheels, bundle {imported['digest'][:16]}…")
        # Two copies of the wheels and the store at once would need 11 GB.
        for path in exported["paths"]:
            shutil.rmtree(path) if Path(path).is_dir() else os.remove(path)
        results.append(build(machine, arguments))
        machine.remove()
    exporter.remove()
    same = len(set(results)) == 1
    print("the same key and tree digest, three times" if same else f"they differ: {results}")
    return 0 if same else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--channel", default="pip")
    parser.add_argument("--python", default="3.11")
    parser.add_argument("--cache", help="a warm cache [default: warm one]")
    parser.add_argument("--lockfiles", help="the folder of lockfiles that the cache is warm for")
    parser.add_argument("--folder", help="where to work [default: a temporary folder]")
    parser.add_argument("--split", default="1G")
    parser.add_argument("--cut-off", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.cut_off:
        return cut_off(arguments)
    root = Path(arguments.folder or tempfile.mkdtemp(prefix="airgap-"))
    root.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(root).free < 9e9:
        sys.exit(f"{root} has less than 9 GB free")
    cache, lockfiles = root / "cache", arguments.lockfiles
    if arguments.cache:
        subprocess.run(["cp", "-al", arguments.cache, cache], check=True)
    if not lockfiles:
        warm = Machine(root / "warm", cache)
        fetched, seconds = warm.flambeau("fetch", "--channel", arguments.channel, "--python", arguments.python)
        print(f"warmed in {seconds:.2f} s: {fetched['wheels']} wheels, {fetched['downloaded_bytes'] / 1e9:.2f} GB downloaded")
        lockfiles = warm.project / "lockfiles"
    command = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    command += [sys.executable, __file__, "--cut-off", "--folder", root, "--cache", cache, "--lockfiles", lockfiles]
    command += ["--channel", arguments.channel, "--python", arguments.python, "--split", arguments.split]
    code = subprocess.run(command, check=False).returncode
    if not arguments.folder:
        subprocess.run(["find", root, "-type", "d", "-exec", "chmod", "u+w", "{}", "+"], check=True)
        shutil.rmtree(root)
    return code


if __name__ == "__main__":
    sys.exit(main())
