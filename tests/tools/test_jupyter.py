"""Jupyter: kernel specs name the link, kernels follow it, what runs stays; the environment itself is not written to."""
import contextlib
import json
import os
import re
import subprocess
import time
import urllib.error
import urllib.request

import jupyter_client
import pytest
from conftest import FLAMBEAU, NOBODY, PYTHON, Project, pins, python_for_everybody
from jupyter_client.kernelspec import KernelSpecManager

ONE, TWO = "1.16.0", "1.17.0"
WHO = "import six; print(six.__version__, end='')"


@pytest.fixture(scope="module")
def jupyter(tmp_path_factory):
    """Two environments: the first has a server, nbconvert and a kernel, the second a kernel only."""
    project = Project(tmp_path_factory.mktemp("jupyter"))
    runtime = project.folder.parent / "runtime"
    runtime.mkdir(mode=0o700)
    # What a person types has no VIRTUAL_ENV; the search path leads to no environment.
    del project.environ["VIRTUAL_ENV"]
    project.environ.update(JUPYTER_RUNTIME_DIR=str(runtime), JUPYTER_PLATFORM_DIRS="1", NO_PROXY="127.0.0.1")
    # The lockfile is that of the first, for `flambeau run` and `flambeau build`.
    second = project.build(f"six=={TWO}", *pins("kernel"))
    project.two = [project.build(f"six=={ONE}", *pins("jupyter")), second]
    return project


def told(client, code):
    """What a kernel prints."""
    said = []

    def hear(message):
        if message["msg_type"] == "stream":
            said.append(message["content"]["text"])
        assert message["msg_type"] != "error", message["content"]

    reply = client.execute_interactive(code, output_hook=hear, timeout=60)
    assert reply["content"]["status"] == "ok"
    return "".join(said)


@contextlib.contextmanager
def kernel(project, name):
    """A kernel that a Jupyter outside of all environments starts."""
    specs = KernelSpecManager(kernel_dirs=[project.environ["HOME"] + "/.local/share/jupyter/kernels"])
    manager = jupyter_client.KernelManager(kernel_name=name, kernel_spec_manager=specs)
    manager.connection_file = f"{project.environ['JUPYTER_RUNTIME_DIR']}/outside-{time.monotonic_ns()}.json"
    manager.start_kernel(env=project.environ, cwd=str(project.folder))
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def test_a_kernel_spec_of_the_user_follows_and_survives_a_collection(jupyter):
    (gone, first), (_, second) = jupyter.two
    jupyter.activate(first)
    jupyter.run(jupyter.python, "-m", "ipykernel", "install", "--user", "--name", "own")
    spec = json.loads(next((jupyter.folder.parent / "home").rglob("own/kernel.json")).read_text())
    assert spec["argv"][0] == str(jupyter.python)
    assert str(gone) not in json.dumps(spec)
    with kernel(jupyter, "own") as running:
        assert told(running, WHO) == ONE
        jupyter.activate(second)
        with kernel(jupyter, "own") as new:
            assert told(new, WHO) == TWO
            assert re.search(r"^six +1\.17\.0\s*$", told(new, "%pip list"), re.MULTILINE)
        # What runs stays: late imports, children, and its environment is not collected.
        jupyter.flambeau("generations", "--delete", first)
        jupyter.flambeau("gc", "--older-than", "0s")
        assert gone.exists()
        assert told(running, "import nbformat; print(nbformat.__file__, end='')").startswith(str(gone))
        child = f"import subprocess, sys; print(subprocess.check_output([sys.executable, '-c', {WHO!r}], text=True))"
        assert told(running, child).strip() == ONE
    jupyter.flambeau("gc", "--older-than", "0s")
    assert not gone.exists()
    with kernel(jupyter, "own") as new:
        assert told(new, WHO) == TWO
    # For the other tests.
    jupyter.two[0] = jupyter.build(f"six=={ONE}", *pins("jupyter"))


