#!/usr/bin/env python3
"""Does flambeau choose the right GPU backend on this machine?

    python3 test_gpu_backend.py [--project DIR] [--flambeau PATH] [--replay FILE]

Looks at the machine with a few probes of its own, asks `flambeau detect --json` for its answer, and compares. Where
an environment is active (DIR/.venv) its torch is asked too: version, build, what it sees, and a matrix product on
the device it found. With --replay, both look at a recorded machine instead of this one.

Needs nothing but Python 3.8. Exit code 0 when all agree, 1 when not.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys

QUERY = "--query-gpu=name,driver_version,compute_cap,memory.total"
OLD_QUERY = "--query-gpu=name,driver_version,memory.total"
MIG_QUERY = "--query-gpu=mig.mode.current"
CSV = "--format=csv,noheader"
PCI = "/sys/bus/pci/devices"
NODES = "/sys/class/kfd/kfd/topology/nodes"
OVERRIDES = ("FLAMBEAU_CUDA_DRIVER", "FLAMBEAU_CUDA_ARCH", "FLAMBEAU_AMD_GFX", "HSA_OVERRIDE_GFX_VERSION")

# What the wheels of torch 2.7 run on: an opinion of its own, on purpose not shared with flambeau.
DRIVER_FLOORS = {"cu11": ((450, 80, 2), (452, 39)), "cu12": ((525, 60, 13), (528, 33))}
SM = {
    "cu118": [37, 50, 60, 70, 75, 80, 86, 90],
    "cu126": [50, 60, 70, 75, 80, 86, 90],
    "cu128": [75, 80, 86, 90, 100, 120],
}
GFX = "gfx900 gfx906 gfx908 gfx90a gfx942 gfx1030 gfx1100 gfx1101 gfx1102 gfx1200 gfx1201".split()

TORCH = """
import json, sys
try:
    import torch
except ImportError as error:
    print(json.dumps({"missing": str(error)})); sys.exit()
said = {"version": torch.__version__, "cuda": torch.version.cuda, "hip": getattr(torch.version, "hip", None),
        "available": torch.cuda.is_available()}
device = "cuda" if said["available"] else "cpu"
said["device"] = torch.cuda.get_device_name(0) if said["available"] else "cpu"
try:
    left = torch.arange(4096, dtype=torch.float32, device=device).reshape(64, 64) / 4096
    product = (left @ torch.eye(64, device=device)).cpu()
    said["product"] = bool(torch.allclose(product, left.cpu()))
except Exception as error:
    said["product"], said["error"] = False, str(error).strip().splitlines()[0]
print(json.dumps(said))
"""


class Live:
    """This machine."""

    os, arch, kernel = sys.platform, platform.machine(), platform.release()

    def var(self, name):
        return os.environ.get(name)

    def read(self, path):
        try:
            with open(path, errors="replace") as file:
                return file.read(1 << 20)
        except OSError:
            return None

    def list(self, path):
        try:
            return os.listdir(path)
        except OSError:
            return []

    def opens(self, path):
        try:
            os.close(os.open(path, os.O_RDWR | getattr(os, "O_NONBLOCK", 0)))
            return True
        except OSError:
            return False

    def run(self, argv):
        extra = ["/usr/lib/wsl/lib", "/opt/rocm/bin", "/usr/sbin", "/sbin", "/opt/bin"]
        folders = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if os.path.isabs(folder)]
        tool = shutil.which(argv[0], path=os.pathsep.join(folders + extra))
        if tool is None:
            return None
        hiding = ("CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES")
        variables = {name: value for name, value in os.environ.items() if name not in hiding}
        return call([tool] + argv[1:], 15, env=dict(variables, LC_ALL="C"), cwd="/")


class Replay:
    """A machine that `flambeau detect --record` wrote down."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as file:
            self.data = json.load(file)
        self.os, self.arch = self.data.get("os", "linux"), self.data.get("arch", "x86_64")
        self.kernel = self.data.get("kernel", "")

    def part(self, name):
        return self.data.get(name) or {}

    def var(self, name):
        return self.part("env").get(name)

    def read(self, path):
        return self.part("files").get(path)

    def list(self, path):
        start = path.rstrip("/") + "/"
        known = [name for section in ("files", "links", "open", "dirs") for name in self.part(section)]
        implied = {name[len(start):].split("/")[0] for name in known if name.startswith(start)}
        return sorted(implied | set(self.part("dirs").get(path, [])))

    def opens(self, path):
        return self.part("open").get(path) == "ok"

    def run(self, argv):
        for command in self.data.get("commands") or []:
            if command.get("argv") == argv:
                if command.get("timeout"):
                    return "timeout"
                return command.get("exit", 0), command.get("stdout", ""), command.get("stderr", "")
        return None


