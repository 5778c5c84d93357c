"""Who stays in the environment of a running process after a flip, and who follows the link."""
import json
import os
import pathlib
import pty
import shutil
import subprocess
import sys
import time

import pytest
from conftest import FLAMBEAU, NOBODY, PYTHON, pins, python_for_everybody, run

ONE, TWO = "1.16.0", "1.17.0"
# One write for each line, since workers share a pipe.
WHO = "import six, sys; sys.stdout.write(six.__version__ + chr(10)); sys.stdout.flush()"
FLIPS = int(os.environ.get("FLAMBEAU_TOOLS_FLIPS", "500"))

# Each line runs in a parent of the first environment, after the flip. WHO is code that prints the version that a child
# sees; POOL is a class of pools, PATH a search path with the environment in it.
STAYS = {
    "subprocess": "subprocess.run([sys.executable, '-c', WHO], check=True)",
    "without variables": "subprocess.run([sys.executable, '-c', WHO], env={}, check=True)",
    "env -i": "subprocess.run(['env', '-i', sys.executable, '-c', WHO], check=True)",
    "isolated": "subprocess.run([sys.executable, '-I', '-c', WHO], check=True)",
    "sh -c": "subprocess.run(['sh', '-c', 'exec \"$0\" -c \"$1\"', sys.executable, WHO], check=True)",
    "a shell's second command": "subprocess.run(['sh', '-c', 'true; \"$0\" -c \"$1\"; true', sys.executable, WHO], check=True)",
    "timeout": "subprocess.run(['timeout', '60', sys.executable, '-c', WHO], check=True)",
    "nohup": "subprocess.run(['nohup', sys.executable, '-c', WHO], check=True)",
    "make": (
        "open('Makefile', 'w').write('all: one two\\none two:\\n\\t@\"$$PYTHON\" -c \"$$WHO\"\\n');"
        " subprocess.run(['make', '-s', '-j2'], env={**os.environ, 'PYTHON': sys.executable, 'WHO': WHO}, check=True)"
    ),
    "zipapp": (
        "os.makedirs('app', exist_ok=True); open('app/__main__.py', 'w').write(WHO);"
        " zipapp.create_archive('app', 'app.pyz', interpreter=sys.executable);"
        " subprocess.run([sys.executable, 'app.pyz'], check=True); subprocess.run(['./app.pyz'], check=True)"
    ),
    "a new session": "subprocess.run([sys.executable, '-c', WHO], start_new_session=True, check=True)",
    "found on PATH": "subprocess.run(['python', '-c', WHO], env={**os.environ, 'PATH': PATH}, check=True)",
    "a grandchild on PATH in a new session": (
        "subprocess.run([sys.executable, '-c', 'import subprocess; subprocess.run([\"python\", \"-c\", \"\"\"' + WHO + '\"\"\"], start_new_session=True, check=True)'],"
        " env={**os.environ, 'PATH': PATH}, check=True)"
    ),
    "spawn": "multiprocessing.get_context('spawn').Pool(1).map(exec, [WHO])",
    "forkserver": "multiprocessing.get_context('forkserver').Pool(1).map(exec, [WHO])",
    "fork": "multiprocessing.get_context('fork').Pool(1).map(exec, [WHO])",
    "ProcessPoolExecutor with spawn": "list(POOL(1, multiprocessing.get_context('spawn')).map(exec, [WHO]))",
    "ProcessPoolExecutor with forkserver": "list(POOL(1, multiprocessing.get_context('forkserver')).map(exec, [WHO]))",
    "joblib": "import joblib; joblib.Parallel(n_jobs=2)(joblib.delayed(exec)(WHO) for _ in range(4))",
    "loky": "from joblib.externals import loky; list(loky.get_reusable_executor(1).map(exec, [WHO]))",
    "pytest-xdist": (
        "open('test_who.py', 'w').write('import six\\ndef test_a(): open(\"a\", \"w\").write(six.__version__)\\n"
        "def test_b(): open(\"b\", \"w\").write(six.__version__)\\n');"
        " subprocess.run([sys.executable, '-m', 'pytest', '-q', '-n2', 'test_who.py'], stdout=2, check=True);"
        " print(open('a').read(), open('b').read())"
    ),
    "pytest-xdist in this process": (
        "import contextlib, pytest; open('test_who.py', 'w').write('import six\\ndef test_a(): open(\"a\", \"w\").write(six.__version__)');"
        " exec('with contextlib.redirect_stdout(sys.stderr): code = pytest.main([\"-q\", \"-n2\", \"test_who.py\"])');"
        " print(open('a').read()); assert code == 0"
    ),
    "a late import": "exec(WHO)",
}

