"""What works in a plain virtual environment works in an environment: checkers, packagers, builds, file servers."""
import json
import os
import pathlib
import re
import subprocess

import pytest
from conftest import FLAMBEAU, PYTHON, TOOLS, pins

SIX = "1.17.0"


@pytest.fixture(scope="module")
def tools(shared):
    """An environment with the tools in it, generation 1, and one with hardly anything, generation 2."""
    shared.build("six==1.16.0")
    shared.environment, shared.first = shared.build(*pins("tools"))
    # As in an activated environment.
    shared.environ["PATH"] = f"{shared.venv}/bin:{shared.environ['PATH']}"
    return shared


def fails(project, *command):
    """What a command says that finds faults."""
    done = subprocess.run([str(word) for word in command], cwd=project.folder, env=project.environ, capture_output=True, text=True)
    assert done.returncode == 1, done
    return done.stdout


CHECKED = """import attrs
import jinja2


@attrs.define
class Point:
    x: int


Point("one")
answer: int = jinja2.Environment().from_string("").render()
"""


def test_type_checkers_find_packages_and_their_types(tools):
    (tools.folder / "checked.py").write_text(CHECKED)
    said = fails(tools, "mypy", "--cache-dir", "mypy-cache", "checked.py")
    assert "checked.py:10: error" in said and "checked.py:11: error" in said and "Found 2 errors in 1 file" in said, said
    # Again with its cache, and from outside.
    assert fails(tools, "mypy", "--cache-dir", "mypy-cache", "checked.py") == said
    (tools.folder / "pyproject.toml").write_text("[tool.basedpyright]\nvenvPath = '.'\nvenv = '.venv'\ntypeCheckingMode = 'basic'\n")
    try:
        report = json.loads(fails(tools, "basedpyright", "--outputjson", "checked.py"))
    finally:
        (tools.folder / "pyproject.toml").unlink()
    found = [(one["range"]["start"]["line"] + 1, one["rule"]) for one in report["generalDiagnostics"]]
    assert found == [(10, "reportArgumentType"), (11, "reportAssignmentType")], report


def test_pyinstaller_packs_a_program_that_runs_without_the_environment(tools):
    (tools.folder / "packed.py").write_text(
        "import importlib.metadata, sys\nimport jinja2, markupsafe._speedups, six\n"
        "print(jinja2.Template('{{ 1 }}').render(), importlib.metadata.version('six'), 'flambeau' in repr(sys.path), '_flambeau' in sys.modules)\n"
    )
    tools.run("pyinstaller", "--noconfirm", "--onedir", "--copy-metadata", "six", "packed.py")
    said = tools.run("dist/packed/packed", env={"PATH": "/nonexistent"}).split()
    assert said[:2] == ["1", SIX] and said[3] == "False", said
    # Its files are copies that one can write to and delete.
    assert not any(path.is_symlink() and str(tools.environment) in os.readlink(path) for path in (tools.folder / "dist").rglob("*"))


def test_a_virtual_environment_is_made_inside(tools):
    inner = tools.folder / "inner"
    tools.run(tools.python, "-m", "venv", "--system-site-packages", inner)
    script = "import os, sys; print(os.path.realpath(sys.executable), sys.prefix, sys.base_prefix)"
    executable, prefix, base = tools.run(inner / "bin/python", "-c", script).split()
    assert prefix == str(inner) and not executable.startswith(str(tools.environment)), executable
    assert base == tools.run(tools.python, "-c", "import sys; print(sys.base_prefix)").strip()
    assert tools.run(inner / "bin/python", "-m", "pip", "--version").split()[3].startswith(str(inner))


CMAKE = """cmake_minimum_required(VERSION 3.18)
project(probe LANGUAGES NONE)
find_package(Python REQUIRED COMPONENTS Interpreter)
message(STATUS "executable=${Python_EXECUTABLE}")
message(STATUS "site=${Python_SITELIB}")
message(STATUS "version=${Python_VERSION}")
"""


