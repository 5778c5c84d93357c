"""Coverage measures one's own code, and debuggers' rules of what is one's own hold: as in a plain environment."""

TOOLS_INSIDE = ["pytest==9.2.0", "pytest-cov==7.1.0", "coverage==7.17.5", "jinja2==3.1.6"]
TEST = "import jinja2\n\ndef test_one():\n    assert jinja2.Template('{{ 1 }}').render() == '1'\n"


def total(said):
    """Statements and percentage of the TOTAL line."""
    line = next(line for line in said.splitlines() if line.startswith("TOTAL"))
    return line.split()[1:]


def measured(project, python):
    def under(*arguments):
        return total(project.run(python, "-m", "pytest", "-p", "no:cacheprovider", "test_own.py", *arguments))

    return [under("--cov"), under("--cov=."), under("--cov", "--cov-branch")]


def test_coverage_is_that_of_a_plain_environment(project, tmp_path):
    project.build(*TOOLS_INSIDE)
    (project.folder / "test_own.py").write_text(TEST)
    plain = tmp_path / "plain"
    project.plain(plain)
    inside, outside = measured(project, project.python), measured(project, plain / "bin/python")
    assert inside == outside
    assert outside[0][0] == "3", "this test's own statements"


def test_modules_are_files_of_site_packages(project):
    environment, _ = project.build(*TOOLS_INSIDE)
    script = (
        "import glob, os, pathlib, site\n"
        "real = os.path.realpath(site.getsitepackages()[0])\n"
        "for path in glob.iglob(real + '/**/*.py', recursive=True):\n"
        "    assert os.path.realpath(path) == path, path\n"
        "print(len(list(pathlib.Path(real).rglob('*.py'))))"
    )
    assert int(project.run(project.python, "-c", script)) > 200
