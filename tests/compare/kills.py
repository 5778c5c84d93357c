#!/usr/bin/env python3
"""Kills builds of a real environment at random moments, and looks at what is left.

    python3 tests/compare/kills.py --flambeau target/release/flambeau --cache WARMED --work DIR [--warm 200] [--cold 50] [--seed 1]

Not part of the test suite: it needs a cache that holds the wheels of `lockfiles/pylock.pip.toml` for one Python (as
`flambeau build --channel pip` leaves it), gigabytes in DIR and some minutes. Only the standard library is used; no
network beside a server on loopback, which offers the cached wheels as an index.

- warm: the store has every tree; `build` of a fresh project is killed (SIGKILL) after a random time up to that of a
  whole run. Then the project's `.venv` must be absent or lead to a complete environment, `verify --all --quick` must be
  clean, and the next `build`, without any help, must give the key and tree digest of the first.
- cold: an empty cache and an empty store; the same kills, but the next `build` goes on where the killed one was, and is
  killed too, until one comes through. Whatever is visible in between, cached wheels included, is checked, and at the end
  everything is verified in full and torch is imported.

Prints a line for each kind. Exit code 1 where anything was partial or needed help.
"""

import argparse
import http.server
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


class Index(http.server.BaseHTTPRequestHandler):
    """The wheels of a cache as a package index with ranges."""

    protocol_version = "HTTP/1.1"
    wheels = {}  # file name -> path

    def log_message(self, *_):
        pass

    def do_GET(self):
        parts = urllib.parse.urlsplit(self.path).path.strip("/").split("/")
        if parts[0] == "simple":
            rows = [
                f'<a href="/files/{urllib.parse.quote(name)}#sha256={path.parent.name}">{name}</a>'
                for name, path in self.wheels.items()
                if re.sub(r"[-_.]+", "-", name.split("-")[0]).lower() == parts[1]
            ]
            body = f"<!DOCTYPE html><html><body>{''.join(rows)}</body></html>".encode()
            self.answer(200 if rows else 404, {"Content-Type": "text/html"}, len(body))
            self.wfile.write(body)
            return
        path = self.wheels.get(urllib.parse.unquote(parts[-1]))
        if path is None:
            self.answer(404, {}, 0)
            return
        size = path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start, end = (int(asked[1]), int(asked[2] or size - 1)) if asked else (0, size - 1)
        end = min(end, size - 1)
        headers = {"Accept-Ranges": "bytes", "ETag": f'"{path.parent.name[:16]}"'}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{end}/{size}"
        self.answer(206 if asked else 200, headers, end - start + 1)
        try:
            with path.open("rb") as file:
                self.connection.sendfile(file, start, end - start + 1)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # It was killed.

    def answer(self, code, headers, length):
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(name, value)
        self.end_headers()


