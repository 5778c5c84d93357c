#!/usr/bin/env python3
"""Uses a real torch environment hard, and shows that it stays what it was.

    python3 tests/compare/realuse.py --flambeau target/release/flambeau --cache WARMED --work DIR [--python 3.11]

Not part of the test suite: it needs a cache that holds the wheels of `lockfiles/pylock.pip.toml` for one Python, and a C++
compiler for inductor. In a fresh store it builds the environment, imports every module of every package that lets
itself be imported, trains a small model for some steps, compiles it with `torch.compile` (inductor; its kernels are C++
on the CPU, triton's where there is a GPU), and verifies in full. Exit code 1 where the environment changed.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

IMPORT = r"""
import importlib, os, pkgutil, sys, sysconfig, warnings
warnings.simplefilter("ignore")
sys.stdout = open(os.devnull, "w")
site = sysconfig.get_paths()["purelib"]
done = refused = 0
SKIP = ("__main__", "antigravity", "idlelib", "test_", "conftest", "setup")
for module in pkgutil.walk_packages([site], onerror=lambda name: None):
    if any(part.startswith(SKIP) for part in module.name.split(".")):
        continue
    try:
        importlib.import_module(module.name)
        done += 1
    except BaseException:
        refused += 1
sys.__stdout__.write(f"{done} modules imported, {refused} refused to be\n")
sys.__stdout__.flush()
os._exit(0)
"""

TRAIN = r"""
import torch, torchvision
from torch import nn
device = "cuda" if torch.cuda.is_available() else "cpu"
torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 30 * 30, 10)).to(device)
step = torch.optim.SGD(model.parameters(), lr=0.01)
x, y = torch.randn(4, 3, 32, 32, device=device), torch.tensor([1, 2, 3, 4], device=device)
losses = []
for run in (model, torch.compile(model)):
    for _ in range(5):
        step.zero_grad()
        loss = nn.functional.cross_entropy(run(x), y)
        loss.backward()
        step.step()
        losses.append(loss.item())
boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1.9]])
kept = torchvision.ops.nms(boxes, torch.tensor([1.0, 0.9]), 0.5).tolist()
assert losses[-1] < losses[0] and kept == [0], (losses, kept)
print(f"trained on {device}: loss {losses[0]:.3f} -> {losses[-1]:.3f}, the second half compiled by inductor")
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flambeau", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--store", type=Path, help="default: DIR/store")
    parser.add_argument("--python")
    options = parser.parse_args()
    work = options.work.resolve()
    project = work / "used"
    shutil.rmtree(project, ignore_errors=True)
    (project / "lockfiles").mkdir(parents=True)
    shutil.copy(ROOT / "lockfiles/pylock.pip.toml", project / "lockfiles")
    places = ["--project", project, "--store-dir", (options.store or work / "store").resolve()]
    places += ["--cache-dir", options.cache.resolve()]
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(work / "inductor"), "TRITON_CACHE_DIR": str(work / "triton")}

    def flambeau(*arguments):
        done = subprocess.run([options.flambeau.resolve(), *places, *arguments], text=True, check=False, cwd=work)
        if done.returncode != 0:
            sys.exit(1)

    flags = ("--python", options.python) if options.python else ()
    flambeau("build", "--offline", "--locked", "--channel", "pip", *flags)
    for code in (IMPORT, TRAIN):
        done = subprocess.run([project / ".venv/bin/python", "-c", code], cwd=work, env=environment, check=False)
        if done.returncode != 0:
            sys.exit(1)
    flambeau("verify")


if __name__ == "__main__":
    main()
