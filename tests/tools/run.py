#!/usr/bin/env python3
"""Runs the tests with real tools (uv, pip, coverage, Jupyter) in a throw-away environment.

The tools are installed at pinned versions from the package index that this machine's pip uses, and so are the packages
of the environments that flambeau builds here. Where they cannot be installed, nothing is tested: that is said, and with
CI=true it is a failure.

    python3 tests/tools/run.py [--flambeau PROGRAM] [PYTEST ARGUMENT...]
"""
import argparse
import os
import pathlib
import subprocess
import sys
import tempfile
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# like_a_venv.py is a list to read, and tests.
PYTHON_FILES = "python_files=test_*.py like_a_venv.py"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flambeau", type=pathlib.Path, default=ROOT / "target/debug/flambeau")
    known, rest = parser.parse_known_args()
    program = known.flambeau.resolve()
    if not program.exists():
        sys.exit(f"there is no {program}: build it with `cargo build`, or name it with --flambeau")
    # Of a store on another disk than the project's nothing else is different; both lie here.
    with tempfile.TemporaryDirectory(prefix="flambeau-tools-") as folder:
        # Other users run an environment's Python too.
        os.chmod(folder, 0o755)
        tools = pathlib.Path(folder, "tools")
        venv.create(tools, with_pip=True)
        install = [tools / "bin/pip", "install", "--quiet", "--disable-pip-version-check"]
        installed = subprocess.run([*install, "--requirement", HERE / "requirements.txt"])
        if installed.returncode != 0:
            if os.environ.get("CI") == "true":
                sys.exit("the tools cannot be installed")
            print("SKIPPED: the tools cannot be installed")
            return
        environ = {
            **os.environ,
            "FLAMBEAU": str(program),
            "FLAMBEAU_TOOLS": str(tools),
            # Locks of all worlds share pages and wheels; stores are each test's own.
            "FLAMBEAU_CACHE_DIR": str(pathlib.Path(folder, "cache")),
        }
        for name in ("VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH", "FLAMBEAU_STORE_DIR"):
            environ.pop(name, None)
        tests = [tools / "bin/python", "-m", "pytest", "-p", "no:cacheprovider", "-q", f"--basetemp={folder}/tests", "-o", PYTHON_FILES, HERE, *rest]
        sys.exit(subprocess.run(tests, env=environ, cwd=folder).returncode)


if __name__ == "__main__":
    main()