def call(argv, seconds, **options):
    """Exit code, stdout, stderr; "timeout"; or None where it cannot be started."""
    options.setdefault("start_new_session", True)
    try:
        pipe = subprocess.PIPE
        child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, **options)
    except OSError:
        return None
    try:
        out, err = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        return "timeout"
    return child.returncode, out.decode("utf-8", "replace"), err.decode("utf-8", "replace")


# --- what this machine has ---------------------------------------------------------------------------------------


def numbers(text):
    return tuple(int(part) for part in text.split("."))


def nvidia_rows(host):
    """The GPUs that nvidia-smi lists, and a sentence about the answer."""
    for query, has_compute in ((QUERY, True), (OLD_QUERY, False)):
        answer = host.run(["nvidia-smi", query, CSV])
        if answer is None:
            return [], "not there"
        if answer == "timeout":
            return [], "did not answer"
        code, out, err = answer
        rows = []
        for line in out.splitlines():
            fields = [field.strip() for field in line.split(",")]
            if len(fields) < (4 if has_compute else 3):
                continue
            compute = fields[-2] if has_compute else ""
            driver = fields[-3] if has_compute else fields[-2]
            if re.fullmatch(r"\d{2,5}(\.\d{1,5}){1,2}", driver) and "lost" not in line and "Unknown Error" not in line:
                known = re.fullmatch(r"\d{1,2}\.\d", compute)
                rows.append({"name": ", ".join(fields[: -3 if has_compute else -2]), "driver": driver,
                             "compute": compute if known else None})
        if rows and mig_without_instances(host):
            return [], "lists {} GPU(s), MIG is on for all and has no instance".format(len(rows))
        if rows:
            return rows, "lists {} GPU(s)".format(len(rows))
        said = [line.strip() for line in (out + "\n" + err).splitlines() if line.strip()]
        if not any("is not a valid field" in line for line in said):
            return [], "exit code {}: {}".format(code, said[0] if said else "silence")
    return [], "lists nothing"


def mig_without_instances(host):
    """Whether every GPU is to be cut into instances and none is: CUDA then sees nothing."""
    modes, listed = host.run(["nvidia-smi", MIG_QUERY, CSV]), host.run(["nvidia-smi", "-L"])
    if not (isinstance(modes, tuple) and isinstance(listed, tuple)):
        return False
    lines = [line.strip() for line in listed[1].splitlines()]
    enabled = set(modes[1].split()) == {"Enabled"}
    return enabled and any(line.startswith("GPU ") for line in lines) and not any(line.startswith("MIG ") for line in lines)


