"""Who stays in the environment of a running process after a flip, and who follows the link."""
import subprocess
import sys

import pytest

WHO = "import six, sys; print(six.__version__, flush=True)"

# Each gets PYTHON, the program that runs, and WHO, what to run with it; prints the version that a child sees.
STAYS = {
    "subprocess": "subprocess.run([sys.executable, '-c', WHO], check=True)",
    "without variables": "subprocess.run([sys.executable, '-c', WHO], env={}, check=True)",
    "isolated": "subprocess.run([sys.executable, '-I', '-c', WHO], check=True)",
    "a shell's second command": "subprocess.run(['sh', '-c', 'true; \"$0\" -c \"$1\"; true', sys.executable, WHO], check=True)",
    "timeout": "subprocess.run(['timeout', '60', sys.executable, '-c', WHO], check=True)",
    "nohup": "subprocess.run(['nohup', sys.executable, '-c', WHO], check=True)",
    "a new session": "subprocess.run([sys.executable, '-c', WHO], start_new_session=True, check=True)",
    "found on PATH": "subprocess.run(['python', '-c', WHO], env={**os.environ, 'PATH': os.path.dirname(sys.executable) + ':' + os.environ['PATH']}, check=True)",
    "a grandchild on PATH in a new session": (
        "subprocess.run([sys.executable, '-c', 'import subprocess; subprocess.run([\"python\", \"-c\", \"\"\"' + WHO + '\"\"\"], start_new_session=True, check=True)'],"
        " env={**os.environ, 'PATH': os.path.dirname(sys.executable) + ':' + os.environ['PATH']}, check=True)"
    ),
    "spawn": "multiprocessing.get_context('spawn').Pool(1).map(exec, [WHO])",
    "forkserver": "multiprocessing.get_context('forkserver').Pool(1).map(exec, [WHO])",
    "fork": "multiprocessing.get_context('fork').Pool(1).map(exec, [WHO])",
    "a late import": "exec(WHO)",
}

PARENT = """
import multiprocessing, os, subprocess, sys
WHO = {who!r}
if __name__ == "__main__":
    print("ready", flush=True)
    sys.stdin.readline()
    {what}
"""


@pytest.fixture
def two(project):
    return [project.build(f"six=={version}")[1] for version in ("1.16.0", "1.17.0")]


def after_a_flip(project, two, source):
    """What a program prints that runs in the first environment, after a flip to the second."""
    project.activate(two[0])
    script = project.folder / "parent.py"
    script.write_text(source)
    parent = subprocess.Popen(
        [project.python, script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=project.environ,
        cwd=project.folder,
    )
    assert parent.stdout.readline() == "ready\n"
    project.activate(two[1])
    said, _ = parent.communicate("go\n", timeout=120)
    assert parent.returncode == 0
    return said.split()


@pytest.mark.parametrize("what", STAYS.values(), ids=STAYS.keys())
def test_children_stay(project, two, what):
    assert after_a_flip(project, two, PARENT.format(who=WHO, what=what)) == ["1.16.0"]


def test_children_stay_across_python_versions(project):
    other = next(
        (version for version in ("3.12", "3.13", "3.10") if subprocess.run(["which", f"python{version}"], capture_output=True).returncode == 0
         and version != "%d.%d" % sys.version_info[:2]),
        None,
    )
    if other is None:
        pytest.skip("there is one Python only")
    two = [project.build("six==1.16.0")[1], project.build("six==1.17.0", python=other)[1]]
    what = STAYS["subprocess"].replace("WHO", "'import sys, six; print(six.__version__, sys.version_info[1])'")
    said = after_a_flip(project, two, PARENT.format(who=WHO, what=what))
    assert said == ["1.16.0", str(sys.version_info[1])]


FOLLOWS = {
    "told to follow": "subprocess.run([sys.executable, '-c', WHO], env={**os.environ, 'FLAMBEAU_FOLLOW': '1'}, check=True)",
    "a terminal": "import pty; pty.spawn(['sh', '-ic', '\"%s\" -c \"%s\"; true' % (sys.executable, WHO)])",
    "flambeau run": "subprocess.run([os.environ['FLAMBEAU'], 'run', '--', 'python', '-c', WHO], check=True)",
}


@pytest.mark.parametrize("what", FOLLOWS.values(), ids=FOLLOWS.keys())
def test_what_a_person_starts_follows(project, two, what):
    assert after_a_flip(project, two, PARENT.format(who=WHO, what=what))[-1] == "1.17.0"


def test_a_command_typed_after_a_flip_follows(project, two):
    for generation, version in zip(two, ("1.16.0", "1.17.0")):
        project.activate(generation)
        assert project.run(project.python, "-c", WHO).strip() == version
