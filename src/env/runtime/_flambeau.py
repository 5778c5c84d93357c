"""Start-up hook of a flambeau environment.

A process keeps the environment it started with. Python does not resolve `.venv`, so without this a process that was
started as `.venv/bin/python` would import from another environment once the link is flipped. The hook resolves the link
once and puts the environment's real site-packages into the import path; every name that programs write down (sys.prefix,
sys.executable, sysconfig) stays `.venv`. It takes a lease (a shared flock for the life of the process, so that the
environment is not collected while it runs), and puts the project's own folders on the path.

Children stay too. The lease's descriptor says by which `.venv` its process was started: its offset is a digest of that.
A hook that starts asks its parent, and then the ancestors of its own process group. If one of them holds another
environment of the same `.venv` than the link leads to now, that environment's Python is executed, with the same
arguments and before anything else is read. Commands that a person types, and Jupyter's kernels, follow the link.

The hook must never stop Python from starting.
"""
import os
import sys

_lease = None
_leased = None
_pinned = None
_spared = None

# Descriptors from here on are leases; low ones are what programs use.
_FIRST = 64
# So many ancestors are asked.
_DEPTH = 32


def pin():
    """Pins the environment of this process; safe to call again (site runs .pth lines of a venv twice)."""
    global _pinned
    prefix = sys.prefix
    try:
        if _pinned is not None and _pinned[0] == prefix:
            real = _pinned[1]
        else:
            real = _environment(prefix)
            _pinned = prefix, real
    except OSError:
        return
    _name_executable(prefix, real)
    if real != prefix:
        _rebase(prefix, real)
    else:
        # The second time, site has added the resolved folder beside the one that was resolved the first time.
        sys.path[:] = dict.fromkeys(sys.path)
    _overlay(prefix, real)
    if os.geteuid() == 0:
        _spare(prefix, real)
    argv = getattr(sys, "orig_argv", None) or _command_line()
    if "install" in argv or "uninstall" in argv:
        _refuse_pip(argv, real)


def _environment(prefix):
    """The environment to use, with its lease held."""
    mark = os.environ.pop("_FLAMBEAU_STAYS", None)
    real = os.path.realpath(prefix)
    if real != prefix:
        stay = _stay(prefix, real)
        if stay:
            _become(stay, prefix)
            # Only a program that embeds Python comes here: the environment is used by the program that runs.
            real = stay
    for _ in range(3):
        _take_lease(real)
        # A collector may have won the lease first; then the link leads elsewhere by now.
        if os.path.exists(real + "/pyvenv.cfg"):
            break
        real = os.path.realpath(prefix)
    if real != prefix:
        site = "/lib/python%d.%d/site-packages" % sys.version_info[:2]
        if not os.path.isdir(real + site):
            # The link was flipped to another Python while this one started.
            _become(real, prefix)
        _read_pinned(prefix + site, real + site)
    if _lease is not None:
        if real != prefix:
            os.lseek(_lease, _mark(prefix), os.SEEK_SET)
        elif mark and mark.isdigit():
            os.lseek(_lease, int(mark), os.SEEK_SET)
    return real


def _mark(prefix):
    """What a lease's offset says: 40 bits of the `.venv`, which is the same folder by every path to it."""
    folder, name = os.path.split(prefix)
    stat = os.stat(folder)
    mark = (stat.st_dev * 0x9E3779B97F4A7C15 + stat.st_ino * 0xC2B2AE3D27D4EB4F) & (2**64 - 1)
    for byte in os.fsencode(name):
        mark = ((mark ^ byte) * 0x100000001B3) & (2**64 - 1)
    # Never 0, which says nothing; larger offsets are refused by some file systems.
    return (mark >> 24) | 1


def _stay(prefix, real):
    """The environment that this process was started from, where it is to stay in it."""
    follow = os.environ.get("FLAMBEAU_FOLLOW")
    if follow in ("1", str(os.getpid())):
        return None
    # The link, not the environment, tells where the store is: both lie side by side.
    store = os.path.dirname(os.path.dirname(real))
    mark, at = _mark(prefix), os.getppid()
    for _ in range(_DEPTH):
        if at <= 1:
            return None
        held = _held(at, store, mark)
        if held:
            if held == real or not os.path.exists(held + "/pyvenv.cfg"):
                return None
            # A kernel is a program that a person starts, by way of a server that may be older than the flip.
            kernel = "ipykernel_launcher" in (getattr(sys, "orig_argv", None) or _command_line())[1:6]
            return None if kernel else held
        # An isolated Python is asked about itself, by tools that run beside the environment.
        if sys.flags.isolated:
            return None
        try:
            if os.getpgid(at) != os.getpgrp():
                return None
            with open("/proc/%d/stat" % at, "rb") as file:
                at = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError, IndexError):
            return None
    return None


def _held(process, store, mark):
    """The environment that a process holds for this `.venv`."""
    leases = store + "/leases/"
    for number in range(_FIRST, _FIRST + 4):
        try:
            link = os.readlink("/proc/%d/fd/%d" % (process, number))
            if link.startswith(leases):
                with open("/proc/%d/fdinfo/%d" % (process, number), "rb") as file:
                    if int(file.read().split()[1]) == mark:
                        return store + "/envs/" + link[len(leases):]
        except FileNotFoundError:
            # No such descriptor; or no /proc, where nobody stays.
            return None
        except (OSError, ValueError, IndexError):
            return None
    return None