def test_cmake_finds_the_link_under_run(tools):
    (tools.folder / "CMakeLists.txt").write_text(CMAKE)
    for wrapper in ([FLAMBEAU, "run", "--channel", "pip", "--python", PYTHON, "--"], []):
        said = tools.run(*wrapper, "cmake", "-B", "build", "-G", "Ninja")
        assert re.search(f"executable={re.escape(str(tools.venv))}/bin/python[0-9.]*$", said, re.MULTILINE), said
        assert f"site={tools.venv}/lib/python{PYTHON}/site-packages\n" in said, said
    # What CMake remembers is the link, but for its own program, which a module's `__file__` has named.
    cache = (tools.folder / "build/CMakeCache.txt").read_text()
    named = [line for line in cache.splitlines() if str(tools.environment) in line and not line.startswith("#")]
    assert {line.partition(":")[0] for line in named} <= {
        "CMAKE_COMMAND", "CMAKE_CPACK_COMMAND", "CMAKE_CTEST_COMMAND", "CMAKE_ROOT", "CMAKE_EDIT_COMMAND", "CMAKE_MAKE_PROGRAM"
    }, named


def test_subprocesses_are_measured(tools):
    (tools.folder / "parent_own.py").write_text(
        "import subprocess, sys\nsubprocess.run([sys.executable, 'child_own.py'], check=True)\n"
        "subprocess.run(['python', 'child_own.py', 'more'], check=True)\n"
    )
    (tools.folder / "child_own.py").write_text("import sys\nimport jinja2\nif 'more' in sys.argv:\n    print(1)\n")
    (tools.folder / ".coveragerc").write_text("[run]\npatch = subprocess\nparallel = true\ndata_file = sub/data\n")
    (tools.folder / "sub").mkdir()
    try:
        tools.run("coverage", "run", "parent_own.py")
        tools.run("coverage", "combine")
        tools.run("coverage", "json", "-o", "report.json")
    finally:
        (tools.folder / ".coveragerc").unlink()
    report = json.loads((tools.folder / "report.json").read_text())["files"]
    assert {name: one["summary"]["percent_covered"] for name, one in report.items()} == {"parent_own.py": 100, "child_own.py": 100}


def test_workers_of_pytest_are_measured(tools):
    (tools.folder / "test_measured.py").write_text("import jinja2\n\ndef test_a():\n    assert jinja2\n\ndef test_b():\n    assert 1\n")
    said = tools.run("pytest", "-q", "-n2", "--cov=.", "--cov-report=json:report.json", "-p", "no:cacheprovider", "test_measured.py")
    assert "2 passed" in said
    report = json.loads((tools.folder / "report.json").read_text())["files"]
    assert report["test_measured.py"]["summary"]["percent_covered"] == 100
    assert not any("site-packages" in name for name in report)


UNIT = """import shlex, sys
import six
unit = "[Service]\\nExecStart=%s -c %s\\nWorkingDirectory=/\\nEnvironment=\\n"
print(unit % (sys.executable, shlex.quote("import six; print(six.__version__)")))
"""


def test_a_unit_file_names_the_link_and_follows(tools):
    (tools.folder / "unit.py").write_text(UNIT)
    tools.activate(tools.first)
    unit = tools.run(tools.python, "unit.py")
    assert str(tools.environment) not in unit and f"ExecStart={tools.python} " in unit
    # A service manager starts it in another folder with hardly a variable.
    start = re.search("ExecStart=(.*)", unit).group(1)

    def started():
        return tools.run("env", "-i", "-C", "/", "sh", "-c", f"exec {start}").strip()

    assert started() == SIX
    tools.activate("1")
    assert started() == "1.16.0"
    tools.activate(tools.first)


