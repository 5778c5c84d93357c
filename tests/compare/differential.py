#!/usr/bin/env python3
"""Installs wheels with flambeau, pip and uv and compares what is there afterwards, file by file.

Not part of the test suite: it needs a network, a package index, uv and pip. Only the standard library is used.

    python3 tests/compare/differential.py [--python 3.12] [--wheels DIR] [--work DIR] [--only NAME ...] [--table FILE]

Every wheel of `wheels.txt` beside this file is downloaded into DIR by pip, at the version that stands there, and
installed alone and without its dependencies three times: by `flambeau build --from pylock.toml`, `uv pip install
--no-deps` and `pip install --no-deps --no-compile`. So are wheels made here, for what no wheel of an index shows. Then

- files: the same paths, bytes and executable bits (flambeau's links are followed);
- scripts: entry points start the same object, `#!python` scripts are the same below their first line;
- RECORD of the environment: every row is true, every file of the wheel has a row, the rows are those of pip;
- metadata: `importlib.metadata` tells the same of every distribution, its files and its entry points;
- tools: `pip list`, `pip check`, `uv pip list`, `uv pip check` say the same about three environments that hold all of
  the wheels together.

Left out, because every installer writes its own: INSTALLER, REQUESTED, direct_url.json, uv_cache.json, bytecode, the
rows of RECORD for these and for scripts, shebang lines, pyvenv.cfg, the interpreter's links, activate scripts, and
flambeau's start-up hook. Where pip and uv differ from one another, being equal to one of them is enough; the table says
which. The programs are those named by FLAMBEAU and UV, else `flambeau` and `uv` of the PATH; pip is the one of the
Python that runs this script. Exit code 1 where something differs.
"""

import argparse
import base64
import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLAMBEAU = os.environ.get("FLAMBEAU", "flambeau")
UV = os.environ.get("UV", "uv")
TOOLS = ("pip", "uv", "flambeau")
OWN_METADATA = {"INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json", "uv_build.json"}
FLAMBEAUS = re.compile(
    r"pyvenv\.cfg|environment_state\.json|lib64|share/flambeau/zsh/\.zshenv|bin/activate(\.\w+)?|bin/python[\d.]*"
    r"|lib/python[\d.]+/site-packages/(00-flambeau\.(pth|start)|_flambeau\.py|pip/__(init|main)__\.py)|bin/pip3?"
)
ASK = r"""
import importlib.metadata as m, json, os, sys, sysconfig
out = {}
for d in m.distributions():
    files = d.files or []
    out[d.metadata["Name"]] = {
        "version": d.version, "requires": sorted(d.requires or []),
        "entry points": sorted((e.group, e.name, e.value) for e in d.entry_points),
        "top level": d.read_text("top_level.txt"),
        "missing": sorted(str(f) for f in files if not d.locate_file(f).exists()),
    }
paths = {k: v.replace(sys.prefix, "<prefix>") for k, v in sysconfig.get_paths().items()}
print(json.dumps({"dists": out, "paths": paths, "venv": sys.prefix != sys.base_prefix}))
"""


