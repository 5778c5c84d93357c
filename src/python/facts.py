import json, os, sys, sysconfig


def musl():
    # The loader of a musl system prints its version when it is run without arguments (PEP 656).
    import struct
    import subprocess
    with open(sys.executable, "rb") as binary:
        head = binary.read(64)
        if head[:5] != b"\x7fELF\x02":
            return None
        start, = struct.unpack_from("<Q", head, 32)
        size, count = struct.unpack_from("<HH", head, 54)
        for index in range(count):
            binary.seek(start + index * size)
            entry = binary.read(size)
            if struct.unpack_from("<I", entry)[0] == 3:
                offset, = struct.unpack_from("<Q", entry, 8)
                length, = struct.unpack_from("<Q", entry, 32)
                binary.seek(offset)
                loader = os.fsdecode(binary.read(length).strip(b"\0"))
                if "musl" not in loader:
                    return None
                answer = subprocess.run([loader], stderr=subprocess.PIPE, universal_newlines=True).stderr
                for line in answer.splitlines():
                    if line.startswith("Version "):
                        return ["musl", line.split()[1]]
    return None


def libc():
    try:
        name, version = os.confstr("CS_GNU_LIBC_VERSION").split()
        return [name, version]
    except (AttributeError, OSError, TypeError, ValueError):
        return musl() if sys.platform == "linux" else None


def macos():
    import platform
    return platform.mac_ver()[0]


level = {"alpha": "a", "beta": "b", "candidate": "rc"}.get(sys.version_info[3], "")
print(json.dumps({
    "implementation": sys.implementation.name,
    "version": "%d.%d.%d" % sys.version_info[:3] + (level and level + str(sys.version_info[4])),
    "minor": list(sys.version_info[:2]),
    "bits": 64 if sys.maxsize > 2**32 else 32,
    "executable": getattr(sys, "_base_executable", None) or sys.executable,
    "base_prefix": sys.base_prefix,
    "stdlib": sysconfig.get_path("stdlib"),
    "cache_tag": sys.implementation.cache_tag,
    "soabi": sysconfig.get_config_var("SOABI"),
    "gil_disabled": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
    "debug": hasattr(sys, "gettotalrefcount"),
    "system": sys.platform,
    "machine": os.uname().machine,
    "libc": libc(),
    "macos": macos() if sys.platform == "darwin" else None,
}))