FILES = """import json, os, pathlib, sys
import mypy
folder = pathlib.Path(mypy.__file__).parent
def plain(names):
    return sorted(name for name in names if "__pycache__" not in name)
walked = plain(os.path.relpath(os.path.join(at, name), folder) for at, _, names in os.walk(folder) for name in names)
globbed = plain(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
print(json.dumps([str(folder), walked, globbed]))
"""


def test_walks_see_all_package_data(tools):
    import csv

    folder, walked, globbed = json.loads(tools.run(tools.python, "-c", FILES))
    record = next(pathlib.Path(folder).parent.glob("mypy-*.dist-info")) / "RECORD"
    with open(record, newline="") as file:
        listed = sorted(row[0][len("mypy/"):] for row in csv.reader(file) if row[0].startswith("mypy/") and "__pycache__" not in row[0])
    assert walked == globbed == listed and len(listed) > 700


SERVED = """import asyncio, functools, http.server, pathlib, random, sys, threading, urllib.request
import aiohttp, aiohttp.web, mypy
folder = pathlib.Path(mypy.__file__).parent
files = [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
# The deepest ones, and some others.
some = sorted(files, key=lambda path: -len(path.parts))[:40] + random.Random(1).sample(files, 60)

class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

def standard():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for path in some:
        with opener.open("http://127.0.0.1:%d/%s" % (server.server_port, path.relative_to(folder))) as answer:
            assert answer.read() == path.read_bytes(), path
    server.shutdown()

async def asynchronous():
    app = aiohttp.web.Application()
    # As it is by default: links are not followed.
    app.router.add_static("/static", folder)
    runner = aiohttp.web.AppRunner(app)
    await runner.setup()
    site = aiohttp.web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    async with aiohttp.ClientSession() as session:
        for path in some:
            async with session.get("http://127.0.0.1:%d/static/%s" % (port, path.relative_to(folder))) as answer:
                assert answer.status == 200 and await answer.read() == path.read_bytes(), (path, answer.status)
    await runner.cleanup()

standard()
asyncio.run(asynchronous())
print(len(some))
"""


def test_servers_of_static_files_see_all_package_data(tools):
    assert tools.run(tools.python, "-c", SERVED).strip() == "100"


def test_modules_of_cpp_extensions_are_built_and_loaded(torch):
    """The real torch: its headers and libraries are found, and the module is loaded."""
    (torch.folder / "extension.py").write_text(
        "import os, torch\nfrom torch.utils.cpp_extension import load_inline\n"
        "source = 'torch::Tensor twice(torch::Tensor x) { return x * 2; }'\n"
        "module = load_inline('probe', source, functions=['twice'], build_directory=os.path.abspath('extension'))\n"
        "print(module.twice(torch.ones(2)).tolist())\n"
    )
    (torch.folder / "extension").mkdir(exist_ok=True)
    # Headers only once: the quickest that the compiler can do.
    environ = {**torch.environ, "CXXFLAGS": "-O0", "PATH": f"{TOOLS}/bin:{torch.environ['PATH']}", "MAX_JOBS": "1"}
    torch.activate("1")
    assert torch.run(torch.python, "extension.py", env=environ, timeout=900).splitlines()[-1] == "[2.0, 2.0]"


def test_torch_s_cmake_files_name_the_environment_itself(torch):
    """As docs/tools.md says of whatever comes from a module's `__file__`."""
    torch.activate("1")
    said = torch.run(torch.python, "-c", "import torch; print(torch.utils.cmake_prefix_path)").strip()
    assert said.startswith(str(torch.venv.resolve())) and (pathlib.Path(said) / "Torch/TorchConfig.cmake").exists()


def test_torch_s_report_of_the_machine_is_printed(torch):
    torch.activate("1")
    said = torch.run(torch.python, "-m", "torch.utils.collect_env")
    assert "PyTorch version: 2.7.0" in said and re.search(r"^\[pip3\] torch==2\.7\.0", said, re.MULTILINE), said
