"""`pip list`, `freeze`, `show`, `check`, `inspect` and `--version`, in the forms that pip prints them.

Tools ask these of the environment they look at (`python -m torch.utils.collect_env` does). Everything else would change
the environment, or does not concern it, and is refused with what to use instead.
"""
import json
import os
import re
import sys

from pip import __version__

USAGE = """usage: pip list|freeze|show|check|inspect [options]

This environment is immutable, so this is not pip: it answers what is installed.
Run `flambeau add PACKAGE` and `flambeau build` to install, `flambeau remove PACKAGE` to remove."""

# What pip leaves out of `freeze` before Python 3.12.
BASIC = ("pip", "setuptools", "wheel", "distribute")


def normalized(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def installed():
    """Every distribution of the environment by its normalised name; the first on the path counts, as in an import."""
    from importlib.metadata import distributions

    found = {}
    for distribution in distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(normalized(name), distribution)
    return dict(sorted(found.items()))


def name_of(distribution):
    return distribution.metadata["Name"]


def direct_url(distribution):
    try:
        return json.loads(distribution.read_text("direct_url.json") or "{}")
    except ValueError:
        return {}


def editable(distribution):
    direct = direct_url(distribution)
    if direct.get("dir_info", {}).get("editable"):
        from urllib.parse import unquote

        return unquote(direct.get("url", "")[len("file://"):])
    return None


def value_of(arguments, *names):
    """The value of `--name value` or `--name=value`."""
    for at, word in enumerate(arguments):
        for name in names:
            if word == name and at + 1 < len(arguments):
                return arguments[at + 1]
            if word.startswith(name + "="):
                return word[len(name) + 1:]
    return None


def list_(arguments):
    form = value_of(arguments, "--format") or "columns"
    if any(word in arguments for word in ("-o", "--outdated", "-u", "--uptodate")):
        return refuse("list --outdated")
    rows = [(name_of(one), one.version, editable(one)) for one in installed().values()]
    if any(word in arguments for word in ("-e", "--editable")):
        rows = [row for row in rows if row[2] is not None]
    excluded = {normalized(arguments[at + 1]) for at, word in enumerate(arguments[:-1]) if word == "--exclude"}
    rows = [row for row in rows if normalized(row[0]) not in excluded]
    if form == "json":
        fields = ("name", "version", "editable_project_location")
        print(json.dumps([{k: v for k, v in zip(fields, row) if v is not None} for row in rows]))
    elif form == "freeze":
        for name, version, _ in rows:
            print(f"{name}=={version}")
    elif rows:
        titles = ("Package", "Version", "Editable project location")
        width = 3 if any(row[2] is not None for row in rows) else 2
        table = [[cell or "" for cell in row[:width]] for row in rows]
        sizes = [max(len(row[at]) for row in [titles, *table]) for at in range(width)]
        for row in [titles[:width], ["-" * size for size in sizes], *table]:
            print(" ".join(cell.ljust(size) for cell, size in zip(row, sizes)).rstrip())
    return 0


def freeze(arguments):
    hidden = () if "--all" in arguments or sys.version_info >= (3, 12) else BASIC
    for name, one in installed().items():
        if name in hidden or name == "pip" and "--all" not in arguments:
            continue
        direct = direct_url(one)
        location = editable(one)
        if location is not None:
            print(f"# Editable install with no version control ({name_of(one)}=={one.version})\n-e {location}")
        elif "url" in direct:
            print(f"{name_of(one)} @ {direct['url']}")
        else:
            print(f"{name_of(one)}=={one.version}")
    return 0


def required(distribution):
    """Names that a distribution requires here, with the requirement; extras are nobody's wish."""
    try:
        from packaging.requirements import Requirement
    except ImportError:
        Requirement = None
    for text in distribution.requires or []:
        if Requirement is not None:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                yield normalized(requirement.name), requirement, text
        elif ";" not in text:
            yield normalized(re.match(r"[A-Za-z0-9._-]*", text).group()), None, text


def show(arguments):
    names = [word for word in arguments if not word.startswith("-")]
    if not names:
        print("ERROR: name a package", file=sys.stderr)
        return 1
    found = installed()
    missing = [name for name in names if normalized(name) not in found]
    if missing:
        print("WARNING: Package(s) not found: " + ", ".join(missing), file=sys.stderr)
    first = True
    for name in names:
        one = found.get(normalized(name))
        if one is None:
            continue
        if not first:
            print("---")
        first = False
        metadata = one.metadata
        print(f"Name: {name_of(one)}\nVersion: {one.version}")
        for title, key in (
            ("Summary", "Summary"),
            ("Home-page", "Home-page"),
            ("Author", "Author"),
            ("Author-email", "Author-email"),
            ("License", "License"),
        ):
            value = metadata.get(key) or (metadata.get("License-Expression") if key == "License" else None)
            print(f"{title}: {(value or '').splitlines()[0] if value else ''}")
        print(f"Location: {os.fspath(one.locate_file(''))}")
        location = editable(one)
        if location is not None:
            print(f"Editable project location: {location}")
        names_of = lambda keys: ", ".join(sorted(name_of(found[key]) if key in found else key for key in set(keys)))
        print("Requires: " + names_of(key for key, _, _ in required(one)))
        users = (key for key, other in found.items() if normalized(name) in {key for key, _, _ in required(other)})
        print("Required-by: " + names_of(users))
        if any(word in arguments for word in ("-f", "--files")):
            print("Files:")
            for path in sorted(map(str, one.files or [])):
                print("  " + path)
    return 0 if not first else 1


def check(arguments):
    found = installed()
    broken = False
    compared = True
    for one in found.values():
        for key, requirement, text in required(one):
            other = found.get(key)
            who = f"{normalized(name_of(one))} {one.version}"
            if other is None:
                print(f"{who} requires {key}, which is not installed.")
                broken = True
            elif requirement is None:
                compared = False
            elif not requirement.specifier.contains(other.version, prereleases=True):
                print(f"{who} has requirement {text}, but you have {key} {other.version}.")
                broken = True
    if not compared:
        print("note: versions were not compared, since the package `packaging` is not installed", file=sys.stderr)
    if not broken:
        print("No broken requirements found.")
    return int(broken)


def inspect(arguments):
    import platform

    def described(one):
        metadata = getattr(one.metadata, "json", None) or {"name": name_of(one), "version": one.version}
        direct = direct_url(one)
        return {
            "metadata": metadata,
            "metadata_location": os.fspath(getattr(one, "_path", "")),
            **({"direct_url": direct} if direct else {}),
            "installer": (one.read_text("INSTALLER") or "").strip(),
            "requested": False,
        }

    environment = {
        "implementation_name": sys.implementation.name,
        "implementation_version": platform.python_version(),
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "platform_python_implementation": platform.python_implementation(),
        "python_full_version": platform.python_version(),
        "python_version": ".".join(platform.python_version_tuple()[:2]),
        "sys_platform": sys.platform,
    }
    document = {
        "version": "1",
        "pip_version": __version__,
        "installed": [described(one) for one in installed().values()],
        "environment": environment,
    }
    print(json.dumps(document, indent=2))
    return 0


def refuse(what):
    print(
        f"error: `pip {what}` is not available: this environment is immutable, and has no pip of its own ({sys.prefix})\n"
        "hint: run `flambeau add PACKAGE`, then `flambeau build`, to install a package\n"
        "hint: run another Python's pip for what does not concern this environment",
        file=sys.stderr,
    )
    return 1


VERBS = {"list": list_, "freeze": freeze, "show": show, "check": check, "inspect": inspect}


def main(arguments=None):
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # Options before the verb are about how pip behaves.
    while arguments and arguments[0].startswith("-"):
        word = arguments.pop(0)
        if word in ("-V", "--version"):
            print(f"pip {__version__} from {os.path.dirname(__file__)} (python {sys.version_info[0]}.{sys.version_info[1]})")
            return 0
        if word in ("-h", "--help"):
            print(USAGE)
            return 0
    if not arguments or arguments[0] == "help":
        print(USAGE)
        return 0
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        return refuse(verb)
    if "-h" in rest or "--help" in rest:
        print(USAGE)
        return 0
    try:
        code = VERBS[verb](rest)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever reads has seen enough; what is left in the buffer must not be written at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


if __name__ == "__main__":
    sys.exit(main())
