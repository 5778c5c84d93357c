#!/usr/bin/env python3
"""Seeds for the fuzz targets, from the fixtures and the hostile corpus.

    FLAMBEAU_CORPUS=/tmp/corpus cargo nextest run --run-ignored only write_the_corpus
    python3 fuzz/seeds.py /tmp/corpus /tmp/seeds
    cargo fuzz run --sanitizer none wheel /tmp/seeds/wheel -- -max_total_time=600
"""

import pathlib
import sys
import zipfile

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main():
    corpus, out = map(pathlib.Path, sys.argv[1:])
    seeds = {name: [] for name in ("wheel", "record", "metadata", "entry_points", "index_page", "lockfile", "names")}
    for wheel in sorted(corpus.glob("*/*/*.whl")):
        # Four zero bytes choose raw bytes.
        if wheel.stat().st_size < 1 << 16:
            seeds["wheel"].append(b"\0\0\0\0" + wheel.read_bytes())
        seeds["names"].append(wheel.name.encode())
        try:
            archive = zipfile.ZipFile(wheel)
            for member in archive.namelist():
                for target, name in (("record", "RECORD"), ("metadata", "METADATA"), ("entry_points", "entry_points.txt")):
                    if member.endswith(".dist-info/" + name):
                        seeds[target].append(archive.read(member))
        except Exception:
            pass  # Broken on purpose.
    foreign = ROOT / "tests/fixtures/foreign"
    for form, pattern in ((0, "*.toml"), (1, "*.txt"), (2, "*.lock")):
        for path in foreign.glob(pattern):
            seeds["lockfile"].append(bytes([form]) + path.read_bytes())
    for path in ROOT.glob("lockfiles/pylock.*.toml"):
        seeds["lockfile"].append(b"\0" + path.read_bytes()[:20000])
    for path in foreign.iterdir():
        seeds["names"] += [line.strip().encode() for line in path.read_text().splitlines()[:60]]
    seeds["names"] += [
        b"torch-2.7.0+cu118-cp311-cp311-manylinux_2_28_x86_64.whl",
        b"cp311-manylinux_2_28_x86_64",
        b">=3.9,!=3.10.*",
        b"a[b,c]>=1; python_version < '3.12' and extra == 'x'",
        b"1!2.0a1.post2.dev3+local.4",
    ]
    digest = "0" * 64
    seeds["index_page"] += [
        b"\0<!DOCTYPE html><html><head><meta name='pypi:repository-version' content='1.0'><base href='../files/'>"
        b"</head><body><a href='demo-1.0-py3-none-any.whl#sha256=" + digest.encode() + b"' data-requires-python="
        b"'&gt;=3.9' data-yanked='why' data-core-metadata='sha256=" + digest.encode() + b"'>demo</a></body></html>",
        b'\1{"meta":{"api-version":"1.1"},"name":"demo","files":[{"filename":"demo-1.0-py3-none-any.whl","url":'
        b'"https://files.example/demo-1.0-py3-none-any.whl","hashes":{"sha256":"' + digest.encode() + b'"},'
        b'"requires-python":">=3.9","size":1,"yanked":false,"core-metadata":true,"upload-time":"2024-01-01T00:00:00Z"}]}',
    ]
    for target, bodies in seeds.items():
        folder = out / target
        folder.mkdir(parents=True, exist_ok=True)
        for at, body in enumerate(bodies):
            (folder / f"seed{at:04}").write_bytes(body)
        print(f"{target}: {len(bodies)}")


if __name__ == "__main__":
    main()