class Runs:
    def __init__(self, options):
        self.options = options
        self.dice = random.Random(options.seed)
        self.failures = []
        self.kills = self.survived = self.checks = 0

    def command(self, project, store, cache, *arguments):
        return [
            str(self.options.flambeau), "--project", str(project), "--store-dir", str(store), "--cache-dir", str(cache),
            *arguments,
        ]

    def run(self, place, *arguments):
        return subprocess.run(self.command(*place, *arguments), capture_output=True, text=True, check=False)

    def kill(self, place, limit, *arguments):
        """Starts a command and kills it after a random time; whether it was still running."""
        child = subprocess.Popen(
            self.command(*place, *arguments), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            child.wait(self.dice.uniform(0, limit))
            self.survived += 1
            return False
        except subprocess.TimeoutExpired:
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
            self.kills += 1
            return True

    def expect(self, holds, what):
        self.checks += 1
        if not holds:
            self.failures.append(what)
            print(f"FAILED: {what}", file=sys.stderr, flush=True)

    def look(self, place, wheels):
        """What is visible must be whole."""
        project, store, cache = place
        link = project / ".venv"
        if link.is_symlink():
            self.expect((link / "environment_state.json").is_file(), f"{link} leads to nothing whole")
        if (store / "VERSION").exists():
            verified = self.run(place, "verify", "--all", "--quick")
            self.expect(verified.returncode == 0, f"verify --all --quick: {verified.stdout[:2000]}{verified.stderr}")
        for name, path in wheels.items():
            cached = cache / "wheels" / path.parent.name / name
            if cached.exists():
                self.expect(cached.stat().st_size == path.stat().st_size, f"{cached} is cut short")


def delete(folder):
    """Folders are read-only. So are files, whose inodes trees share: their modes stay."""
    if folder.exists():
        subprocess.run(["find", str(folder), "-type", "d", "-exec", "chmod", "u+w", "{}", "+"], check=True)
        shutil.rmtree(folder)


def project_at(path):
    shutil.rmtree(path, ignore_errors=True)
    (path / "lockfiles").mkdir(parents=True)
    shutil.copy(ROOT / "lockfiles/pylock.pip.toml", path / "lockfiles")
    return path


def warm(runs, options, wheels):
    work = options.work
    place = (project_at(work / "warm"), work / "store", options.cache)
    build = ("build", "--json", "--offline", "--channel", "pip", "--locked", *options.python_flags)
    first = runs.run(place, *build)
    if first.returncode != 0:
        sys.exit(f"the cache does not hold everything:\n{first.stdout}{first.stderr}")
    wanted = json.loads(first.stdout)
    environment = Path(wanted["path"])

    def forget():
        """Only the trees are left."""
        project_at(place[0])
        if environment.exists():
            delete(environment)

    forget()
    began = time.monotonic()
    runs.run(place, *build)
    whole = time.monotonic() - began
    print(f"a whole warm build: {whole * 1000:.0f} ms", flush=True)
    for number in range(options.warm):
        forget()
        while not runs.kill(place, whole * 1.1, *build):
            forget()
        runs.look(place, {})
        again = runs.run(place, *build)
        runs.expect(again.returncode == 0, f"the build after kill {number}: {again.stdout}{again.stderr}")
        if again.returncode == 0:
            got = json.loads(again.stdout)
            same = all(got[name] == wanted[name] for name in ("key", "path", "tree_digest"))
            runs.expect(same, f"another environment after kill {number}: {got}")
    finish(runs, place)
    return wanted


def cold(runs, options, wheels, wanted, url):
    work = options.work
    place = (project_at(work / "cold"), work / "cold-store", work / "cold-cache")
    build = ("build", "--json", "--channel", "pip", "--locked", "--index-url", url, *options.python_flags)
    target, rounds = runs.kills + options.cold, 0
    while runs.kills < target:
        for folder in place:
            delete(folder)
        project_at(place[0])
        while runs.kills < target and runs.kill(place, options.cold_limit, *build):
            runs.look(place, wheels)
        rounds += 1
        last = runs.run(place, *build)
        runs.expect(last.returncode == 0, f"the build after the kills: {last.stdout}{last.stderr}")
        if last.returncode == 0:
            got = json.loads(last.stdout)
            runs.expect(all(got[name] == wanted[name] for name in ("key", "tree_digest")), f"another environment: {got}")
        finish(runs, place)
    print(f"{rounds} cold builds came through", flush=True)


def finish(runs, place):
    verified = runs.run(place, "verify", "--all")
    runs.expect(verified.returncode == 0, f"verify --all: {verified.stdout[:2000]}{verified.stderr}")
    code = "import torch, torchvision; print(torch.__version__, torch.rand(2, 2).sum().item() >= 0)"
    imported = subprocess.run([place[0] / ".venv/bin/python", "-c", code], capture_output=True, text=True, check=False)
    runs.expect(imported.returncode == 0, f"import torch: {imported.stderr}")
    print(f"verified in full; torch {imported.stdout.strip()}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flambeau", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, help="holds the wheels; is only read")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--python")
    parser.add_argument("--warm", type=int, default=200)
    parser.add_argument("--cold", type=int, default=50)
    parser.add_argument("--cold-limit", type=float, default=10, help="a cold build is killed within so many seconds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    options.flambeau, options.cache = options.flambeau.resolve(), options.cache.resolve()
    options.python_flags = ("--python", options.python) if options.python else ()
    options.work.mkdir(parents=True, exist_ok=True)
    options.work = options.work.resolve()
    wheels = {path.name: path for path in (options.cache / "wheels").glob("*/*.whl")}
    runs = Runs(options)
    began = time.monotonic()
    wanted = warm(runs, options, wheels)
    print(f"warm: {runs.kills} kills, {runs.survived} came through first, {runs.checks} checks,"
          f" {len(runs.failures)} failures, {time.monotonic() - began:.0f} s", flush=True)
    Index.wheels = wheels
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Index)
    server.handle_error = lambda *_: None  # A client that was killed.
    threading.Thread(target=server.serve_forever, daemon=True).start()
    before, checks, failures, began = runs.kills, runs.checks, len(runs.failures), time.monotonic()
    if options.cold:
        cold(runs, options, wheels, wanted, f"http://127.0.0.1:{server.server_port}/simple/")
    print(f"cold: {runs.kills - before} kills, {runs.checks - checks} checks, {len(runs.failures) - failures} failures,"
          f" {time.monotonic() - began:.0f} s", flush=True)
    server.shutdown()
    return 1 if runs.failures else 0


if __name__ == "__main__":
    sys.exit(main())
