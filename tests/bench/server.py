"""The package index of the benchmark: static pages, served by nginx on the loopback.

`/simple/` has every wheel with its digest and its metadata (PEP 691, 658); `/whl/cpu/` has the CPU variants of torch and
torchvision. A second port has the same with a limit for each connection.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

CONFIGURATION = """
worker_processes 2;
daemon off;
pid {root}/nginx.pid;
error_log {root}/error.log;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_timeout 75;
    keepalive_requests 100000;
    client_body_temp_path {root}/t1; proxy_temp_path {root}/t2; fastcgi_temp_path {root}/t3;
    uwsgi_temp_path {root}/t4; scgi_temp_path {root}/t5;
    types {{ application/vnd.pypi.simple.v1+json json; }}
    index index.json;
    default_type application/octet-stream;
    server {{ listen 127.0.0.1:{fast}; root {root}/www; }}
    server {{ listen 127.0.0.1:{slow}; root {root}/www; limit_rate {limit}; }}
}}
"""


def normalised(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def metadata(wheel):
    with zipfile.ZipFile(wheel) as archive:
        name = next(one for one in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", one))
        return archive.read(name)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Index:
    """Pages and wheels under `root`; used as a context it serves them."""

    def __init__(self, root, limit):
        self.root = Path(root)
        self.limit = limit
        self.root.mkdir(parents=True, exist_ok=True)
        # The same at every run in one folder: uv's cache knows wheels by their addresses.
        ports = self.root / "ports"
        if not ports.exists():
            ports.write_text(f"{free_port()} {free_port()}")
        self.fast, self.slow = map(int, ports.read_text().split())
        self.process = None

    def add(self, channel, wheels):
        """Puts wheels (path and SHA-256) on the pages below `channel`: "simple" or "whl/cpu"."""
        files = self.root / "www/files"
        files.mkdir(parents=True, exist_ok=True)
        pages = {}
        for path, digest in wheels:
            served = files / path.name
            served.unlink(missing_ok=True)
            try:
                os.link(path, served)
            except OSError:
                shutil.copy(path, served)
            text = metadata(path)
            (files / f"{path.name}.metadata").write_bytes(text)
            entry = {
                "filename": path.name,
                "url": f"/files/{path.name}",
                "hashes": {"sha256": digest},
                "size": path.stat().st_size,
                "core-metadata": {"sha256": hashlib.sha256(text).hexdigest()},
            }
            pages.setdefault(normalised(path.name.split("-")[0]), []).append(entry)
        for name, entries in pages.items():
            page = self.root / "www" / channel / name
            page.mkdir(parents=True, exist_ok=True)
            document = {"meta": {"api-version": "1.1"}, "name": name, "files": entries}
            (page / "index.json").write_text(json.dumps(document))

    def __enter__(self):
        nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
        if nginx is None:
            sys.exit("nginx is needed (Debian: apt-get install nginx-light)")
        settings = CONFIGURATION.format(root=self.root, fast=self.fast, slow=self.slow, limit=self.limit)
        if os.geteuid() == 0:
            # Workers would be another user, who need not be able to read what lies here.
            settings = "user root;\n" + settings
        configuration = self.root / "nginx.conf"
        configuration.write_text(settings)
        self.process = subprocess.Popen([nginx, "-p", str(self.root), "-c", str(configuration)])
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.fast}/simple/torch/").read()
                return self
            except OSError:
                time.sleep(0.05)
        sys.exit(f"nginx does not answer; see {self.root}/error.log")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def url(self, channel, slow=False):
        return f"http://127.0.0.1:{self.slow if slow else self.fast}/{channel}/"


def cpu_variant(source, folder):
    """A wheel as the CPU channel has it, made of the one for CUDA: `+cpu`, without CUDA's libraries and requirements.

    Only names and sizes matter to what is measured; the real one is on another server, which this benchmark does
    without.
    """
    package, version, *tags = source.name.split("-")
    target = Path(folder) / "-".join([package, f"{version}+cpu", *tags])
    if target.exists():
        return target
    old, new = f"{package}-{version}.dist-info", f"{package}-{version}+cpu.dist-info"
    dropped = re.compile(r"(cuda|cudart|nvrtc|cusparse|c10_cuda|nvshmem)[^/]*\.so|torch/include/.*cuda", re.IGNORECASE)
    temporary = target.with_suffix(".part")
    with zipfile.ZipFile(source) as reader, zipfile.ZipFile(temporary, "w", compresslevel=1) as writer:
        kept = [member for member in reader.infolist() if not dropped.search(member.filename)]
        for member in kept:
            name = member.filename.replace(old, new, 1)
            if name.endswith((".dist-info/METADATA", ".dist-info/RECORD")) and name.startswith(new):
                continue
            info = zipfile.ZipInfo(name, member.date_time)
            info.external_attr, info.compress_type = member.external_attr, zipfile.ZIP_DEFLATED
            with reader.open(member) as data, writer.open(info, "w", force_zip64=True) as out:
                shutil.copyfileobj(data, out, 1 << 20)
        text = reader.read(f"{old}/METADATA").decode()
        text = re.sub(r"^Version: .*$", f"Version: {version}+cpu", text, count=1, flags=re.MULTILINE)
        text = re.sub(r"^Requires-Dist: (nvidia|triton).*\n", "", text, flags=re.MULTILINE)
        writer.writestr(f"{new}/METADATA", text)
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        rows = [row for row in reader.read(f"{old}/RECORD").decode().splitlines() if not dropped.search(row)]
        rows = [row for row in rows if not row.startswith((f"{old}/METADATA,", f"{old}/RECORD,"))]
        rows = [row.replace(old, new, 1) for row in rows] + [
            f"{new}/METADATA,sha256={digest},{len(text.encode())}",
            f"{new}/RECORD,,",
        ]
        writer.writestr(f"{new}/RECORD", "\n".join(rows) + "\n")
    temporary.rename(target)
    return target
