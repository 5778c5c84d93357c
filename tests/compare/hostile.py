#!/usr/bin/env python3
"""The hostile wheels of the tests, given to flambeau, uv and pip: who refuses what, and what a refusal leaves behind.

    FLAMBEAU_CORPUS=/tmp/corpus cargo nextest run --run-ignored only write_the_corpus
    python3 tests/compare/hostile.py /tmp/corpus --flambeau target/debug/flambeau --python python3.11 > table.md

Every wheel goes into a fresh virtual environment of its own in a sandbox with its own HOME, TMPDIR and caches. After
the installer has ended, the sandbox is compared with what it was: new or changed files in the environment of a wheel
that was refused are "left", new or changed files elsewhere are "outside". Needs uv and a Python whose pip is asked;
nothing is fetched. Prints two Markdown tables, by family and by case.
"""

import argparse
import collections
import concurrent.futures
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

CANARIES = [pathlib.Path(p) for p in ("/tmp/flambeau-evil.py", "/tmp/flambeau-evil", "/tmp/evil", "/tmp/evil.py")]
# What installers write for themselves.
OWN = ("home", "tmp", "cache", "venv/.lock", "store/records", "store/guards", "store/VERSION", "corpus")


def snapshot(root):
    """Paths below root with what each is; files by digest."""
    found = {}
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = pathlib.Path(folder, name)
            relative = str(path.relative_to(root))
            if relative.startswith(OWN):
                continue
            if path.is_symlink():
                found[relative] = "-> " + os.readlink(path)
            elif path.is_file():
                found[relative] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def changed(before, after):
    return sorted(path for path, what in after.items() if before.get(path) != what)


class Sandbox:
    def __init__(self, python):
        self.root = pathlib.Path(tempfile.mkdtemp(prefix="hostile-"))
        self.python = python
        for name in ("home", "tmp", "cache"):
            (self.root / name).mkdir()
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.root / "home"),
            "TMPDIR": str(self.root / "tmp"),
            "UV_CACHE_DIR": str(self.root / "cache/uv"),
            "UV_OFFLINE": "1",
            "UV_NO_CONFIG": "1",
            "PIP_CACHE_DIR": str(self.root / "cache/pip"),
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "FLAMBEAU_STORE_DIR": str(self.root / "store"),
            "FLAMBEAU_CACHE_DIR": str(self.root / "cache/flambeau"),
            "LANG": "C.UTF-8",
        }

    def run(self, *command):
        return subprocess.run(
            [str(part) for part in command],
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            timeout=300,
        )

    def venv(self):
        done = self.run("uv", "venv", "-q", "--python", self.python, self.root / "venv")
        assert done.returncode == 0, done.stderr.decode()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for folder, _, _ in os.walk(self.root):
            os.chmod(folder, 0o755)  # The store is read-only.
        shutil.rmtree(self.root, ignore_errors=True)


def with_uv(box, wheel, _):
    box.venv()
    python = box.root / "venv/bin/python"
    return ["uv", "pip", "install", "-q", "--no-deps", "--no-index", "--python", python, wheel]


def with_pip(box, wheel, arguments):
    box.venv()
    python = box.root / "venv/bin/python"
    options = ["--no-deps", "--no-index", "--no-compile", "-q"]
    return [arguments.python, "-m", "pip", "--python", python, "install", *options, wheel]


def with_flambeau(box, wheel, arguments):
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    folder = box.root / "corpus"
    folder.mkdir()
    shutil.copy(wheel, folder)
    name, version = wheel.name.split("-")[:2]
    (folder / "pylock.toml").write_text(
        'lock-version = "1.0"\ncreated-by = "compare"\n\n[[packages]]\n'
        f'name = "{name.replace("_", "-")}"\nversion = "{version}"\n'
        f'wheels = [{{ path = "{wheel.name}", hashes = {{ sha256 = "{digest}" }} }}]\n'
    )
    options = ["--offline", "--python", arguments.python, "--project", box.root / "project"]
    (box.root / "project").mkdir()
    return [arguments.flambeau, "build", "--from", folder / "pylock.toml", "--no-activate", *options]


def judge(prepare, wheel, arguments):
    """(installed, files left in the environment, files outside)."""
    with Sandbox(arguments.python) as box:
        command = prepare(box, wheel, arguments)
        before = snapshot(box.root)
        canaries = [path for path in CANARIES if path.exists()]
        done = box.run(*command)
        different = changed(before, snapshot(box.root))
        outside = [path for path in different if not path.startswith(("venv/", "store/"))]
        outside += [str(path) for path in CANARIES if path.exists() and path not in canaries]
        for path in CANARIES:
            if path.exists() and path not in canaries:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        inside = [path for path in different if path.startswith(("venv/", "store/"))]
        if arguments.verbose:
            print(wheel.parent.name, command[0], done.returncode, inside, outside, done.stderr.decode()[-300:], file=sys.stderr)
        # The environment's own files count even where the wheel was installed.
        taken = [path for path in inside if path in before]
        return done.returncode == 0, len(inside), len(outside), taken


def words(result):
    installed, inside, outside, taken = result
    text = "installed" if installed else "refused"
    if not installed and inside:
        text += f", {inside} files left"
    if taken:
        text += f", replaced `{pathlib.Path(taken[0]).name}`"
    if outside:
        text += f", **{outside} outside**"
    return text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=pathlib.Path)
    parser.add_argument("--flambeau", type=os.path.abspath)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--only", default="", help="only cases whose name holds this")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=pathlib.Path, help="write the bare results here")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    verdicts = json.loads((arguments.corpus / "verdicts.json").read_text())
    tools = {"uv": with_uv, "pip": with_pip}
    if arguments.flambeau:
        tools = {"flambeau": with_flambeau, **tools}
    verdicts = {name: verdict for name, verdict in sorted(verdicts.items()) if arguments.only in name}

    def judged(name):
        wheel = (arguments.corpus / name / verdicts[name]["file"]).resolve()
        return name, {tool: judge(prepare, wheel, arguments) for tool, prepare in tools.items()}

    with concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool:
        results = dict(pool.map(judged, verdicts))
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1))
    families = collections.defaultdict(list)
    for name in results:
        families[name.split("/")[0]].append(name)

    def count(names, tool):
        """Of wheels that must be refused: installed, refused with files left, with files outside."""
        rows = [results[name][tool] for name in names if not verdicts[name]["accepted"]]
        installed = sum(row[0] for row in rows)
        left = sum(not row[0] and row[1] > 0 for row in rows)
        outside = sum(row[2] > 0 for row in rows)
        return f"{installed} / {left} / {outside}"

    print("| family | to refuse |" + "".join(f" {tool} |" for tool in tools))
    print("|---|---:|" + "---|" * len(tools))
    for family, names in [*families.items(), ("**all**", list(results))]:
        total = sum(not verdicts[name]["accepted"] for name in names)
        if total:
            print(f"| {family} | {total} |" + "".join(f" {count(names, tool)} |" for tool in tools))
    good = [name for name in results if verdicts[name]["accepted"]]
    print(f"\nOf {len(good)} odd but good wheels installed: ", end="")
    print(", ".join(f"{tool} {sum(results[name][tool][0] for name in good)}" for tool in tools) + ".\n")
    print("| case |" + "".join(f" {tool} |" for tool in tools))
    print("|---|" + "---|" * len(tools))
    for name, row in results.items():
        print(f"| {name} |" + "".join(f" {words(row[tool])} |" for tool in tools))


if __name__ == "__main__":
    main()