class Server:
    """A Jupyter server that runs in the active environment."""

    def __init__(self, project, *wrapper):
        self.project = project
        command = [*wrapper, project.python, "-m", "jupyter_server", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0"]
        command += ["--IdentityProvider.token=probe", "--ServerApp.root_dir=.", "--ServerApp.port_retries=0"]
        self.log = open(project.folder / "server.log", "w+")
        self.process = subprocess.Popen(
            [str(word) for word in command], cwd=project.folder, env=project.environ, stdout=self.log, stderr=self.log,
        )
        for _ in range(600):
            said = (project.folder / "server.log").read_text()
            address = re.search(r"http://127\.0\.0\.1:\d+/", said)
            if address:
                self.address = address.group()
                return
            assert self.process.poll() is None, said
            time.sleep(0.1)
        raise AssertionError(said)

    def ask(self, path, body=None, method=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.address + path, data, {"Authorization": "token probe"}, method=method)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read().decode()

    @contextlib.contextmanager
    def kernel(self):
        number = json.loads(self.ask("api/kernels", {"name": "python3"}))["id"]
        client = jupyter_client.BlockingKernelClient()
        client.load_connection_file(f"{self.project.environ['JUPYTER_RUNTIME_DIR']}/kernel-{number}.json")
        client.start_channels()
        try:
            for _ in range(5):
                # A kernel whose heart does not beat yet is taken for a dead one.
                with contextlib.suppress(RuntimeError):
                    client.wait_for_ready(timeout=60)
                    break
            yield client
        finally:
            client.stop_channels()
            self.ask(f"api/kernels/{number}", method="DELETE")

    def stop(self):
        self.process.terminate()
        self.process.wait(timeout=60)
        self.log.close()


NOTEBOOK = {
    "cells": [{"cell_type": "code", "execution_count": None, "id": "one", "metadata": {}, "outputs": [], "source": WHO}],
    "metadata": {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}, "language_info": {"name": "python"}},
    "nbformat": 4,
    "nbformat_minor": 5,
}


def test_a_server_works_across_a_flip_to_an_environment_without_it(jupyter):
    (_, first), (_, second) = jupyter.two
    (jupyter.folder / "page.ipynb").write_text(json.dumps(NOTEBOOK))
    jupyter.activate(first)
    server = Server(jupyter)
    try:
        with server.kernel() as running:
            assert told(running, WHO) == ONE
            jupyter.activate(second)
            assert told(running, "import nbformat, " + WHO.partition(" ")[2]) == ONE
            with server.kernel() as new:
                assert told(new, WHO) == TWO
        # Pages, files and kernel specs; the modules and templates for them are loaded only now.
        assert "python3" in json.loads(server.ask("api/kernelspecs"))["kernelspecs"]
        assert json.loads(server.ask("api/contents/page.ipynb"))["type"] == "notebook"
        assert "</html>" in server.ask("login")
        assert json.loads(server.ask("api/terminals", {}))["name"]
        assert "notebook" in json.loads(server.ask("api/nbconvert"))
    finally:
        server.stop()


def converted_by_a_server(project):
    server = Server(project)
    try:
        project.activate(project.two[1][1])
        return "</html>" in server.ask("nbconvert/html/page.ipynb")
    except urllib.error.HTTPError as error:
        return error.code
    finally:
        server.stop()


def converted_by_a_command(project, form):
    """Converts a notebook that waits for a flip; what the command says, and its exit code."""
    ready, go = project.folder / "ready", project.folder / "go"
    for file in (ready, go):
        file.unlink(missing_ok=True)
    page = json.loads(json.dumps(NOTEBOOK))
    page["cells"][0]["source"] = f"""import os, time
open({str(ready)!r}, "w").close()
while not os.path.exists({str(go)!r}): time.sleep(0.05)
{WHO}"""
    (project.folder / "page.ipynb").write_text(json.dumps(page))
    converting = subprocess.Popen(
        [project.python, "-m", "nbconvert", "--to", form, "--execute", "--stdout", "page.ipynb"],
        cwd=project.folder, env=project.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )
    while not ready.exists():
        assert converting.poll() is None, converting.communicate()
        time.sleep(0.05)
    project.activate(project.two[1][1])
    go.touch()
    said, errors = converting.communicate(timeout=120)
    return said + errors, converting.returncode


def test_templates_of_nbconvert_are_those_of_the_link(jupyter):
    """As docs/tools.md says: Jupyter looks for templates below sys.prefix whenever it converts. JUPYTER_PATH helps."""
    environment, first = jupyter.two[0]
    (jupyter.folder / "page.ipynb").write_text(json.dumps(NOTEBOOK))
    jupyter.activate(first)
    said, code = converted_by_a_command(jupyter, "html")
    assert code != 0 and "TemplateNotFound" in said
    jupyter.environ["JUPYTER_PATH"] = f"{environment}/share/jupyter"
    try:
        jupyter.activate(first)
        assert converted_by_a_server(jupyter) is True
    finally:
        del jupyter.environ["JUPYTER_PATH"]