PARENT = """
import concurrent.futures, multiprocessing, os, subprocess, sys, time, zipapp
WHO = {who!r}
POOL = concurrent.futures.ProcessPoolExecutor
PATH = os.path.dirname(sys.executable) + ":" + os.environ["PATH"]
if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    {what}
"""


@pytest.fixture(scope="module")
def two(shared):
    """Two environments with one package in different versions; their generations."""
    return [
        shared.build(f"six=={six}", f"Pygments=={pygments}", *pins("children"))
        for six, pygments in ((ONE, "2.19.2"), (TWO, "2.20.0"))
    ]


def after_a_flip(project, first, second, source):
    """What a program prints that runs in the first environment, after a flip to the second."""
    project.activate(first)
    script = project.folder / "parent.py"
    script.write_text(source)
    parent = project.start(project.python, script)
    project.activate(second)
    said, _ = parent.communicate("go\n", timeout=120)
    assert parent.returncode == 0
    return said.split()


@pytest.mark.parametrize("what", STAYS.values(), ids=STAYS.keys())
def test_children_stay(shared, two, what):
    said = after_a_flip(shared, two[0][1], two[1][1], PARENT.format(who=WHO, what=what))
    assert said and set(said) == {ONE}


def pythons():
    """The versions of Python on this machine that flambeau can build for, but for the one of the other tests."""
    found = []
    managed = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"), "versions")
    for version in ("3.9", "3.10", "3.11", "3.12", "3.13"):
        candidates = [shutil.which(f"python{version}"), *managed.glob(f"{version}.*/bin/python{version}")]
        works = any(path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0 for path in candidates)
        if works and version != PYTHON:
            found.append(version)
    return found


KINDS = ["subprocess", "without variables", "isolated", "spawn", "forkserver", "fork", "ProcessPoolExecutor with spawn", "a late import"]


@pytest.mark.parametrize("version", pythons())
def test_children_stay_on_every_python(project, version):
    two = [project.build(f"six=={six}", python=version)[1] for six in (ONE, TWO)]
    what = "\n    ".join(STAYS[kind] for kind in KINDS)
    said = after_a_flip(project, *two, PARENT.format(who=WHO, what=what))
    assert said == [ONE] * len(KINDS)


def test_children_stay_across_python_versions(project):
    other = next(iter(reversed(pythons())), None)
    if other is None:
        pytest.skip("there is one Python only")
    two = [project.build(f"six=={ONE}")[1], project.build(f"six=={TWO}", python=other)[1]]
    what = "\n    ".join(STAYS[kind] for kind in KINDS)
    who = "import six, sys; print(six.__version__, sys.version_info[1], flush=True)"
    said = after_a_flip(project, *two, PARENT.format(who=who, what=what))
    assert said == [ONE, str(sys.version_info[1])] * len(KINDS)


FOLLOWS = {
    "told to follow": "subprocess.run([sys.executable, '-c', WHO], env={**os.environ, 'FLAMBEAU_FOLLOW': '1'}, check=True)",
    "a terminal": "import pty; pty.spawn(['sh', '-ic', '\"%s\" -c \"%s\"; true' % (sys.executable, WHO)])",
    "a terminal of pexpect": (
        "import pexpect; shell = pexpect.spawn('bash', ['--norc', '-i'], encoding='utf-8', timeout=60, echo=False);"
        " shell.sendline('\"%s\" -c \"%s\"; exit' % (sys.executable, WHO)); print(*[word for word in shell.read().split() if word[:2] == '1.'])"
    ),
    "flambeau run": "subprocess.run([os.environ['FLAMBEAU'], 'run', '--', 'python', '-c', WHO], check=True)",
    "an orphan": (
        "subprocess.run(['sh', '-c', '(sleep 1; \"$0\" -c \"$1\" > orphan.new; mv orphan.new orphan) &', sys.executable, WHO], check=True)\n"
        "    while not os.path.exists('orphan'): time.sleep(0.1)\n"
        "    print(open('orphan').read())"
    ),
    "a child of a process without descriptors": (
        "sys.stdout.flush(); os.closerange(3, 256); subprocess.run([sys.executable, '-c', WHO], check=True)"
    ),
}