def pci_gpus(host):
    """(class, vendor, device) of displays and accelerators, and where that is from."""
    found = []
    for slot in sorted(host.list(PCI)):
        ids = [(host.read("{}/{}/{}".format(PCI, slot, name)) or "").strip() for name in ("class", "vendor", "device")]
        if all(re.fullmatch(r"0x[0-9a-fA-F]+", value) for value in ids):
            found.append((int(ids[0], 16) >> 8, int(ids[1], 16), int(ids[2], 16)))
    source = "sysfs"
    if not found:
        for source, argv, pattern in (
            ("lspci -Dnmm", ["lspci", "-Dnmm"], r"^\S+" + r' "(?:[^"]*\[)?(\w{4})\]?"' * 3),
            ("lspci -nn", ["lspci", "-nn"], r"^\S+ [^\[]*\[(\w{4})\]: .*\[(\w{4}):(\w{4})\]"),
        ):
            answer = host.run(argv)
            if isinstance(answer, tuple):
                matches = [re.match(pattern, line) for line in answer[1].splitlines()]
                found = [tuple(int(value, 16) for value in match.groups()) for match in matches if match]
            if found:
                break
        else:
            source = "nowhere"
    return [item for item in found if item[0] >> 8 == 3 or item[0] == 0x1200], source


