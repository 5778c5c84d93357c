#!/usr/bin/env python3
"""Measures flambeau beside uv, and beside what the machine can do, and writes docs/benchmarks.md.

    python3 tests/bench/bench.py [--flambeau target/release/flambeau] [--wheels DIR] [--rows hit,switch,warm,…]

Not part of the test suite: it needs nginx, uv (of the PATH, else installed from the package index into a scratch
environment), CPython 3.11 and about 40 GB. Only the standard library is used. The wheels of torch 2.7.0 and torchvision
0.22.0 (28 of them, 2.9 GB) are taken from --wheels, a folder that is searched at any depth (a flambeau cache will do),
and those that are missing there are downloaded once from the package index. From then on nothing but the loopback is
contacted: both programs fetch from one nginx.

The two run in turn, A B A B …, each with folders of its own on one file system. What is timed is one whole process, from
its start to its end. Cold runs start with empty caches and stores, and with nothing left to write to the disk. What the
run before has left is neither timed nor deleted, but moved away and its large files emptied: for minutes after thousands of
names were deleted, ext4 is slow to make new ones, and that would be measured in place of the programs.
"""

import argparse
import hashlib
import json
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import report
from server import Index, cpu_variant, metadata, normalised

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = ["torch==2.7.0", "torchvision==0.22.0"]
ROWS = ["cold", "cold-plain", "limited", "hit", "switch", "warm", "import", "verify", "many", "limits"]


class Sample:
    """One run: seconds on the clock, of the processors, and the largest resident size of any of its processes."""

    def __init__(self, wall, usage):
        self.wall, self.user, self.system = wall, usage.ru_utime, usage.ru_stime
        self.memory = usage.ru_maxrss * 1024


