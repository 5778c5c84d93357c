"""What tools say in a flambeau environment is what they say in a plain virtual environment.

Fourteen probes run in both, in two folders that are alike. In what they say, each one's own folders are replaced by a
name in angle brackets: <prefix> is `.venv`, <environment> what `.venv` leads to. The differences that remain are ALLOWED,
a list of at most three; docs/tools.md explains each.
"""
import dataclasses
import json
import os
import re
import socket
import subprocess
import time

import pytest
from conftest import TOOLS, TORCH, Project, pins


@dataclasses.dataclass
class Difference:
    """One way in which an environment differs, and the probes that show it."""

    why: str
    probes: set
    # What the environment said, and what the plain one said: returns both without the difference.
    undo: object


def imports_name_the_environment(ours, plain):
    return ours.replace("<environment>", "<prefix>"), plain


def hook(ours, plain):
    """The start-up hook's modules; one of them is imported by others too."""
    def others(said):
        return "".join(line for line in said.splitlines(True) if line.strip() not in ("_flambeau", "fcntl"))

    return others(ours), others(plain)


def pip_is_no_package(ours, plain):
    return ours, "".join(line for line in plain.splitlines(True) if not re.match(r"\W*pip\W", line))


ALLOWED = [
    Difference(
        "What is imported names the environment itself, which the process keeps after a flip.",
        {"coverage", "traceback", "getsourcefile", "site", "importlib.metadata", "pdb", "pytest", "debugpy", "mypy"},
        imports_name_the_environment,
    ),
    Difference("A start-up hook is imported, and the standard module that it uses.", {"importtime"}, hook),
    Difference("pip is not a package of the environment.", {"pip list", "uv pip list", "importlib.metadata"}, pip_is_no_package),
]
assert len(ALLOWED) <= 3

OWN = {
    "own.py": """
import sys
import jinja2
import packaging.version


def render(text):
    template = jinja2.Template(text)
    return template.render(value=1)


def main():
    print(render("{{ value }}"))
    if "fail" in sys.argv:
        packaging.version.Version("not a version")


if __name__ == "__main__":
    main()
""",
    "test_own.py": """
import own
import packaging.version


def test_render():
    assert own.render("{{ value }}") == "1"


def test_fails_in_a_library():
    packaging.version.Version("not a version")
""",
    "typed.py": """
import attrs
import jinja2
import packaging.version
import six


@attrs.define
class Point:
    x: int


Point("one")
packaging.version.Version(2)
reveal_type(jinja2.Template("").render())
reveal_type(six.PY3)
""",
    # In a folder of its own: the folder of a script is where torch looks first.
    "scripts/relative.py": """
# As torch/_logging/_internal.py does it (make_module_path_relative and TorchLogsFormatter.format).
import logging, pathlib, sys
import jinja2.environment, packaging.version, markupsafe._speedups

def make_module_path_relative(abs_path):
    abs_path = pathlib.Path(abs_path).resolve()
    for path in sys.path:
        try:
            rel_path = abs_path.relative_to(path)
        except ValueError:
            continue
        else:
            return str(rel_path)
    return str(abs_path)

class Formatter(logging.Formatter):
    def format(self, record):
        return f"{record.levelname[0]} {make_module_path_relative(record.pathname)}:{record.lineno}] {record.getMessage()}"

handler = logging.StreamHandler(sys.stdout)
handler.setFormatter(Formatter())
log = logging.getLogger("probe")
log.addHandler(handler)
for module in (jinja2.environment, packaging.version, markupsafe._speedups, json := __import__("json")):
    log.handle(log.makeRecord("probe", logging.ERROR, module.__file__, 7, "said", (), None))
log.error("own")
""",
    "scripts/compiled.py": """
import torch

@torch.compile(backend="eager")
def double(x):
    return x * 2

double(torch.ones(2))
""",
}


class Side:
    """One of the two environments, in a project's folder of its own."""

    def __init__(self, project, venv, environment):
        self.project, self.venv = project, venv
        self.python = venv / "bin/python"
        (project.folder / "scripts").mkdir()
        for name, text in OWN.items():
            (project.folder / name).write_text(text.lstrip("\n"))
        names = {"<prefix>": venv, "<environment>": environment, "<project>": project.folder, "<home>": project.environ["HOME"]}
        # Tools write a path as seen from the project too. Longer ones first.
        self.names = sorted(
            [(os.fspath(path), name) for name, path in names.items()]
            + [(os.path.relpath(environment, project.folder), "<environment>"), (".venv/", "<prefix>/")],
            key=lambda pair: -len(pair[0]),
        )

    def run(self, *command, ok=True, env=(), both=False, **options):
        done = subprocess.run(
            [str(word) for word in command],
            env={**self.project.environ, **dict(env)},
            cwd=self.project.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT if both else subprocess.PIPE,
            text=True,
            timeout=300,
            **options,
        )
        assert (done.returncode == 0) == ok, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout if both else done.stdout + done.stderr

    def named(self, said):
        for path, name in self.names:
            said = said.replace(path, name)
        return said