@pytest.mark.parametrize("what", FOLLOWS.values(), ids=FOLLOWS.keys())
def test_what_a_person_starts_follows(shared, two, what):
    assert after_a_flip(shared, two[0][1], two[1][1], PARENT.format(who=WHO, what=what))[-1] == TWO


def test_other_users_follow(opened):
    python = python_for_everybody()
    two = [opened.build(f"six=={six}", python=python)[1] for six in (ONE, TWO)]
    what = f"subprocess.run([*{NOBODY}, sys.executable, '-c', WHO], check=True)"
    assert after_a_flip(opened, *two, PARENT.format(who=WHO, what=what)) == [TWO]


@pytest.mark.parametrize("how", [["unshare", "--pid", "--fork"], ["unshare", "--user", "--map-root-user"]], ids=" ".join)
def test_other_namespaces_follow(shared, two, how):
    if shutil.which("unshare") is None or subprocess.run([*how, "true"], capture_output=True).returncode != 0:
        pytest.skip("not allowed here")
    what = f"subprocess.run([*{how}, sys.executable, '-c', WHO], check=True)"
    assert after_a_flip(shared, two[0][1], two[1][1], PARENT.format(who=WHO, what=what)) == [TWO]


def test_a_command_typed_after_a_flip_follows(shared, two):
    for (_, generation), version in zip(two, (ONE, TWO)):
        shared.activate(generation)
        assert shared.run(shared.python, "-c", WHO).strip() == version


def test_commands_typed_in_one_terminal_follow(shared, two):
    shared.activate(two[0][1])
    shell, terminal = pty.openpty()
    bash = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"], stdin=terminal, stdout=terminal, stderr=terminal,
        cwd=shared.folder, env={**shared.environ, "PS1": "", "HISTFILE": ""}, start_new_session=True,
    )
    os.close(terminal)
    (shared.folder / "who.py").write_text("import six\nprint('<' + six.__version__ + '>')\n")

    def typed(command):
        os.write(shell, command.encode() + b"\n")
        said = ""
        while not said.partition("<")[2].partition(">")[1]:
            said += os.read(shell, 4096).decode()
        return said.partition("<")[2].partition(">")[0]

    # By its path, by the activation script, and under a wrapper.
    os.write(shell, b". .venv/bin/activate\n")
    for (_, generation), version in zip([*two, two[0]], (ONE, TWO, ONE)):
        shared.activate(generation)
        for command in (".venv/bin/python who.py", "python who.py", "timeout 60 python who.py", "make -s -f Typed"):
            (shared.folder / "Typed").write_text("all:\n\t@python who.py\n")
            assert typed(command) == version, command
    os.write(shell, b"exit\n")
    bash.wait(timeout=30)
    os.close(shell)


@pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")
def test_tmux_follows(shared, two, tmp_path):
    socket, said = tmp_path / "socket", tmp_path / "said"
    tmux = ["tmux", "-S", str(socket), "-f", "/dev/null"]
    what = f"subprocess.run([*{tmux}, 'new-session', '-d', 'bash', '--norc'], check=True); print('done')"
    try:
        assert after_a_flip(shared, two[0][1], two[1][1], PARENT.format(who=WHO, what=what)) == ["done"]
        for (_, generation), version in ((two[1], TWO), (two[0], ONE)):
            shared.activate(generation)
            said.unlink(missing_ok=True)
            run([*tmux, "send-keys", f"'{shared.python}' -c '{WHO}' > '{said}.new'; mv '{said}.new' '{said}'", "Enter"])
            for _ in range(300):
                if said.exists():
                    break
                time.sleep(0.1)
            assert said.read_text().strip() == version
    finally:
        subprocess.run([*tmux, "kill-server"])