def kfd_targets(host):
    """The gfx targets of the kernel's compute nodes."""
    targets = []
    for node in sorted((name for name in host.list(NODES) if name.isdigit()), key=int):
        text = host.read("{}/{}/properties".format(NODES, node)) or ""
        values = dict(line.split(None, 1) for line in text.splitlines() if len(line.split(None, 1)) == 2)
        version = values.get("gfx_target_version", "0").strip()
        if values.get("simd_count", "0").strip() not in ("", "0") and version.isdigit():
            version = int(version)
            name = "gfx{}{:x}{:x}".format(version // 10000, version // 100 % 100, version % 100)
            targets.append(name if version else "unknown")
    return targets


def rocm_cards(host):
    """How many GPUs rocm-smi lists; its exit code says nothing."""
    answer = host.run(["rocm-smi", "--showproductname", "--json"])
    if not isinstance(answer, tuple):
        return 0, "not there" if answer is None else "did not answer"
    try:
        document = json.loads(answer[1][answer[1].index("{"):])
        cards = [key for key, value in document.items() if key.lower().startswith("card") and value]
    except (ValueError, AttributeError):
        cards = []
    return len(cards), "lists {} GPU(s)".format(len(cards))


def look(host):
    seen = {}
    seen["nvidia"], seen["nvidia-smi"] = nvidia_rows(host)
    seen["cards"], seen["rocm-smi"] = rocm_cards(host)
    seen["pci"], seen["pci-source"] = pci_gpus(host)
    seen["targets"] = kfd_targets(host)
    seen["kfd"] = host.opens("/dev/kfd")
    seen["wsl"] = "microsoft" in host.kernel.lower()
    seen["x86"] = host.arch in ("x86_64", "AMD64", "amd64")
    seen["linux"] = host.os.startswith("linux")
    return seen


def opinion(seen, channel):
    """Which backend this script would take, with the reason. `channel` is the CUDA channel to judge against."""
    floor = DRIVER_FLOORS.get(channel[:4], ((0,), (0,)))[0 if seen["linux"] and not seen["wsl"] else 1]
    problems = []
    for row in seen["nvidia"]:
        if not seen["x86"]:
            problems.append("no CUDA wheels for this processor")
        elif numbers(row["driver"]) < floor:
            problems.append("{}: driver {} is too old".format(row["name"], row["driver"]))
        elif row["compute"] and channel in SM and not runs(row["compute"], SM[channel], channel):
            problems.append("{}: compute capability {} is not in {}".format(row["name"], row["compute"], channel))
        elif row["compute"] or channel not in SM:
            return "CUDA", row["name"]
        else:
            return "CUDA or CPU", "{}, of a compute capability that its driver does not tell".format(row["name"])
    if seen["x86"] and seen["linux"]:
        good = [target for target in seen["targets"] if target in GFX]
        if good and seen["kfd"]:
            return "ROCm", good[0]
        if "unknown" in seen["targets"] and not good and seen["kfd"]:
            return "ROCm or CPU", "there is an AMD GPU, and its target is not told by the kernel"
        if seen["targets"] and not good:
            problems.append("no kernels for {}".format(", ".join(seen["targets"])))
        elif good:
            problems.append("/dev/kfd cannot be opened")
        elif seen["cards"] and not any(vendor == 0x1002 for _, vendor, _ in seen["pci"]):
            return "ROCm or CPU", "rocm-smi lists GPUs, nothing else tells their target"
        elif seen["kfd"] and any(vendor == 0x1002 for _, vendor, _ in seen["pci"]):
            return "ROCm or CPU", "there is an AMD GPU, and its target is not told by the kernel"
    return "CPU", "; ".join(problems) or "nothing usable"


def runs(compute, table, channel):
    major, minor = numbers(compute)
    if channel == "cu128" and (major, minor) >= (12, 0):
        return True
    return any(sm // 10 == major and sm % 10 <= minor for sm in table)


# --- what flambeau says ------------------------------------------------------------------------------------------


def find_flambeau(named):
    here = os.path.dirname(os.path.abspath(__file__))
    kinds = [(kind, root) for kind in ("release", "debug") for root in (os.curdir, here)]
    builds = [os.path.join(root, "target", kind, "flambeau") for kind, root in kinds]
    if named or os.environ.get("FLAMBEAU"):
        return named or os.environ["FLAMBEAU"]
    built = next((os.path.abspath(path) for path in builds if os.access(path, os.X_OK)), None)
    return built or shutil.which("flambeau")


def detect(binary, project, replay):
    """flambeau's document, or a sentence that says why there is none."""
    argv = [binary, "detect", "--json", "--project", project]
    if replay:
        argv += ["--replay", replay]
    answer = call(argv, 120)
    if not isinstance(answer, tuple):
        return None, "it cannot be started" if answer is None else "it did not answer within 120 seconds"
    code, out, err = answer
    try:
        document = json.loads(out)
    except ValueError:
        said = (err or out).strip().splitlines()
        return None, "exit code {}: {}".format(code, said[0] if said else "silence")
    if "error" in document:
        return None, document["error"].get("message", "an error")
    return document, None


def ask_torch(project):
    python = os.path.join(project, ".venv", "bin", "python")
    if not os.path.exists(python):
        return None, None
    answer = call([python, "-c", TORCH], 300)
    if not isinstance(answer, tuple):
        return None, "it cannot be started" if answer is None else "no answer within 300 seconds"
    try:
        return json.loads(answer[1].strip().splitlines()[-1]), None
    except (ValueError, IndexError):
        said = answer[2].strip().splitlines()
        return None, "exit code {}: {}".format(answer[0], said[-1] if said else "silence")


# --- the comparison ----------------------------------------------------------------------------------------------


class Report:
    def __init__(self):
        self.agree = True

    def title(self, text):
        print("\n" + text)

    def line(self, name, value):
        print("  {:<14}{}".format(name, value))

    def verdict(self, good, text):
        self.agree = self.agree and good
        print("  {:<14}{}".format("agree" if good else "DISAGREE", text))


def show_machine(report, host, seen):
    report.title("This machine" if isinstance(host, Live) else "The recorded machine")
    report.line("system", "{} {} {}{}".format(host.os, host.arch, host.kernel, " (WSL)" if seen["wsl"] else ""))
    report.line("nvidia-smi", seen["nvidia-smi"])
    for row in seen["nvidia"]:
        report.line("", "{name}, driver {driver}, compute capability {compute}".format(**row))
    report.line("rocm-smi", seen["rocm-smi"])
    report.line("compute nodes", ", ".join(seen["targets"]) or "none")
    report.line("/dev/kfd", "opens" if seen["kfd"] else "does not open")
    gpus = ["{:04x}:{:04x} (class {:04x})".format(vendor, device, kind) for kind, vendor, device in seen["pci"]]
    report.line("PCI", "{} [{}]".format(", ".join(gpus) or "no display", seen["pci-source"]))


def compare_detection(report, host, seen, document):
    report.line("backend", "{} (channel {})".format(document.get("backend"), document.get("channel")))
    report.line("reason", document.get("reason"))
    report.line("", document.get("message", ""))
    for warning in document.get("warnings", []):
        report.line("warning", warning)
    channel = document.get("channel") if document.get("backend") == "CUDA" else "cu118"
    backend, why = opinion(seen, channel or "cu118")
    replaced = [name for name in OVERRIDES if host.var(name)]
    if document.get("reason") == "forced":
        text = "the backend is asked for; by its hardware this would be {} ({})"
        report.line("not compared", text.format(backend, why))
    elif replaced:
        report.line("not compared", "{} stands in for the hardware".format(", ".join(replaced)))
    else:
        good = document.get("backend") in backend.split(" or ")
        report.verdict(good, "this script takes {}: {}".format(backend, why))


def compare_torch(report, project, document):
    report.title("The active environment")
    said, problem = ask_torch(project)
    if said is None and problem is None:
        report.line("none", "{} does not exist".format(os.path.join(project, ".venv")))
        return
    if said is None:
        report.verdict(False, "its Python: {}".format(problem))
        return
    if "missing" in said:
        report.line("no torch", said["missing"])
        return
    build = "ROCm" if said["hip"] else "CUDA" if said["cuda"] else "CPU"
    built = " ".join(part for part in (build, said["hip"] or said["cuda"]) if part)
    report.line("torch", "{} (built for {})".format(said["version"], built))
    report.line("sees", said["device"])
    state = None
    try:
        with open(os.path.join(project, ".venv", "environment_state.json"), encoding="utf-8-sig") as file:
            state = json.load(file).get("InstalledBackend")
    except (OSError, ValueError):
        report.line("state", "no environment_state.json that can be read")
    if state is not None:
        report.verdict(state == build, "environment_state.json says {}".format(state))
    error = ": " + said["error"] if "error" in said else ""
    report.verdict(said["product"], "a matrix product on {}{}".format(said["device"], error))
    if document is None or document.get("reason") == "forced":
        return
    usable = document.get("backend") != "CPU"
    # Torch must see a GPU where one is usable and the environment is for it, and none where flambeau sees none. It only
    # counts devices, so a GPU that the wheels hold no kernels for is seen too and proves nothing.
    unsure = document.get("reason") in ("nvidia_arch_unsupported", "amd_gfx_unsupported")
    if usable == (document.get("backend") == build) and not unsure:
        report.verdict(said["available"] == usable, "torch.cuda.is_available() is {}".format(said["available"]))


def main():
    options = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    options.add_argument("--flambeau", metavar="PATH", help="default: $FLAMBEAU, target/release, target/debug, PATH")
    options.add_argument("--project", metavar="DIR", default=os.curdir, help="default: the current folder")
    options.add_argument("--replay", metavar="FILE", help="a recorded machine instead of this one")
    arguments = options.parse_args()

    report = Report()
    try:
        host = Replay(arguments.replay) if arguments.replay else Live()
    except (OSError, ValueError) as error:
        print("cannot read the recording: {}".format(error), file=sys.stderr)
        return 1
    seen = look(host)
    show_machine(report, host, seen)

    report.title("flambeau detect")
    binary, document = find_flambeau(arguments.flambeau), None
    if binary is None:
        report.line("skipped", "there is no flambeau; build it with `cargo build --release` or name it with --flambeau")
        report.line("this script", "takes {}: {}".format(*opinion(seen, "cu118")))
    else:
        report.line("binary", binary)
        document, problem = detect(binary, arguments.project, arguments.replay)
        if document is None:
            report.verdict(False, problem)
        else:
            compare_detection(report, host, seen, document)

    if not arguments.replay:
        compare_torch(report, os.path.abspath(arguments.project), document)
    print("\n" + ("All agree." if report.agree else "Not all agree."))
    return 0 if report.agree else 1


if __name__ == "__main__":
    sys.exit(main())