def coverage(side):
    said = []
    for source in ([], ["--source=."], ["--source=packaging"], ["--branch"]):
        side.run(side.python, "-m", "coverage", "run", "--data-file=data", *source, "own.py")
        side.run(side.python, "-m", "coverage", "json", "--data-file=data", "-o", "report.json")
        report = json.loads((side.project.folder / "report.json").read_text())
        totals = {name: one["summary"] for name, one in report["files"].items()}
        said.append(json.dumps([source, totals, report["totals"]], indent=1))
    return "\n".join(said)


def debugpy(side):
    """Steps into a line that calls a library: with justMyCode the debugger does not stop there, without it does."""
    said = [(mine, frames) for mine in (True, False) for frames in Debugger(side).step_in(mine)]
    tops = [(mine, os.path.basename(frames[0][1])) for mine, frames in said]
    assert tops == [(True, "own.py"), (True, "own.py"), (False, "own.py"), (False, "environment.py")], tops
    return "\n".join(map(str, said))


class Debugger:
    """As much of the Debug Adapter Protocol as a step into a function needs."""

    def __init__(self, side):
        self.side = side
        self.sent = 0
        self.held = []

    def step_in(self, just_my_code):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        command = [self.side.python, "-m", "debugpy", "--listen", f"127.0.0.1:{port}", "--wait-for-client", "own.py"]
        with subprocess.Popen(
            [str(word) for word in command], cwd=self.side.project.folder, env=self.side.project.environ,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:
            try:
                for _ in range(300):
                    try:
                        self.socket = socket.create_connection(("127.0.0.1", port), timeout=60)
                        break
                    except ConnectionRefusedError:
                        assert process.poll() is None
                        time.sleep(0.1)
                self.file = self.socket.makefile("rb")
                self.ask("initialize", {"adapterID": "probe", "pathFormat": "path"})
                self.send("attach", {"justMyCode": just_my_code})
                self.wait("event", "initialized")
                source = {"path": str(self.side.project.folder / "own.py")}
                self.ask("setBreakpoints", {"source": source, "breakpoints": [{"line": 7}]})
                self.ask("configurationDone", {})
                for step in ("stepIn", "next"):
                    thread = self.wait("event", "stopped")["body"]["threadId"]
                    frames = self.ask("stackTrace", {"threadId": thread})["body"]["stackFrames"]
                    yield [(frame["name"], frame["source"]["path"]) for frame in frames]
                    self.ask(step, {"threadId": thread})
                thread = self.wait("event", "stopped")["body"]["threadId"]
                self.ask("setBreakpoints", {"source": source, "breakpoints": []})
                self.ask("continue", {"threadId": thread})
                self.wait("event", "terminated")
                self.socket.close()
            finally:
                process.terminate()

    def send(self, command, arguments):
        self.sent += 1
        body = json.dumps({"seq": self.sent, "type": "request", "command": command, "arguments": arguments}).encode()
        self.socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    def ask(self, command, arguments):
        self.send(command, arguments)
        return self.wait("response", command)

    def wait(self, kind, name):
        def fits(message):
            return message["type"] == kind and message[{"event": "event", "response": "command"}[kind]] == name

        for message in self.held:
            if fits(message):
                self.held.remove(message)
                return message
        while True:
            length = int(self.file.readline().split(b":")[1])
            self.file.readline()
            message = json.loads(self.file.read(length))
            if fits(message):
                assert message.get("success", True), message
                return message
            self.held.append(message)


def importtime(side):
    said = side.run(side.python, "-X", "importtime", "-c", "import jinja2, attrs, packaging.version")
    return "".join(line.rpartition("|")[2] + "\n" for line in said.splitlines() if line.startswith("import time:"))


def traceback(side):
    return side.run(side.python, "own.py", "fail", ok=False)


def getsourcefile(side):
    script = """
import hashlib, importlib, inspect, pathlib, sys
for name in ("own", "jinja2", "jinja2.environment", "packaging.version", "attrs", "markupsafe._speedups", "json", "mypy.main"):
    module = importlib.import_module(name)
    try:
        print(name, inspect.getsourcefile(module), inspect.getfile(module), hashlib.sha256(inspect.getsource(module).encode()).hexdigest())
        print(module.__spec__.cached, module.__spec__.origin, module.__spec__.submodule_search_locations)
    except (OSError, TypeError) as error:
        print(name, type(error).__name__, inspect.getfile(module))
import jinja2
print(inspect.getsourcefile(jinja2.Template.render), inspect.getsourcelines(jinja2.Template.render)[1], inspect.getmodule(jinja2.Template.render))
"""
    return side.run(side.python, "-c", script)


def site(side):
    said = side.run(side.python, "-m", "site")
    return said + side.run(side.python, "-c", "import site, sys; print(site.PREFIXES, site.getsitepackages(), site.ENABLE_USER_SITE, sys.prefix, sys.exec_prefix, sys.executable, sys.base_prefix, sys.flags, sys.argv)")


def sysconfig(side):
    script = """
import json, sys, sysconfig
print(json.dumps({name: sysconfig.get_paths(name) for name in sorted(sysconfig.get_scheme_names())}, indent=1))
print(json.dumps(sysconfig.get_config_vars(), indent=1, sort_keys=True, default=str))
"""
    return side.run(side.python, "-c", script) + side.run(side.python, "-m", "sysconfig")


def metadata(side):
    script = """
import importlib.metadata as metadata
for one in sorted(metadata.distributions(), key=lambda one: one.metadata["Name"].lower()):
    entries = sorted((entry.group, entry.name, entry.value) for entry in one.entry_points)
    files = [file for file in one.files or () if file.suffix == ".py"]
    print([one.metadata["Name"], one.version, str(one._path), one.requires, entries, len(files), str(files and files[0].locate())])
"""
    return side.run(side.python, "-c", script)


def torch_prefix(side):
    if TORCH is None:
        return side.run(side.python, "scripts/relative.py")
    said = side.run(side.python, "scripts/compiled.py", env={"TORCH_LOGS": "+dynamo"})
    # V1128 13:00:00.000000 1234 torch/_dynamo/convert_frame.py:941] [0/0] …
    prefixes = re.findall(r"^[VIWE]\d{4} [\d:.]+ \d+ (\S+?:\d+\])", said, re.MULTILINE)
    assert any(prefix.startswith("torch/_dynamo/") for prefix in prefixes), said
    return "\n".join(sorted(set(prefixes)))


def pdb(side):
    commands = "tbreak jinja2.Template.render\nn\nn\ntbreak jinja2.Template.render\nc\nw\nl\nb packaging/version.py:1\nq\n"
    return side.run(side.python, "-m", "pdb", "own.py", input=commands)


def pytest_rootdir(side):
    said = side.run(side.python, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", ok=False)
    said += side.run(side.python, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q", ".")
    return re.sub(r" in [\d.]+s|=+| at 0x[0-9a-f]+", "", said)


def mypy(side):
    said = side.run(side.python, "-m", "mypy", "--cache-dir=/dev/null", "typed.py", ok=False)
    # Where mypy looks for packages.
    script = "import mypy.modulefinder as finder; print(finder.get_search_dirs(%r))" % str(side.python)
    return said + side.run(side.python, "-c", script)


def pip_list(side):
    return side.run(side.python, "-m", "pip", "--disable-pip-version-check", "list")


def uv_pip_list(side):
    uv = [TOOLS / "bin/uv", "pip", "list"]
    return "".join(side.run(*uv, "--format", how, env={"VIRTUAL_ENV": str(side.venv)}) for how in ("columns", "freeze"))


PROBES = {
    "coverage": coverage,
    "debugpy": debugpy,
    "importtime": importtime,
    "traceback": traceback,
    "getsourcefile": getsourcefile,
    "site": site,
    "sysconfig": sysconfig,
    "importlib.metadata": metadata,
    "torch's log prefix": torch_prefix,
    "pdb": pdb,
    "pytest": pytest_rootdir,
    "mypy": mypy,
    "pip list": pip_list,
    "uv pip list": uv_pip_list,
}
assert len(PROBES) == 14


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    ours, plain = (Project(tmp_path_factory.mktemp(name)) for name in ("ours", "plain"))
    environment, _ = ours.build(*pins("like_a_venv"))
    ours.plain(plain.venv)
    return Side(ours, ours.venv, environment), Side(plain, plain.venv, plain.venv)


@pytest.fixture(scope="module")
def sides_with_torch(torch, tmp_path_factory):
    """The same with the real torch; the plain one gets the same wheels."""
    plain = Project(tmp_path_factory.mktemp("plain-torch"))
    torch.plain(plain.venv)
    return Side(torch, torch.venv, torch.venv.resolve()), Side(plain, plain.venv, plain.venv)


@pytest.mark.parametrize("name", PROBES)
def test_a_tool_says_what_it_says_in_a_plain_environment(request, name):
    real = name.startswith("torch") and TORCH is not None
    both = request.getfixturevalue("sides_with_torch" if real else "sides")
    ours, plain = (side.named(PROBES[name](side)) for side in both)
    assert plain.strip(), "a probe says something"
    assert str(both[1].project.folder.parent) not in plain, "every folder has a name"
    for difference in ALLOWED:
        if name in difference.probes:
            before = ours, plain
            ours, plain = difference.undo(ours, plain)
            assert (ours, plain) != before, f"no longer needed for {name}: {difference.why}"
    assert ours.splitlines() == plain.splitlines()
