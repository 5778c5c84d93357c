"""Start-up hook of a flambeau environment.

A process stays in the environment it started in: Python does not resolve `.venv`, so without this a process that was
started as `.venv/bin/python` would import from another environment once the link is flipped. The hook resolves the
prefix once, takes a lease (a shared flock for the life of the process, so that the environment is not collected while
it runs), and puts the project's own folders on the path. It must never stop Python from starting.
"""
import os
import sys

_lease = None
_leased = None


def pin():
    """Resolves the environment of this process; safe to call again (site runs .pth lines of a venv twice)."""
    prefix = sys.prefix
    try:
        for _ in range(3):
            real = os.path.realpath(prefix)
            _take_lease(real)
            # A collector may have won the lease first; then the link leads elsewhere by now.
            if os.path.exists(real + "/pyvenv.cfg"):
                break
    except OSError:
        return
    _rebase_executable(real)
    if real != prefix:
        _rebase(prefix, real)
    else:
        # The second time, site has added the resolved folder beside the one that was resolved the first time.
        sys.path[:] = dict.fromkeys(sys.path)
    _overlay(prefix, real)
    argv = getattr(sys, "orig_argv", None) or _command_line()
    if "install" in argv or "uninstall" in argv:
        _refuse_pip(argv, real)


def _take_lease(real):
    global _lease, _leased
    if _leased == real:
        return
    store, name = os.path.split(real)
    try:
        import fcntl

        fd = os.open(os.path.dirname(store) + "/leases/" + name, os.O_RDONLY | os.O_CLOEXEC)
        # A high number stays out of the way of programs that use the low ones.
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 64)
        os.close(fd)
        fcntl.flock(high, fcntl.LOCK_SH)
    except (ImportError, OSError):
        return
    if _lease is not None:
        os.close(_lease)
    _lease = high
    _leased = real


def _rebase_executable(real):
    # However Python was started (a relative path, a link elsewhere): children start from the resolved environment.
    folder, name = os.path.split(sys.executable or "")
    if name and folder != real + "/bin" and os.path.realpath(folder) == real + "/bin":
        sys.executable = real + "/bin/" + name


def _rebase(prefix, real):
    inside = prefix + "/"

    def moved(path):
        return real + path[len(prefix):] if path == prefix or path.startswith(inside) else path

    if sys.exec_prefix == prefix:
        sys.exec_prefix = real
    sys.prefix = real
    sys.path[:] = dict.fromkeys(moved(path) if type(path) is str else path for path in sys.path)
    for path in [path for path in sys.path_importer_cache if path.startswith(inside)]:
        sys.path_importer_cache.pop(path, None)


def _overlay(prefix, real):
    # The variable is `<environment>|<project>|<path>:<path>`: one environment serves many projects, and a project's
    # own folders must not reach another project's Python.
    owner, project, given = (os.environ.get("FLAMBEAU_OVERLAY", "") + "||").split("|")[:3]
    name = os.path.basename(real)
    paths = []
    if prefix != real and os.path.basename(prefix) == ".venv":
        here = os.path.realpath(os.path.dirname(prefix))
        if project != here:
            owner, project = None, here
        try:
            with open(here + "/.flambeau/overlay.pth", encoding="utf-8", errors="surrogateescape") as file:
                # Somebody else's file decides nothing about what this user runs.
                if os.fstat(file.fileno()).st_uid in (0, os.geteuid()):
                    lines = file.read().splitlines()
                    paths = [os.path.normpath(os.path.join(here, line)) for line in lines if line]
        except OSError:
            pass
    if owner == name:
        paths = [path for path in given.split(os.pathsep) if path] + paths
    paths = [path for path in dict.fromkeys(paths) if path not in sys.path]
    if paths:
        # Before site-packages, so that a project's own code wins over an installed copy of it.
        at = next((i for i, path in enumerate(sys.path) if path.startswith(real + "/")), len(sys.path))
        sys.path[at:at] = paths
        # Child processes start from the resolved environment, which no longer knows the project.
        os.environ["FLAMBEAU_OVERLAY"] = name + "|" + project + "|" + os.pathsep.join(paths)


def _command_line():
    # Python 3.9 has no sys.orig_argv, and sys.argv leaves out what follows -m.
    try:
        with open("/proc/self/cmdline", "rb") as file:
            return [os.fsdecode(word) for word in file.read().split(b"\0")[:-1]]
    except OSError:
        return [sys.executable] + list(getattr(sys, "argv", ()))


def _refuse_pip(argv, real):
    tail = list(argv[1:])
    while tail and tail[0].startswith("-") and tail[0] != "-m":
        del tail[0]
    module = tail[:2] == ["-m", "pip"]
    script = tail and os.path.basename(tail[0]) in ("pip", "pip3", "__pip-runner__.py")
    command = tail[2 if module else 1:]
    elsewhere = ("--target", "-t", "--prefix", "--root", "--dry-run")
    if not (module or script) or any(word.startswith(elsewhere) for word in command):
        return
    others = ("list", "show", "freeze", "check", "inspect", "download", "wheel", "cache", "config", "debug", "index")
    if next((word for word in command if word in others or word in ("install", "uninstall")), None) in others:
        return
    sys.stderr.write(
        "error: this environment is immutable, so pip cannot change it (" + real + ")\n"
        "hint: name the package in pyproject.toml (or `flambeau lock REQUIREMENT...`), then run `flambeau build`\n"
        "hint: for your own code, list its folder in `[tool.flambeau] editable` or use `flambeau run --overlay DIR`\n"
    )
    sys.stderr.flush()
    os._exit(1)
