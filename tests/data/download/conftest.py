"""A web server on this machine that does all that real ones do to a download."""

import gzip
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import nibabel as nib
import numpy as np
import pytest

from kidney_lab.data.download.http import Patience, new_session


@dataclass
class Request:
    """What was asked, and how many bytes of a file were sent for it."""

    method: str
    path: str
    start: int | None
    headers: dict
    sent: int = 0


@dataclass
class Server:
    """Serves `files`; the faults of a path are used up by one GET each (those of `head:<path>` by HEAD)."""

    files: dict = field(default_factory=dict)
    faults: dict = field(default_factory=dict)
    ranges: bool = True
    etags: bool = True
    requests: list = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def of(self, path, method="GET"):
        return [request for request in self.requests if (request.method, request.path) == (method, path)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def served(self):
        return self.server.served

    def log_message(self, *_):
        """Says nothing."""

    def do_HEAD(self):
        self.answer("HEAD")

    def do_GET(self):
        self.answer("GET")

    def answer(self, method):
        path = self.path
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        self.request_record = Request(method, path, int(match[1]) if match else None, dict(self.headers))
        self.served.requests.append(self.request_record)
        waiting = self.served.faults.get(path if method == "GET" else f"head:{path}", [])
        fault = waiting.pop(0) if waiting else "none"
        name, _, argument = fault.partition(" ")
        if name.isdigit():
            headers = dict(pair.split("=") for pair in argument.split())
            return self.send(int(name), b"sorry", headers)
        if name == "html":
            return self.send(200, b"<!DOCTYPE html><html>Sign in</html>", {})
        if name == "redirect":
            return self.send(302, b"", {"Location": f"{self.served.url}{argument}", "X-Linked-Size": "123"})
        if path.partition("?")[0] not in self.served.files:
            return self.send(404, b"none", {})
        return self.give(method, self.served.files[path.partition("?")[0]], name)

    def give(self, method, body, fault):
        headers = {"ETag": f'"{hashlib.md5(body).hexdigest()}"'} if self.served.etags else {}
        start = self.request_record.start if self.served.ranges else None
        if start is not None and start >= len(body):
            return self.send(416, b"", {"Content-Range": f"bytes */{len(body)}"})
        if fault == "short":
            body = body[: len(body) // 2]
        if start is not None:
            headers["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
        rest = body[start or 0 :]
        self.send_response(200 if start is None else 206)
        for key, value in {**headers, "Content-Length": str(len(rest))}.items():
            self.send_header(key, value)
        self.end_headers()
        if method == "GET":
            self.write(rest, fault)

    def write(self, rest, fault):
        whole = fault not in ("drop", "stall")
        part = rest if whole else rest[: int(len(rest) * 0.6)]
        self.request_record.sent = len(part)
        self.wfile.write(part)
        self.wfile.flush()
        if fault == "stall":
            self.served.closing.wait(20)
        self.close_connection = not whole

    def send(self, status, body, headers):
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def server():
    """A running server without files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        running.daemon_threads = True
        running.served = Server(url=f"http://127.0.0.1:{running.server_port}")
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running.served
        running.served.closing.set()
        running.shutdown()


@pytest.fixture
def session():
    """Connections past any proxy of the machine."""
    with new_session(4) as connections:
        connections.trust_env = False
        yield connections


@pytest.fixture
def patience():
    """Four attempts, quickly after one another."""
    return Patience(attempts=4, timeout=0.3, pause=0.001)


@pytest.fixture(scope="session")
def scan():
    """A NIfTI file of noise, which gzip cannot shrink: about 1.7 MB."""
    noise = np.random.default_rng(0).integers(-30000, 30000, (96, 96, 96), np.int16)
    return gzip.compress(nib.Nifti1Image(noise, np.eye(4)).to_bytes(), compresslevel=1)


@pytest.fixture(scope="session")
def other_scan():
    """Another NIfTI file, of about the same size."""
    noise = np.random.default_rng(1).integers(-30000, 30000, (96, 96, 96), np.int16)
    return gzip.compress(nib.Nifti1Image(noise, np.eye(4)).to_bytes(), compresslevel=1)


@pytest.fixture(scope="session")
def mask():
    """A small segmentation."""
    return gzip.compress(nib.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4)).to_bytes())


@pytest.fixture
def challenge(server, scan, mask):
    """The server gives out three cases as the challenges do; returns the mapping of `conf/data/source`."""
    server.files["/references/kits.json"] = json.dumps([{"case_id": "case_00000"}]).encode()
    for number in range(3):
        server.files[f"/images/case_{number:05d}.nii.gz"] = scan
        server.files[f"/references/case_{number:05d}/segmentation.nii.gz"] = mask
    return {
        "_target_": "kidney_lab.data.download.Source",
        "name": "kits23",
        "cases": "0-2",
        "images": f"{server.url}/images",
        "references": f"{server.url}/references",
        "label_file": "segmentation.nii.gz",
        "clinical_file": "kits.json",
    }
