"""What was measured, as a table: on the terminal while it runs, and in docs/benchmarks.md at the end.

The text beside the table is kept: only what stands between the markers is replaced.
"""

import datetime
import os
import platform
import re
import statistics
import subprocess
import sys

BEGIN, END = "<!-- measured -->", "<!-- /measured -->"

# Row, what it is, the other side, goals (what they bound, and where).
GOALS = [
    ("hit", "`build`, environment exists", "uv pip sync, nothing to do", [("ratio", 0.5), ("seconds", 0.010)]),
    ("switch", "`activate`", "uv pip sync cu → cpu, warm", [("ratio", 0.01), ("seconds", 0.005)]),
    ("rollback", "`rollback`", "uv pip sync cu → cpu, warm", [("ratio", 0.01), ("seconds", 0.005)]),
    ("warm", "`build`, new environment, warm store", "uv pip sync, warm, no bytecode", [("ratio", 0.05)]),
    ("warm-bytecode", "the same", "uv pip sync --compile-bytecode, warm", [("ratio", 0.002)]),
    ("cold", "`build`, cold, bytecode on both sides", "uv pip sync --compile-bytecode, cold", [("ratio", 0.6)]),
    ("cold-plain", "`build --no-compile-bytecode --no-keep-wheels`, cold", "uv pip sync, cold, no bytecode", [("ratio", 0.9)]),
    ("limited", "`build`, cold, each connection limited", "uv pip sync --compile-bytecode, cold, limited", [("ratio", 0.5)]),
    ("import", "first `import torch, torchvision` after a build", "the same after uv pip sync", [("ratio", 0.6)]),
    ("verify", "`verify`", "sha256sum of the same files on all cores", [("speed", 0.8)]),
    ("many-hit", "`build`, environment exists, 1,000 others in the store", None, [("seconds", 0.010)]),
    ("many-activate", "`activate`, 1,000 others in the store", None, [("seconds", 0.005)]),
    ("many-list", "`list`, 1,000 environments", None, [("seconds", 0.1)]),
    ("many-gc", "`gc --dry-run`, 1,000 environments", None, [("seconds", 2.0)]),
]


def seconds(value):
    if value < 0.1:
        return f"{value * 1000:.1f} ms"
    return f"{value:.2f} s" if value < 10 else f"{value:.1f} s"


def median(samples, field="wall"):
    return statistics.median(getattr(sample, field) for sample in samples)


def spread(samples):
    walls = sorted(sample.wall for sample in samples)
    return f"{seconds(median(samples))} ({seconds(walls[0])} – {seconds(walls[-1])}, n = {len(walls)})"


def processors(samples):
    return f"{seconds(median(samples, 'user'))} + {seconds(median(samples, 'system'))}"


def sides(result):
    ours = result["flambeau"]
    others = [samples for name, samples in result.items() if name != "flambeau"]
    return ours, (others[0] if others else None)


def verdict(kind, bound, ours, other):
    mine = median(ours)
    if kind == "seconds":
        return f"≤ {seconds(bound)}", mine <= bound
    if kind == "speed":
        return f"≥ {bound} × its speed", median(other) / mine >= bound
    return f"≤ {bound:g} ×", mine <= bound * median(other)


def rows(results):
    for row, what, against, goals in GOALS:
        if row not in results:
            continue
        ours, other = sides(results[row])
        judged = [verdict(kind, bound, ours, other) for kind, bound in goals]
        yield [
            what,
            spread(ours),
            against or "",
            spread(other) if other else "",
            f"{median(ours) / median(other):.4f}" if other else "",
            ", ".join(text for text, _ in judged),
            "yes" if all(met for _, met in judged) else "**no**",
        ]


def table(head, body):
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in body])


def memory(results):
    for row in ("cold", "cold-plain", "limited"):
        if row in results:
            ours, other = sides(results[row])
            peak = max(sample.memory for sample in ours) / 1e6
            theirs = max(sample.memory for sample in other) / 1e6
            yield [row, f"{peak:.0f} MB", f"{theirs:.0f} MB", "≤ 200 MB", "yes" if peak <= 200 else "**no**"]


def show(row, results):
    for name, result in results.items():
        if name.startswith(row.split("-")[0]) or (row == "limits" and name.startswith("limit:")):
            for side, samples in result.items():
                print(f"  {name}: {side} {spread(samples)}; processors {processors(samples)}", file=sys.stderr)


def output(*command):
    return subprocess.run([str(one) for one in command], capture_output=True, text=True, check=True).stdout.strip()


def machine(bench):
    cpu = re.search(r"^model name\s*: (.*)$", open("/proc/cpuinfo").read(), re.MULTILINE)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    kind = output("findmnt", "--noheadings", "--output", "FSTYPE", "--target", bench.work)
    size = sum(path.stat().st_size for path in bench.wheels) / 1e9
    return "\n".join(
        [
            f"- {datetime.date.today().isoformat()}; load before the last row {os.getloadavg()[2]:.1f} (15 minutes)",
            f"- {output(bench.flambeau_program, '--version')}, {output(bench.uv_program, '--version')}, "
            f"{output(bench.python, '--version')}",
            f"- {cpu[1] if cpu else platform.machine()}, {os.cpu_count()} processors, {memory:.0f} GB of memory, "
            f"Linux {platform.release()}, {kind}",
            f"- {len(bench.wheels)} wheels, {size:.2f} GB, from nginx on the loopback; "
            f"`limit_rate {bench.arguments.limit}` where connections are limited",
        ]
    )


def write(path, bench):
    results = bench.results
    head = ["moment", "flambeau", "beside", "other side", "ratio", "goal", "met"]
    parts = [machine(bench), table(head, rows(results))]
    used = [
        [what, processors(sides(results[row])[0]), processors(sides(results[row])[1]) if sides(results[row])[1] else ""]
        for row, what, _, _ in GOALS
        if row in results
    ]
    parts.append(
        "Processor time, user + system, medians:\n\n" + table(["moment", "flambeau", "other side"], used)
    )
    peaks = list(memory(results))
    if peaks:
        parts.append(
            "Largest resident size of any process of a cold build:\n\n"
            + table(["row", "flambeau", "uv", "goal", "met"], peaks)
        )
    limits = [
        [name.removeprefix("limit: "), spread(result["machine"]), processors(result["machine"])]
        for name, result in results.items()
        if name.startswith("limit: ")
    ]
    if limits:
        parts.append("What the machine does:\n\n" + table(["command", "time", "processors"], limits))
    for row, note in bench.notes.items():
        parts.append(f"Not measured: {row}, because {note}.")
    measured = f"{BEGIN}\n" + "\n\n".join(parts) + f"\n{END}"
    text = path.read_text() if path.exists() else f"# Benchmarks\n\n{BEGIN}\n{END}\n"
    text = re.sub(re.escape(BEGIN) + ".*" + re.escape(END), lambda _: measured, text, flags=re.DOTALL)
    path.write_text(text)
