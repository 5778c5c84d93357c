"""The project's own package is seen by other people's tools as one that `pip install -e` has installed."""
import json

import pytest
from conftest import TOOLS

PYPROJECT = """
[project]
name = "own"
version = "1.2.3"
dependencies = ["pytest==9.2.0"]
scripts = {{ own-run = "own.cli:main" }}
entry-points = {{ pytest11 = {{ own = "own.plugin" }} }}
[tool.flambeau]
channel = "pip"
editable = ["."]
"""


@pytest.fixture(params=["", "src/"], ids=["flat", "src"])
def built(project, request):
    code = project.folder / request.param / "own"
    code.mkdir(parents=True)
    (code / "__init__.py").write_text("WORD: str = 'own'\n")
    (code / "cli.py").write_text("import own\ndef main() -> None:\n    print(own.WORD)\n")
    (code / "plugin.py").write_text("import pytest\n@pytest.fixture\ndef answer():\n    return 42\n")
    (project.folder / "pyproject.toml").write_text(PYPROJECT.format())
    (project.folder / "test_it.py").write_text("def test_it(answer):\n    assert answer == 42\n")
    project.flambeau("build")
    return project


def test_uv_and_pip_list_it_as_editable(built):
    folder = str(built.folder.resolve())
    pip = [TOOLS / "bin/python", "-m", "pip", "--python", built.python, "--disable-pip-version-check"]
    for command in (
        [TOOLS / "bin/uv", "pip"],
        pip,
        [built.venv / "bin/pip"],
    ):
        rows = {row["name"]: row for row in json.loads(built.run(*command, "list", "--format", "json"))}
        assert rows["own"]["version"] == "1.2.3", command
        assert rows["own"]["editable_project_location"] == folder, command
        editable = json.loads(built.run(*command, "list", "--editable", "--format", "json"))
        assert [row["name"] for row in editable] == ["own"], command
        built.run(*command, "check")
    for arguments in (["list"], ["list", "--format=freeze"], ["freeze"]):
        assert built.run(built.venv / "bin/pip", *arguments) == built.run(*pip, *arguments), arguments
    assert built.uv("pip", "show", "own").count("Version: 1.2.3") == 1
    assert f"-e file://{folder}" in built.uv("pip", "freeze")
    assert "entry_points.txt" in built.run(*pip, "show", "--files", "own")


def test_pytest_loads_its_plug_in(built):
    assert "1 passed" in built.run(built.venv / "bin/pytest", "-q", "test_it.py")
    assert "1 passed" in built.run(built.python, "-m", "pytest", "-q", "test_it.py")
    assert built.run(built.venv / "bin/own-run") == "own\n"
    # By the environment's own path the start-up hook knows no project; the .pth line does.
    assert built.run(built.venv.resolve() / "bin/own-run") == "own\n"


def test_a_new_version_is_seen_by_the_same_uv(built):
    said = PYPROJECT.format().replace("1.2.3", "1.3.0")
    (built.folder / "pyproject.toml").write_text(said)
    built.flambeau("run", "--", "own-run")
    rows = {row["name"]: row["version"] for row in json.loads(built.uv("pip", "list", "--format", "json"))}
    assert rows["own"] == "1.3.0"
    assert built.run(built.python, "-c", "import importlib.metadata as m; print(m.version('own'))") == "1.3.0\n"