def _become(environment, prefix):
    """Executes the Python of another environment in this one's place. Returns where this is no plain Python."""
    argv = list(getattr(sys, "orig_argv", None) or _command_line())
    try:
        if os.path.realpath(sys.executable) != os.readlink("/proc/self/exe"):
            return
    except OSError:
        return
    target = environment + "/bin/python"
    if argv and os.path.exists(target):
        os.environ["_FLAMBEAU_STAYS"] = str(_mark(prefix))
        try:
            os.execv(target, [target] + argv[1:])
        finally:
            del os.environ["_FLAMBEAU_STAYS"]


def _take_lease(real):
    global _lease, _leased
    if _leased == real:
        return
    store, name = os.path.split(real)
    try:
        import fcntl

        fd = os.open(os.path.dirname(store) + "/leases/" + name, os.O_RDONLY | os.O_CLOEXEC)
        high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST)
        os.close(fd)
        fcntl.flock(high, fcntl.LOCK_SH)
    except (ImportError, OSError):
        return
    if _lease is not None:
        os.close(_lease)
    _lease = high
    _leased = real


def _name_executable(prefix, real):
    # However Python was started (a relative path, a link elsewhere): children start by the same name.
    folder, name = os.path.split(sys.executable or "")
    if name and folder != prefix + "/bin" and os.path.realpath(folder) == real + "/bin":
        sys.executable = prefix + "/bin/" + name


def _rebase(prefix, real):
    """Puts the real folders into the import path, whatever `.venv` leads to later."""
    inside = prefix + "/"

    def moved(path):
        return real + path[len(prefix):] if path == prefix or path.startswith(inside) else path

    sys.path[:] = dict.fromkeys(moved(path) if type(path) is str else path for path in sys.path)
    for path in [path for path in sys.path_importer_cache if path.startswith(inside)]:
        sys.path_importer_cache.pop(path, None)
    # This module was found by the other name.
    own = sys.modules[__name__]
    for module, names in ((own, ("__file__", "__cached__")), (own.__spec__, ("origin", "cached"))):
        for name in names:
            value = getattr(module, name, None)
            if value:
                setattr(module, name, moved(value))


def _read_pinned(named, pinned):
    """Lets `site` go on with the .pth files of the pinned environment, whatever `.venv` leads to meanwhile."""
    site = sys.modules.get("site")
    original = getattr(site, "addpackage", None)
    if original is None:
        return

    def addpackage(sitedir, name, known_paths):
        if sitedir == named:
            sitedir = pinned
            if not os.path.exists(pinned + "/" + name):
                return known_paths
        return original(sitedir, name, known_paths)

    site.addpackage = addpackage


def _spare(prefix, real):
    """Root may write where modes forbid it: refuses its Python what they refuse others, to write beside bytecode.

    Bytecode is shared by every environment with the same package. Python itself writes there, and so do pytest and
    numba, each in its own way; all of them go on where they may not.
    """
    global _spared
    first = _spared is None
    _spared = (prefix + "/", real + "/")
    if not first:
        return
    writing = os.O_WRONLY | os.O_RDWR | os.O_CREAT

    def refuse(event, args):
        if event == "open" and type(args[2]) is int and args[2] & writing:
            try:
                path = os.path.abspath(os.fsdecode(args[0]))
            except (TypeError, ValueError, OSError):
                return
            if "/__pycache__/" in path and path.startswith(_spared):
                raise PermissionError(13, "Permission denied", path)

    sys.addaudithook(refuse)


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
        _announce(paths)
        # Child processes start from the resolved environment, which no longer knows the project.
        os.environ["FLAMBEAU_OVERLAY"] = name + "|" + project + "|" + os.pathsep.join(paths)


def _announce(paths):
    """Tells `site` which folders are on the path, so that a line of a .pth file does not add them once more."""
    site = sys.modules.get("site")
    original = getattr(site, "addpackage", None)
    if original is None:
        return

    def addpackage(sitedir, name, known_paths):
        if known_paths is not None:
            known_paths.update(map(os.path.normcase, paths))
        return original(sitedir, name, known_paths)

    site.addpackage = addpackage


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
    verb = "remove" if "uninstall" in command else "add"
    # Options that take a value, which is no package. A requirements file has no command of its own yet.
    valued = ("--python", "--cache-dir", "--log", "--proxy", "--timeout", "--retries", "--cert", "--client-cert", "--trusted-host",
              "-r", "--requirement", "-c", "--constraint", "-i", "--index-url", "--extra-index-url", "-f", "--find-links",
              "--platform", "--python-version", "--implementation", "--abi", "--src", "--progress-bar", "--no-binary",
              "--only-binary", "--report", "-C", "--config-settings", "--upgrade-strategy")
    named = [
        word for before, word in zip([""] + command, command)
        if not word.startswith("-") and word not in ("install", "uninstall") and before not in valued
    ]
    hints = (
        "hint: run `flambeau " + " ".join([verb] + (named or ["PACKAGE"])) + "`, then `flambeau build`\n"
        "hint: for your own code, list its folder in `[tool.flambeau] editable` or use `flambeau run --overlay DIR`\n"
    )
    if any(word == "-e" or word.startswith("--editable") for word in command):
        hints = (
            "hint: list the folder in `[tool.flambeau] editable` in pyproject.toml, then run `flambeau build`\n"
            "hint: use `flambeau run --overlay DIR` to have it on the path for one command\n"
        )
    sys.stderr.write("error: this environment is immutable, so pip cannot change it (" + real + ")\n" + hints)
    sys.stderr.flush()
    os._exit(1)