def test_a_process_imports_from_its_own_environment_through_many_flips(shared, two):
    """FLAMBEAU_TOOLS_FLIPS says how many; the modules are imported one after another meanwhile."""
    environment, first = two[0]
    second = two[1][1]
    shared.activate(first)
    script = shared.folder / "storm.py"
    script.write_text(
        "import importlib, multiprocessing, pathlib, subprocess, sys\n"
        "import pygments\n"
        "if __name__ == '__main__':\n"
        "    folder = pathlib.Path(pygments.__file__).parent\n"
        "    names = ['pygments.' + '.'.join(path.relative_to(folder).with_suffix('').parts) for path in sorted(folder.rglob('*.py')) if path.stem[:2] != '__' and path.stem != 'sphinxext']\n"
        "    print('ready', flush=True)\n"
        "    who = 'import pygments; print(pygments.__version__)'\n"
        "    for at, line in enumerate(sys.stdin):\n"
        "        module = importlib.import_module(names[at % len(names)])\n"
        "        assert module.__file__.startswith(sys.argv[1] + '/'), module.__file__\n"
        "        if at >= len(names):\n"
        "            del sys.modules[names[at % len(names)]]\n"
        "        if at % 50 == 0:\n"
        "            said = subprocess.run([sys.executable, '-c', who], capture_output=True, text=True, check=True).stdout\n"
        "            assert said.strip() == pygments.__version__ == '2.19.2', said\n"
        "            multiprocessing.get_context('spawn').Pool(1).map(exec, [who.replace('print(', 'assert (').replace(')', ' == \"2.19.2\")')])\n"
        "        print('done', flush=True)\n"
    )
    process = shared.start(shared.python, script, environment)
    for flip in range(FLIPS):
        process.stdin.write("flip\n")
        process.stdin.flush()
        # The flip and the import overlap.
        subprocess.run([FLAMBEAU, "--quiet", "activate", (second, first)[flip % 2]], cwd=shared.folder, env=shared.environ, check=True)
        assert process.stdout.readline() == "done\n", f"after {flip} flips"
    process.stdin.close()
    assert process.wait(timeout=60) == 0


def test_torchrun_stays(torch):
    """The real torchrun, and `python -m torch.distributed.run`, started after a flip to an environment without torch."""
    script = torch.folder / "worker.py"
    script.write_text(
        "import os, torch, torch.distributed as dist\n"
        "dist.init_process_group('gloo')\n"
        "total = torch.ones(1)\n"
        "dist.all_reduce(total)\n"
        "open('rank' + os.environ['RANK'], 'w').write('%d %s' % (total, torch.__version__))\n"
        "dist.destroy_process_group()\n"
    )
    ranks = [torch.folder / "rank0", torch.folder / "rank1"]
    # The second environment has no torchrun: the script of the first is named by its own folder, which sys.path keeps.
    for launch in ("sys.executable, '-m', 'torch.distributed.run'", "sys.path[-1] + '/../../../bin/torchrun'"):
        for rank in ranks:
            rank.unlink(missing_ok=True)
        options = "'--nproc-per-node=2', '--master-addr=127.0.0.1', '--master-port=29531', 'worker.py'"
        what = f"subprocess.run([{launch}, {options}], stdout=2, check=True)"
        assert after_a_flip(torch, "1", "2", PARENT.format(who=WHO, what=what)) == []
        assert [rank.read_text().split()[0] for rank in ranks] == ["2", "2"]
    torch.activate("1")


def test_status_lists_processes_in_former_environments(shared, two):
    shared.activate(two[0][1])
    status = ["status", "--json"]
    parent = shared.start(shared.python, "-c", "print('ready', flush=True); import sys; sys.stdin.readline()")
    try:
        assert "former_processes" not in json.loads(shared.flambeau(*status))
        shared.activate(two[1][1])
        [former] = json.loads(shared.flambeau(*status))["former_processes"]
        assert former["pid"] == parent.pid and "sys.stdin.readline" in former["command"]
        assert str(parent.pid) in shared.flambeau("status")
    finally:
        parent.communicate("end\n", timeout=60)
    assert "former_processes" not in json.loads(shared.flambeau(*status))