def test_a_notebook_that_is_executed_across_a_flip(jupyter):
    jupyter.activate(jupyter.two[0][1])
    said, code = converted_by_a_command(jupyter, "notebook")
    assert code == 0 and ONE in said, said


def test_a_notebook_s_pip_answers_for_the_environment(jupyter):
    (_, first), _ = jupyter.two
    jupyter.activate(first)
    page = json.loads(json.dumps(NOTEBOOK))
    page["cells"][0]["source"] = "!pip --version\n!pip list\n!pip install idna\n%pip install certifi"
    (jupyter.folder / "page.ipynb").write_text(json.dumps(page))
    command = ["python", "-m", "nbconvert", "--to", "notebook", "--execute", "--stdout", "page.ipynb"]
    activated = ["sh", "-c", '. .venv/bin/activate && exec "$@"', "sh"]
    for wrapper in ([FLAMBEAU, "run", "--"], activated):
        said = jupyter.run(*wrapper, *command)
        said = "".join("".join(output["text"]) for output in json.loads(said)["cells"][0]["outputs"]).replace("\r", "")
        assert re.match(r"pip \S+ from .*/pip \(python 3\.", said), said
        assert re.search(r"^six +1\.16\.0$", said, re.MULTILINE), said
        assert "immutable" in said and "`flambeau add idna`" in said and "`flambeau add certifi`" in said, said


def trees(project):
    """Every file of the wheel trees, with what tells whether it was written."""
    found = {}
    for folder, _, files in os.walk(project.environ["FLAMBEAU_STORE_DIR"] + "/wheels"):
        for name in files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            found[path] = status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode
    return found


def test_a_user_cannot_install_a_kernel_into_the_environment(opened):
    python = python_for_everybody()
    environment, _ = opened.build(f"six=={ONE}", *pins("kernel"), python=python)
    before = trees(opened)
    command = [*NOBODY, str(opened.python), "-m", "ipykernel", "install", "--sys-prefix", "--name", "own"]
    done = subprocess.run(command, cwd=opened.folder, env={**opened.environ, "HOME": "/nonexistent"}, capture_output=True, text=True)
    assert done.returncode != 0 and "Permission denied" in done.stderr, done
    assert not list(environment.rglob("own"))
    assert trees(opened) == before


def warned(project, *command):
    """What flambeau says of files that are not the environment's."""
    done = subprocess.run([FLAMBEAU, *command], cwd=project.folder, env=project.environ, capture_output=True, text=True)
    assert done.returncode == 0, done
    return "foreign file" in done.stderr and "flambeau verify --repair" in done.stderr


@pytest.fixture
def written(jupyter):
    """The first environment, in which root has installed two kernels; and the wheel trees before that."""
    if os.geteuid() != 0:
        pytest.skip("only root can write there")
    environment, first = jupyter.two[0]
    jupyter.activate(first)
    before = trees(jupyter)
    # One that is new, and one that a wheel has brought.
    for name in ("own", "python3"):
        jupyter.run(jupyter.python, "-m", "ipykernel", "install", "--sys-prefix", "--name", name)
    yield environment, before
    jupyter.flambeau("verify", "--repair")


def test_root_installs_a_kernel_into_the_environment_s_own_folder(jupyter, written):
    environment, before = written
    assert trees(jupyter) == before
    own = environment / "share/jupyter/kernels/own"
    assert (own / "kernel.json").exists() and os.path.realpath(own) == str(own)
    assert warned(jupyter, "status")
    jupyter.flambeau("verify", "--repair")
    assert not own.exists()
    jupyter.flambeau("verify")
    assert not warned(jupyter, "status")


@pytest.mark.parametrize("command", [["build"], ["run"]], ids=" ".join)
def test_build_and_run_say_that_the_environment_was_written_to(jupyter, written, command):
    assert warned(jupyter, *command, "--channel", "pip", "--python", PYTHON, *(["--", "true"] if command == ["run"] else []))
