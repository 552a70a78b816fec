"""A hub on loopback: the parts of its interface that the hub's library asks for, with faults on demand."""

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Generator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
API = re.compile(
    r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)/(?P<what>revision|tree)/(?P<revision>[^/]+)(?P<path>/.*)?"
)
FILE = re.compile(r"(?:/datasets)?/(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass
class Hub:
    """One repository with branch main and one commit. Large files are those of LFS, as safetensors are.

    token: what a gated repository asks for; cut: bytes after which the next transfers of more.safetensors break off, one a value;
    damaged: names of files that are served with a byte changed. asked: every request that came, as "GET path";
    ranges: what parts of files were asked for.
    """

    files: dict[str, bytes]
    repository: str = "someone/tiny"
    token: str | None = None
    cut: list[int] = field(default_factory=list)
    damaged: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)
    address: str = ""

    def listed(self) -> list[dict]:
        found = []
        for path, content in self.files.items():
            git = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            entry = {"type": "file", "path": path, "size": len(content), "oid": git}
            if path.endswith(".safetensors"):
                large = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 134}
                entry |= {"oid": "0" * 40, "lfs": large}
            found.append(entry)
        return found


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *arguments):
        self.hub.asked.append(f"{self.command} {unquote(urlsplit(self.path).path)}")

    def refuse(self, status: int, code: str) -> None:
        self.answer(status, json.dumps({"error": code}).encode(), {"X-Error-Code": code, "X-Error-Message": code})

    def answer(self, status: int, content: bytes, headers: dict[str, str], sent: int | None = None) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:sent])
        if sent is not None:
            self.close_connection = True

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        api, file = API.fullmatch(path), FILE.fullmatch(path)
        found = api or file
        if found is None or found["name"] != self.hub.repository:
            self.refuse(401, "RepoNotFound")
        elif found["revision"] not in ("main", COMMIT):
            self.refuse(404, "RevisionNotFound")
        elif api:
            listed = self.hub.listed()
            content = self.described(listed) if api["what"] == "revision" else listed
            self.answer(200, json.dumps(content).encode(), {"Content-Type": "application/json"})
        else:
            self.serve(file["path"])

    def described(self, listed: list[dict]) -> dict:
        siblings = [{"rfilename": entry["path"]} for entry in listed]
        return {"_id": "0", "id": self.hub.repository, "sha": COMMIT, "private": False, "tags": [], "siblings": siblings}

    def serve(self, path: str) -> None:
        if self.hub.token is not None and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            self.refuse(403 if "Authorization" in self.headers else 401, "GatedRepo")
            return
        if path not in self.hub.files:
            self.refuse(404, "EntryNotFound")
            return
        content = self.hub.files[path]
        (entry,) = [entry for entry in self.hub.listed() if entry["path"] == path]
        if path in self.hub.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        headers = {"ETag": f'"{entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]}"', "X-Repo-Commit": COMMIT}
        headers["Accept-Ranges"] = "bytes"
        status = 200
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            self.hub.ranges.append(asked[0])
            first, last = int(asked[1]), int(asked[2] or len(content) - 1)
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            content, status = content[first : last + 1], 206
        breaks = self.command == "GET" and path == "more.safetensors" and self.hub.cut
        self.answer(status, content, headers, self.hub.cut.pop(0) if breaks else None)


@contextlib.contextmanager
def serving(folder: Path) -> Generator[Hub, None, None]:
    """Within the block, a hub with a folder's files; put its `address` into HF_ENDPOINT."""
    hub = Hub({path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()})
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