def run(command, folder="/", env=None, check=True):
    """Runs a program to its end. Its output goes to a file, and is shown where it fails."""
    with tempfile.TemporaryFile() as output:
        start = time.perf_counter()
        process = subprocess.Popen(
            [str(one) for one in command], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if check and process.returncode != 0:
            output.seek(0)
            sys.exit(f"{' '.join(map(str, command))} failed:\n{output.read().decode()[-4000:]}")
    return Sample(wall, usage)


def in_turn(rounds, **sides):
    """Runs the sides in turn and returns the samples of each. A side is a function that returns a sample."""
    samples = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            samples[name].append(side())
    return samples


def remove(*paths):
    for path in paths:
        # The store's folders are read-only. So are its files, whose inodes others share: their modes stay.
        if Path(path).exists():
            subprocess.run(["find", path, "-type", "d", "-exec", "chmod", "u+w", "{}", "+"], check=True)
            shutil.rmtree(path)


class Bench:
    def __init__(self, arguments, work):
        self.arguments, self.work = arguments, Path(work)
        self.flambeau_program = Path(arguments.flambeau).resolve()
        self.python = arguments.python or shutil.which("python3.11") or sys.exit("CPython 3.11 is needed: --python")
        self.uv_program = arguments.uv or shutil.which("uv") or self.install_uv()
        self.index = Index(self.work / "index", arguments.limit)
        self.project, self.venv = self.work / "project", self.work / "uv/venv"
        self.store, self.cache = self.work / "store", self.work / "cache"
        self.uv_cache = self.work / "uv/cache"
        self.results, self.notes = {}, {}

    # Preparation.

    def install_uv(self):
        run([sys.executable, "-m", "venv", self.work / "tools"])
        run([self.work / "tools/bin/pip", "install", "--quiet", "uv"], env=dict(os.environ))
        return self.work / "tools/bin/uv"

    def prepare(self):
        """The wheels of the lockfile that comes with flambeau, on the pages of the index."""
        lockfile = (ROOT / "lockfiles/pylock.pip.toml").read_text()
        wanted = self.wanted(lockfile)
        found = {}
        for folder in self.arguments.wheels:
            for path in Path(folder).rglob("*.whl"):
                if path.name in wanted:
                    found.setdefault(path.name, path)
        missing = sorted(set(wanted) - set(found))
        if missing:
            print(f"downloading {len(missing)} wheels", file=sys.stderr)
            folder = self.work / "downloads"
            for file in missing:
                name, version = file.split("-")[:2]
                command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
                command += ["--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=abi3", "--abi=none"]
                command += [f"--platform=manylinux_2_{n}_x86_64" for n in (28, 27, 26, 17)]
                command += ["--platform=manylinux2014_x86_64", "--dest", str(folder), f"{name}=={version}"]
                run(command, env=dict(os.environ))
                found[file] = folder / file
        for file, path in found.items():
            if digest_of(path) != wanted[file]:
                sys.exit(f"{path} does not have the digest that the lockfile states")
        wheels = [(path, wanted[file]) for file, path in sorted(found.items())]
        self.index.add("simple", wheels)
        self.wheels = [path for path, _ in wheels]
        self.pins = sorted(f"{name}=={version}" for name, version in map(name_and_version, self.wheels))
        self.requirements = self.work / "requirements.txt"
        self.requirements.write_text("\n".join(self.pins) + "\n")
        cpu = [pin for pin in self.pins if not re.match(r"nvidia|triton", pin)]
        self.cpu_requirements = self.work / "requirements-cpu.txt"
        self.cpu_requirements.write_text("\n".join(re.sub(r"^(torch|torchvision)==(.*)", r"\1==\2+cpu", pin) for pin in cpu))
        print(f"{len(self.wheels)} wheels, {sum(path.stat().st_size for path in self.wheels) / 1e9:.2f} GB", file=sys.stderr)

    def make_variants(self):
        """The CPU variants of torch and torchvision, on a page of their own."""
        variants = self.work / "cpu"
        variants.mkdir(exist_ok=True)
        for path in self.wheels:
            if normalised(path.name.split("-")[0]) in ("torch", "torchvision"):
                variant = cpu_variant(path, variants)
                self.index.add("whl/cpu", [(variant, digest_of(variant))])
        others = [path for path in self.wheels if not re.match(r"nvidia|triton|torch", path.name)]
        self.index.add("whl/cpu", [(path, digest_of(path)) for path in others])

    def wanted(self, lockfile):
        """File name and digest of the wheels for CPython 3.11 on x86-64 Linux, as flambeau itself chooses them."""
        project = self.work / "chooser"
        project.mkdir(exist_ok=True)
        (project / "lockfiles").mkdir(exist_ok=True)
        (project / "lockfiles/pylock.pip.toml").write_text(lockfile)
        environment = self.environment(store=self.work / "none", cache=self.work / "chooser/cache")
        command = [self.flambeau_program, "--json", "--project", project, "--offline", "build", "--dry-run", "--locked"]
        command += ["--channel", "pip", "--python", self.python]
        answer = subprocess.run([str(one) for one in command], env=environment, capture_output=True, text=True)
        document = json.loads(answer.stdout)
        if "error" in document:
            sys.exit(f"flambeau cannot plan: {document['error']['message']}")
        digests = dict(
            (file, digest)
            for file, digest in re.findall(r'name = "([^"]+\.whl)".*?sha256 = "([0-9a-f]{64})"', lockfile)
        )
        return {file: digests[file] for file in document["download_files"]}

    # The two programs.

    def environment(self, store=None, cache=None, **more):
        kept = ("PATH", "HOME", "LANG", "TMPDIR")
        environment = {name: os.environ[name] for name in kept if name in os.environ}
        environment.update(
            FLAMBEAU_STORE_DIR=str(store or self.store),
            FLAMBEAU_CACHE_DIR=str(cache or self.cache),
            FLAMBEAU_PYTORCH_MIRROR=self.index.url("whl").rstrip("/"),
            PIP_CONFIG_FILE=os.devnull,
            PIP_INDEX_URL=self.index.url("simple", more.pop("slow", False)),
            UV_NO_CONFIG="1",
            UV_CACHE_DIR=str(self.uv_cache),
            NO_COLOR="1",
            **more,
        )
        return environment

    def flambeau(self, *arguments, slow=False, **folders):
        command = [self.flambeau_program, "--quiet", "--no-progress", *arguments]
        return run(command, self.project, self.environment(slow=slow, **folders))

    def build(self, *arguments, **how):
        return self.flambeau("build", "--channel", "pip", "--python", self.python, *arguments, **how)

    def move_away(self, path):
        aside = self.work / "aside" / uuid.uuid4().hex
        aside.parent.mkdir(exist_ok=True)
        if path.is_dir() and not path.is_symlink():
            # A folder that may not be written cannot be moved either.
            path.chmod(path.stat().st_mode | stat.S_IWUSR)
        path.rename(aside)
        return aside

    def set_aside(self, *paths):
        """Takes away what a run has left, keeps its names and frees its space."""
        for path in paths:
            if os.path.lexists(path):
                aside = self.move_away(path)
                if aside.is_dir() and not aside.is_symlink():
                    emptied = ["find", aside, "-type", "f", "-size", "+64k", "-exec", "truncate", "-s", "0", "{}", "+"]
                    subprocess.run(emptied, check=True)

    def new_venv(self):
        self.set_aside(self.venv)
        run([self.uv_program, "venv", "--quiet", "--python", self.python, self.venv], env=self.environment())

    def uv(self, *arguments, requirements=None, slow=False):
        command = [self.uv_program, "pip", "sync", "--quiet", "--python", self.venv / "bin/python"]
        command += ["--index-url", self.index.url("simple", slow), *arguments, requirements or self.requirements]
        return run(command, self.work, self.environment())

    def new_project(self, settings=""):
        """A project that pins the requirements and is locked for the wheels that the index has."""
        remove(self.project)
        self.project.mkdir()
        dependencies = ", ".join(f'"{one}"' for one in REQUIREMENTS)
        (self.project / "pyproject.toml").write_text(
            f'[project]\nname = "bench"\nversion = "0"\ndependencies = [{dependencies}]\n'
            f'\n[tool.flambeau]\npython-versions = ["3.11"]\nplatforms = ["manylinux_2_28_x86_64"]\n{settings}'
        )
        self.flambeau("lock", "--channel", "pip")

    # The rows.

    def cold_flambeau(self, *arguments, slow=False):
        links = [self.project / name for name in (".flambeau", ".venv", "environment_state.json")]
        self.set_aside(self.store, self.cache, *links)
        os.sync()
        return self.build(*arguments, slow=slow)

    def cold_uv(self, *arguments, slow=False):
        self.set_aside(self.uv_cache)
        self.new_venv()
        os.sync()
        return self.uv(*arguments, slow=slow)

    def row_cold(self):
        self.results["cold"] = in_turn(
            self.arguments.cold_runs, flambeau=self.cold_flambeau, uv=lambda: self.cold_uv("--compile-bytecode")
        )

    def row_cold_plain(self):
        leaving_out = ["--no-compile-bytecode", "--no-keep-wheels"]
        self.results["cold-plain"] = in_turn(
            self.arguments.cold_runs, flambeau=lambda: self.cold_flambeau(*leaving_out), uv=self.cold_uv
        )

    def row_limited(self):
        self.results["limited"] = in_turn(
            self.arguments.limited_runs,
            flambeau=lambda: self.cold_flambeau(slow=True),
            uv=lambda: self.cold_uv("--compile-bytecode", slow=True),
        )

    def warm_up(self):
        """Whatever was measured before: everything that the warm rows need is there, once."""
        self.build()
        if not (self.venv / "bin/python").exists():
            self.new_venv()
        self.uv()

    def row_hit(self):
        self.results["hit"] = in_turn(self.arguments.runs, flambeau=self.build, uv=self.uv)

    def row_switch(self):
        self.make_variants()
        self.flambeau("lock", "--channel", "cpu")
        self.flambeau("build", "--channel", "cpu", "--python", self.python)
        self.build()
        mirror = ["--index", self.index.url("whl/cpu")]
        to_cpu = lambda: self.uv(*mirror, requirements=self.cpu_requirements)
        to_cpu()
        self.uv("--reinstall-package", "torch", "--reinstall-package", "torchvision")
        channels = ["cpu", "pip"]

        def activate():
            channels.reverse()
            return self.flambeau("activate", channels[0])

        def back():
            # What is installed meets `==2.7.0` already, so it has to be told.
            return self.uv("--reinstall-package", "torch", "--reinstall-package", "torchvision")

        def uv():
            sample = to_cpu()
            back()
            return sample

        activate()
        rounds = max(6, self.arguments.runs)
        self.results["switch"] = in_turn(rounds, flambeau=activate, uv=uv)
        self.flambeau("activate", "pip")
        self.flambeau("activate", "cpu")
        self.results["rollback"] = {
            "flambeau": [self.rolled_back() for _ in range(rounds)],
            "uv": self.results["switch"]["uv"],
        }
        self.build()

    def rolled_back(self):
        sample = self.flambeau("rollback")
        self.flambeau("activate", "cpu")
        return sample

    def fresh_flambeau(self):
        """Its files are the store's too, so here nothing may be emptied."""
        for environment in (self.store / "envs").glob("*-pip-*"):
            self.move_away(environment)
        return self.build()

    def fresh_uv(self, *arguments):
        if self.venv.exists():
            self.move_away(self.venv)
        self.new_venv()
        return self.uv(*arguments)

    def row_warm(self):
        self.results["warm"] = in_turn(self.arguments.runs, flambeau=self.fresh_flambeau, uv=self.fresh_uv)
        self.results["warm-bytecode"] = {
            "flambeau": self.results["warm"]["flambeau"],
            "uv": in_turn(min(5, self.arguments.runs), uv=lambda: self.fresh_uv("--compile-bytecode"))["uv"],
        }

    def row_import(self):
        def first(fresh, prefix):
            def measure():
                fresh()
                return run([prefix / "bin/python", "-c", "import torch, torchvision"], env=self.environment())

            return measure

        self.results["import"] = in_turn(
            min(5, self.arguments.runs),
            flambeau=first(self.fresh_flambeau, self.project / ".venv"),
            uv=first(self.fresh_uv, self.venv),
        )

    def row_verify(self):
        if subprocess.run([self.flambeau_program, "verify", "--help"], capture_output=True).returncode != 0:
            self.notes["verify"] = "this flambeau has no `verify`"
            return
        files = self.work / "files"
        real = (self.project / ".venv").resolve()
        listed = subprocess.run(["find", "-L", real, "-type", "f", "-print0"], capture_output=True, check=True).stdout
        files.write_bytes(listed)
        hashing = f"xargs -0 -n 64 -P {os.cpu_count()} sha256sum < {files} > /dev/null"
        self.results["verify"] = in_turn(
            min(5, self.arguments.runs),
            flambeau=lambda: self.flambeau("verify"),
            sha256sum=lambda: run(["sh", "-c", hashing]),
        )

    def row_many(self):
        """A store with a thousand environments more: their states, records and folders, without content."""
        template = (self.project / ".venv").resolve()
        state = json.loads((template / "environment_state.json").read_text())
        record = (self.store / f"records/envs-{template.name}.json").read_text()
        key = template.name.split("-")[0]
        for _ in range(1000):
            new = hashlib.sha256(uuid.uuid4().bytes).hexdigest()
            name = template.name.replace(key, new[:40])
            folder = self.store / "envs" / name
            folder.mkdir()
            state["EnvironmentKey"] = new
            (folder / "environment_state.json").write_text(json.dumps(state, indent=2))
            (self.store / f"records/envs-{name}.json").write_text(record)
            (self.store / "leases" / name).touch()
            folder.chmod(0o555)
        runs = self.arguments.runs
        self.results["many-list"] = in_turn(runs, flambeau=lambda: self.flambeau("list"))
        self.results["many-gc"] = in_turn(runs, flambeau=lambda: self.flambeau("gc", "--dry-run"))
        self.results["many-hit"] = in_turn(runs, flambeau=self.build)
        self.results["many-activate"] = in_turn(runs, flambeau=lambda: self.flambeau("activate", "pip"))

    def row_limits(self):
        """What the machine does with the same bytes."""
        shell = lambda text: lambda: run(["sh", "-c", text])
        copy, cores = self.work / "copy", os.cpu_count()
        site_packages = self.venv / "lib/python3.11/site-packages"
        names = " ".join(shlex.quote(str(path)) for path in self.wheels)
        torch = next(path for path in self.wheels if path.name.startswith("torch-"))
        real = self.venv
        limits = {
            "cp -al": (5, shell(f"cp -al {real} {copy}")),
            "dd, buffered, 1 GB": (3, shell(f"dd if=/dev/zero of={copy} bs=1M count=1000")),
            "dd, direct, 1 GB": (3, shell(f"dd if=/dev/zero of={copy} bs=1M count=1000 oflag=direct")),
            "sha256sum, torch wheel": (3, shell(f"sha256sum {torch}")),
            "sha256sum, all wheels, all cores": (3, shell(f"echo {names} | xargs -n 1 -P {cores} sha256sum")),
            "Python's compileall, all modules, all cores": (
                3, shell(f"{self.python} -m compileall -q -f -j {cores} {site_packages} || true")
            ),
            "Python's zipfile -t (inflating, CRC), all wheels, all cores": (
                3, shell(f"echo {names} | xargs -n 1 -P {cores} {sys.executable} -m zipfile -t")
            ),
            "Python's zipfile, torch wheel": (1, shell(f"{sys.executable} -m zipfile -e {torch} {copy}")),
        }
        if shutil.which("unzip"):
            limits["unzip, torch wheel"] = (3, shell(f"unzip -q {torch} -d {copy}"))
        for name, (rounds, action) in limits.items():
            self.results[f"limit: {name}"] = {"machine": []}
            for _ in range(rounds):
                self.results[f"limit: {name}"]["machine"].append(action())
                if copy.is_file():
                    copy.unlink()
                elif name == "cp -al":
                    # Its files are those of the environment.
                    self.move_away(copy)
                else:
                    self.set_aside(copy)

    def measure(self):
        rows = self.arguments.rows.split(",") if self.arguments.rows else ROWS
        with self.index:
            self.new_project()
            for row in ROWS:
                if row not in rows:
                    continue
                if row not in ("cold", "cold-plain", "limited"):
                    self.warm_up()
                print(f"measuring {row}", file=sys.stderr)
                getattr(self, "row_" + row.replace("-", "_"))()
                report.show(row, self.results)
                # After each row: a run that is stopped has written what it has.
                report.write(Path(self.arguments.out), self)


def name_and_version(wheel):
    text = metadata(wheel).decode()
    fields = [re.search(rf"^{field}: (.*)$", text, re.MULTILINE)[1].strip() for field in ("Name", "Version")]
    return normalised(fields[0]), fields[1]


def digest_of(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flambeau", default=ROOT / "target/release/flambeau")
    parser.add_argument("--uv", help="the uv to compare with")
    parser.add_argument("--python", help="a CPython 3.11")
    parser.add_argument("--wheels", action="append", default=[], help="a folder with wheels; may be given several times")
    parser.add_argument("--work", help="a folder for everything, kept afterwards [default: a temporary one]")
    parser.add_argument("--rows", help=f"some of {','.join(ROWS)}")
    parser.add_argument("--runs", type=int, default=9, help="of each side in the rows that take a moment")
    parser.add_argument("--cold-runs", type=int, default=5)
    parser.add_argument("--limited-runs", type=int, default=5)
    parser.add_argument("--limit", default="20m", help="nginx's limit_rate for each connection")
    parser.add_argument("--out", default=ROOT / "docs/benchmarks.md")
    arguments = parser.parse_args()
    if arguments.work:
        Path(arguments.work).mkdir(parents=True, exist_ok=True)
    work = arguments.work or tempfile.mkdtemp(prefix="flambeau-bench-")
    bench = Bench(arguments, Path(work).resolve())
    try:
        bench.prepare()
        bench.measure()
    finally:
        if not arguments.work:
            remove(work)


if __name__ == "__main__":
    main()