def run(command, cwd=None, check=True, **extra):
    keep = ("PATH", "HOME", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
    environment = {name: os.environ[name] for name in keep if name in os.environ}
    environment.update(PIP_CONFIG_FILE=os.devnull, PIP_DISABLE_PIP_VERSION_CHECK="1", UV_NO_CONFIG="1", NO_COLOR="1")
    environment.update(extra)
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done


# Wheels made here ---------------------------------------------------------------------------------------------------


def row_hash(data, algorithm="sha256"):
    return algorithm + "=" + base64.urlsafe_b64encode(hashlib.new(algorithm, data).digest()).rstrip(b"=").decode()


def make(folder, file, members, *, name=None, hashes="sha256", tail=(), compression=zipfile.ZIP_DEFLATED, zip64=False,
         stream=False, directories=(), modes=None, entry_points=None, purelib=True):
    """Writes a wheel; `tail` are members that RECORD does not list (its signatures)."""
    stem = "-".join(file.split("-")[:2])
    info = f"{stem}.dist-info"
    name = name or stem.split("-")[0]
    tags = "-".join(file[: -len(".whl")].split("-")[-3:])
    members = dict(members)
    members[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: {stem.split('-')[1]}\n"
    build = f"Build: {file.split('-')[2]}\n" if file.count("-") == 5 else ""
    members[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: made\nRoot-Is-Purelib: {str(purelib).lower()}\n{build}Tag: {tags}\n"
    )
    if entry_points:
        members[f"{info}/entry_points.txt"] = entry_points
    rows = io.StringIO()
    writer = csv.writer(rows, lineterminator="\n")
    members = {path: data.encode() if isinstance(data, str) else data for path, data in members.items()}
    for path, data in members.items():
        writer.writerow([path, row_hash(data, hashes), len(data)])
    writer.writerow([f"{info}/RECORD", "", ""])
    members[f"{info}/RECORD"] = rows.getvalue().encode()
    for path in tail:
        members[f"{info}/{path}"] = b"a signature\n"
    target = folder / file
    sink = io.BytesIO()

    class Stream(io.RawIOBase):
        """Not seekable, so that sizes follow the data."""

        def writable(self):
            return True

        def write(self, data):
            return sink.write(data)

    with zipfile.ZipFile(Stream() if stream else sink, "w", compression) as archive:
        for path in directories:
            archive.writestr(zipfile.ZipInfo(path + "/", (2020, 1, 1, 0, 0, 0)), b"")
        for path, data in members.items():
            entry = zipfile.ZipInfo(path, (2020, 1, 1, 0, 0, 0))
            entry.external_attr = (modes or {}).get(path, 0o100644) << 16
            entry.compress_type = compression
            with archive.open(entry, "w", force_zip64=zip64) as sink_member:
                sink_member.write(data)
    target.write_bytes(sink.getvalue())
    return target


def made(folder):
    """One wheel for each thing that is hard to find on an index."""
    folder.mkdir(parents=True, exist_ok=True)
    long = "/".join(["a" * 60] * 8)
    nspkg = "import sys, types; m = sys.modules.setdefault('made_old', types.ModuleType('made_old'))\n"
    main = "def main():\n    print('ran')\n\n\nclass Tool:\n    @classmethod\n    def go(cls):\n        print('went')\n"
    make(folder, "made_schemes-1.0-py3-none-any.whl", {
        "made_schemes/__init__.py": "",
        "made_schemes-1.0.data/purelib/made_pure.py": "P = 1\n",
        "made_schemes-1.0.data/platlib/made_plat/__init__.py": "Q = 1\n",
        "made_schemes-1.0.data/data/share/made/a.txt": "data\n",
        "made_schemes-1.0.data/data/etc/made.conf": "conf\n",
        "made_schemes-1.0.data/data/bin/from-data": "#!/bin/sh\necho data\n",
        "made_schemes-1.0.data/headers/made.h": "#define MADE\n",
        "made_schemes-1.0.data/headers/deep/er.h": "#define ER\n",
    }, modes={"made_schemes-1.0.data/data/bin/from-data": 0o100755})
    make(folder, "Made.Headers-1.0-py3-none-any.whl".replace("Made.", "Made_"), {
        "Made_Headers-1.0.data/headers/x.h": "#define X\n",
    }, name="Made.Headers")
    make(folder, "made_platlib-1.0-py3-none-any.whl", {"made_platlib.py": "", }, purelib=False)
    make(folder, "made_scripts-1.0-py3-none-any.whl", {
        "made_scripts.py": main,
        "made_scripts-1.0.data/scripts/made-python": "#!python\nimport made_scripts\nmade_scripts.main()\n",
        "made_scripts-1.0.data/scripts/made-pythonw": "#!pythonw\nimport made_scripts\nmade_scripts.main()\n",
        "made_scripts-1.0.data/scripts/made-args": "#!python -E\nprint('args')\n",
        "made_scripts-1.0.data/scripts/made-coding": "#!python\n# -*- coding: latin-1 -*-\nprint('coding')\n",
        "made_scripts-1.0.data/scripts/made-crlf": "#!python\r\nprint('crlf')\r\n",
        "made_scripts-1.0.data/scripts/made-shell": "#!/bin/sh\necho shell\n",
        "made_scripts-1.0.data/scripts/made-env": "#!/usr/bin/env python\nprint('env')\n",
        "made_scripts-1.0.data/scripts/made-binary": bytes(range(256)),
    }, modes={f"made_scripts-1.0.data/scripts/made-{one}": 0o100755 for one in (
        "python", "pythonw", "args", "coding", "crlf", "shell", "env", "binary")})
    make(folder, "made_entry-1.0-py3-none-any.whl", {"made_entry/__init__.py": main, "made_entry/sub.py": main},
         entry_points="# comment\n[console_scripts]\nmade-plain = made_entry:main\nmade-sub=made_entry.sub:Tool.go\n"
         "made-extra = made_entry:main [fast, slow]\nmade.dotted = made_entry:main\n"
         "\n[gui_scripts]\nmade-gui = made_entry:main\n\n[made.plugins]\nx = made_entry.sub\ny = made_entry:Tool [z]\n")
    make(folder, "made_implicit-1.0-py3-none-any.whl", {"made_ns/implicit/__init__.py": "N = 'implicit'\n"})
    pkgutil = "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"
    make(folder, "made_pkgutil-1.0-py3-none-any.whl", {
        "made_pkgutil_ns/__init__.py": pkgutil, "made_pkgutil_ns/one.py": ""})
    make(folder, "made_nspkg-1.0-py3-none-any.whl", {
        "made_nspkg-1.0-py3.12-nspkg.pth": nspkg, "made_old/one/__init__.py": "",
        "made_nspkg-1.0.dist-info/namespace_packages.txt": "made_old\n"})
    make(folder, "made_pth-1.0-py3-none-any.whl", {
        "made.pth": "made_extra\nimport made_pth_ran\n", "made_pth_ran.py": "", "made_extra/made_extra_mod.py": ""})
    make(folder, "made_unicode-1.0-py3-none-any.whl", {
        "made_unicode/größe.txt": "ü", "made_unicode/日本語.py": "X = 1\n", "made_unicode/na\u00efve dir/a b.txt": "",
        "made_unicode/comma,quote\".txt": "x", "made_unicode/e\u0301.txt": "decomposed"})
    make(folder, "made_long-1.0-py3-none-any.whl", {f"made_long/{long}/x.py": "", "made_long/" + "n" * 250: "x"})
    make(folder, "made_empty-1.0-py3-none-any.whl", {"made_empty/__init__.py": "", "made_empty/empty.txt": ""},
         directories=["made_empty", "made_empty/void", "made_empty-1.0.data/data/share/void"])
    for algorithm in ("sha384", "sha512"):
        make(folder, f"made_{algorithm}-1.0-py3-none-any.whl", {f"made_{algorithm}.py": "X = 1\n"}, hashes=algorithm)
    make(folder, "made_signed-1.0-py3-none-any.whl", {"made_signed.py": ""}, tail=["RECORD.jws", "RECORD.p7s"])
    make(folder, "made_zip64-1.0-py3-none-any.whl", {"made_zip64.py": "X = 1\n"}, zip64=True)
    make(folder, "made_stream-1.0-py3-none-any.whl", {"made_stream.py": "X = 1\n" * 99}, stream=True)
    make(folder, "made_stored-1.0-py3-none-any.whl", {"made_stored.py": "X = 1\n"}, compression=zipfile.ZIP_STORED)
    make(folder, "made_build-1.0-7local-py3-none-any.whl", {"made_build.py": ""})
    make(folder, "made_modes-1.0-py3-none-any.whl", {
        "made_modes/run": "#!/bin/sh\n", "made_modes/typeless": "x", "made_modes/group": "x", "made_modes/none": "x"},
        modes={"made_modes/run": 0o100755, "made_modes/typeless": 0o755, "made_modes/group": 0o100654,
               "made_modes/none": 0})
    make(folder, "made_pyc-1.0-py3-none-any.whl", {
        "made_pyc/__init__.py": "", "made_pyc/old.pyc": b"not for this Python", "made_pyc/bad.py": "print 'two'\n"})
    make(folder, "made_licences-1.0-py3-none-any.whl", {
        "made_licences.py": "", "made_licences-1.0.dist-info/licenses/LICENSE": "text\n",
        "made_licences-1.0.dist-info/sboms/auditwheel.cdx.json": "{}\n", "made_licences-1.0.dist-info/extra.json": "{}"})
    return sorted(folder.glob("*.whl"))


# What is there ------------------------------------------------------------------------------------------------------


def snapshot(prefix, leave_out):
    """Path below the prefix -> (digest, whether executable), links followed."""
    found = {}
    for folder, folders, files in os.walk(prefix, followlinks=True):
        here = os.path.relpath(folder, prefix)
        folders[:] = [one for one in folders if one not in ("__pycache__", "lib64")]
        for file in files:
            path = os.path.normpath(os.path.join(here, file))
            if not leave_out(path):
                full = Path(folder, file)
                found[path] = (full.read_bytes(), bool(full.stat().st_mode & 0o100))
    return found


def is_script(path):
    return path.startswith("bin/")


def neutral(path, data):
    """What two installers must agree on: the object that an entry point starts, a script below its shebang."""
    if not is_script(path):
        return hashlib.sha256(data).hexdigest()
    text = data.decode("utf-8", "replace")
    found = re.search(r"^from ([\w.]+) import (\w+)$", text, re.MULTILINE)
    call = re.search(r"sys\.exit\(([\w.]+)\(\)\)", text)
    if found and call:
        return f"starts {found[1]}:{call[1]}"
    lines = data.split(b"\n")
    if lines[0].startswith(b"#!") and b"python" in lines[0]:
        return hashlib.sha256(b"\n".join(lines[1:])).hexdigest()
    if lines[0] == b"#!/bin/sh" and lines[1:2] and lines[1].startswith(b"'''exec'"):
        return hashlib.sha256(b"\n".join(lines[3:])).hexdigest()
    return hashlib.sha256(data).hexdigest()


def compared(prefix, before):
    def leave_out(path):
        parts = path.split("/")
        own = len(parts) > 1 and parts[-2].endswith(".dist-info") and parts[-1] in OWN_METADATA | {"RECORD"}
        return own or path in before or path == ".lock"

    return {path: (neutral(path, data), executable) for path, (data, executable) in snapshot(prefix, leave_out).items()}


def records(prefix, site):
    """dist-info folder -> rows of RECORD (path below the prefix -> hash, size)."""
    found = {}
    for info in sorted(site.glob("*.dist-info")):
        with open(info / "RECORD", newline="", encoding="utf-8") as file:
            found[info.name] = {
                os.path.relpath(os.path.normpath(os.path.join(site, path)), prefix): (digest, size)
                for path, digest, size in csv.reader(file)
            }
    return found


def check_record(prefix, site, present):
    """RECORD is true (rows have files, digests and sizes) and complete (files have rows)."""
    wrong, listed = [], set()
    for info, rows in records(prefix, site).items():
        for path, (digest, size) in rows.items():
            listed.add(path)
            full = prefix / path
            if not full.is_file():
                wrong.append(f"RECORD lists {path}, which is not there")
            elif path.endswith(".pyc") and "__pycache__" in path or path.endswith(f"{info}/RECORD"):
                if digest or size:
                    wrong.append(f"RECORD gives a digest for {path}")
            else:
                data = full.read_bytes()
                if digest != row_hash(data) or size != str(len(data)):
                    wrong.append(f"RECORD is not true of {path}")
    wrong += [f"RECORD lacks {path}" for path in sorted(set(present) - listed)]
    return wrong


# One wheel ----------------------------------------------------------------------------------------------------------


class Bench:
    def __init__(self, work, python):
        self.work = work.resolve()
        self.python = python
        self.minor = run([python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]).stdout.strip()
        for name in ("store", "cache", "uv-cache"):
            (self.work / name).mkdir(parents=True, exist_ok=True)

    def site(self, prefix):
        return prefix / "lib" / f"python{self.minor}" / "site-packages"

    def pip(self, wheels, folder):
        prefix = folder / "pip"
        run([self.python, "-m", "venv", "--without-pip", prefix])
        before = set(snapshot(prefix, lambda _: False))
        run([sys.executable, "-m", "pip", "--python", prefix / "bin/python", "install", "--no-deps", "--no-index",
             "--no-compile", "--quiet", *wheels])
        return prefix, before

    def uv(self, wheels, folder):
        prefix = folder / "uv"
        cache = {"UV_CACHE_DIR": str(self.work / "uv-cache"), "UV_LINK_MODE": "copy"}
        run([UV, "venv", "--quiet", "--python", self.python, prefix], **cache)
        before = set(snapshot(prefix, lambda _: False))
        run([UV, "pip", "install", "--quiet", "--python", prefix, "--no-deps", "--no-index", *wheels], **cache)
        return prefix, before

    def flambeau(self, wheels, folder):
        project = folder / "project"
        project.mkdir()
        text = 'lock-version = "1.0"\ncreated-by = "differential.py"\n'
        for wheel in wheels:
            os.link(wheel, project / wheel.name)
            name, version = wheel.name.split("-")[:2]
            digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
            text += (
                f'[[packages]]\nname = "{normal(name)}"\nversion = "{version}"\n'
                f'wheels = [{{ name = "{wheel.name}", path = "{wheel.name}", hashes = {{ sha256 = "{digest}" }} }}]\n'
            )
        (project / "pylock.toml").write_text(text)
        folders = {name: str(self.work / place) for name, place in (
            ("FLAMBEAU_STORE_DIR", "store"), ("FLAMBEAU_CACHE_DIR", "cache"))}
        done = run([FLAMBEAU, "build", "--quiet", "--json", "--from", "pylock.toml", "--python", self.python,
                    "--backend", "cpu", "--offline"], cwd=project, **folders)
        prefix = Path(json.loads(done.stdout)["path"])
        own = {path for path in snapshot(prefix, lambda _: False) if FLAMBEAUS.fullmatch(path)}
        if any(normal(wheel.name.split("-")[0]) == "pip" for wheel in wheels):
            # Then pip is the real one.
            own = {path for path in own if not re.search(r"/pip/|^bin/pip", path)}
        return project / ".venv", own

    def ask(self, prefix):
        return json.loads(run([prefix / "bin/python", "-c", ASK], cwd=self.work).stdout)

    def tools(self, prefix):
        """What pip and uv say about an environment, from outside it."""
        said = {}
        for tool in ("list", "check"):
            options = ["--format", "json"] if tool == "list" else []
            pip = run([sys.executable, "-m", "pip", "--python", prefix / "bin/python", tool, *options], check=False)
            uv = run([UV, "pip", tool, "--python", prefix, *options], check=False)
            said[f"pip {tool}"] = (pip.returncode, pip.stdout)
            output = re.sub(r"\d+(\.\d+)?(ms|s)\b|(?m:^(Using|Checked).*$)", "", uv.stdout + uv.stderr * (tool == "check"))
            said[f"uv pip {tool}"] = (uv.returncode, output)
        return said


def normal(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def differences(ours, theirs):
    for path in sorted(set(ours) | set(theirs)):
        if path not in theirs:
            yield path, "is ours alone"
        elif path not in ours:
            yield path, "is missing"
        elif ours[path][0] != theirs[path][0]:
            yield path, f"differs ({ours[path][0][:40]} / {theirs[path][0][:40]})" if is_script(path) else "differs"
        elif ours[path][1] != theirs[path][1]:
            yield path, f"executable: {ours[path][1]} / {theirs[path][1]}"


def features(wheel):
    """What makes a wheel worth trying, for the table."""
    with zipfile.ZipFile(wheel) as archive:
        entries = archive.infolist()
    names = [entry.filename for entry in entries]
    stem = "-".join(wheel.name.split("-")[:2])
    tests = {
        "data": any(f"{stem}.data/data/" in name for name in names),
        "scripts": any(f"{stem}.data/scripts/" in name for name in names),
        "headers": any(f"{stem}.data/headers/" in name for name in names),
        "purelib": any(f"{stem}.data/purelib/" in name for name in names),
        "platlib": any(f"{stem}.data/platlib/" in name for name in names),
        "entry points": any(name == f"{stem}.dist-info/entry_points.txt" for name in names),
        "native": any(re.search(r"\.so(\.\d+)*$", name) for name in names),
        ".pth": any("/" not in name and name.endswith(".pth") for name in names),
        "namespace": f"{stem}.dist-info/namespace_packages.txt" in names,
        "non-ASCII": any(not name.isascii() for name in names),
        "folders": any(name.endswith("/") for name in names),
        "stored": any(entry.compress_type == 0 and entry.file_size for entry in entries),
        "descriptors": any(entry.flag_bits & 8 for entry in entries),
        "build tag": wheel.name.count("-") == 5,
        "signed": any(name.endswith((".jws", ".p7s")) for name in names),
        "executables": any((entry.external_attr >> 16) & 0o111 and not entry.is_dir() for entry in entries),
    }
    return len([name for name in names if not name.endswith("/")]), [name for name, there in tests.items() if there]


def installed(bench, wheels, name):
    """Installs the wheels three times."""
    folder = bench.work / "envs" / name[:80]
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    trees, prefixes = {}, {}
    for tool in TOOLS:
        prefixes[tool], before = getattr(bench, tool)(wheels, folder)
        trees[tool] = compared(prefixes[tool], before)
    return trees, prefixes, folder


def check_files(bench, trees, prefixes):
    """Compares the files and the rows of RECORD with both others'; returns what differs, and remarks."""
    wrong, remarks = [], []
    of = {tool: dict(differences(trees["flambeau"], trees[tool])) for tool in ("pip", "uv")}
    for path in sorted(set(of["pip"]) | set(of["uv"])):
        if path in of["pip"] and path in of["uv"]:
            wrong.append(f"{path}: {of['pip'][path]} (pip), {of['uv'][path]} (uv)")
        else:
            tool, other = ("pip", "uv") if path in of["pip"] else ("uv", "pip")
            remarks.append(f"`{path}` {of[tool][path]} beside {tool}; equal to {other}")
    rows = {tool: {
        path for rows in records(prefixes[tool], bench.site(prefixes[tool])).values() for path in rows
        if not path.endswith(".pyc") and path.rsplit("/", 1)[-1] not in OWN_METADATA and path not in of["pip"]
    } for tool in ("pip", "flambeau")}
    odd = rows["flambeau"] ^ rows["pip"]
    return wrong + [f"RECORD of pip and ours disagree about {path}" for path in sorted(odd)], remarks


def check_inside(bench, trees, prefixes):
    """What an environment says of itself: RECORD, `importlib.metadata`, `sysconfig`."""
    prefix = prefixes["flambeau"].resolve()
    infos = [f"{info.relative_to(prefix)}/RECORD" for info in bench.site(prefix).glob("*.dist-info")]
    wrong = check_record(prefix, bench.site(prefix), [*trees["flambeau"], *infos])
    answers = {tool: bench.ask(prefixes[tool]) for tool in TOOLS}
    ours = answers.pop("flambeau")
    wrong += [f"importlib.metadata: {path} is missing" for one in ours["dists"].values() for path in one["missing"]]
    for part, said in ours.items():
        if said not in [other[part] for other in answers.values()]:
            wrong.append(f"{part}: {said} / {answers['pip'][part]}")
    return wrong


def compare(bench, wheel):
    """Installs one wheel three times; returns what differs, and remarks."""
    trees, prefixes, folder = installed(bench, [wheel], wheel.name[: -len(".whl")])
    wrong, remarks = check_files(bench, trees, prefixes)
    wrong += check_inside(bench, trees, prefixes)
    shutil.rmtree(folder)
    return wrong, remarks


def compare_all(bench, wheels):
    """Installs all wheels into one environment; returns what other tools say differently about it."""
    trees, prefixes, folder = installed(bench, wheels, "together")
    wrong, remarks = check_files(bench, trees, prefixes)
    # Where packages disagree about a file, the order of installing decides; flambeau's order is that of the names.
    remarks += wrong
    wrong = [line for line in check_inside(bench, trees, prefixes) if not line.startswith("RECORD is not true of")]
    said = {tool: bench.tools(prefixes[tool]) for tool in TOOLS}
    for command, output in said["flambeau"].items():
        if output not in (said["pip"][command], said["uv"][command]):
            wrong.append(f"{command} says {output}, of pip's {said['pip'][command]}")
    shutil.rmtree(folder)
    return wrong, remarks


def download(names, folder):
    """Every wheel of the list, by pip; those that are there already are not asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    for requirement in names:
        name, version = requirement.split("==")
        stem = f"{normal(name)}-{version}-"
        if not any(normal(file.name).startswith(normal(stem)) for file in folder.glob("*.whl")):
            run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest",
                 folder, requirement], PIP_CONFIG_FILE=os.environ.get("PIP_CONFIG_FILE", ""))
    wanted = [normal(requirement.replace("==", "-")) + "-" for requirement in names]
    return [file for file in sorted(folder.glob("*.whl"), key=lambda file: file.name.lower())
            if any(normal(file.name).startswith(one) for one in wanted)]


def show(name, wrong, remarks):
    print(f"{'DIFFERS' if wrong else 'equal  '} {name}", flush=True)
    for line in [*wrong, *remarks]:
        print(f"        {line}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--python", default=sys.executable, help="the interpreter to install for")
    parser.add_argument("--wheels", type=Path, default=Path("/tmp/flambeau-differential/wheels"))
    parser.add_argument("--work", type=Path, default=Path("/tmp/flambeau-differential/work"))
    parser.add_argument("--only", nargs="*", help="only wheels whose names begin so")
    parser.add_argument("--table", type=Path, help="write the result table here")
    options = parser.parse_args()
    text = (HERE / "wheels.txt").read_text()
    names = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if options.only is not None:
        names = [name for name in names if any(name.lower().startswith(one.lower()) for one in options.only)]
    bench = Bench(options.work, options.python)
    wheels = [(wheel, "index") for wheel in download(names, options.wheels)]
    wheels += [(wheel, "made") for wheel in made(bench.work / "made")
               if options.only is None or any(wheel.name.lower().startswith(one.lower()) for one in options.only)]
    lines, failed = [], 0
    for wheel, origin in wheels:
        count, kinds = features(wheel)
        try:
            wrong, remarks = compare(bench, wheel)
        except RuntimeError as error:
            wrong, remarks = [str(error)], []
        failed += bool(wrong)
        show(wheel.name, wrong, remarks)
        verdict = "; ".join(wrong or remarks or ["equal"])
        lines.append(f"| {wheel.name[:-4]} | {origin} | {count} | {', '.join(kinds)} | {verdict} |")
    wrong, remarks = compare_all(bench, [wheel for wheel, _ in wheels])
    failed += bool(wrong)
    show("all of them together", wrong, remarks)
    lines.append(f"| all of them together | | | | {'; '.join(wrong or remarks or ['equal'])} |")
    print(f"{len(wheels)} wheels, {failed} with differences")
    if options.table:
        head = "| wheel | from | files | what it has | result |\n|---|---|---|---|---|\n"
        options.table.write_text(head + "\n".join(lines) + "\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
