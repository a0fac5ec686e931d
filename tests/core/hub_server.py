"""A stand-in for the Hugging Face Hub."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Hub", "serving"]


class Hub(BaseHTTPRequestHandler):
    """As much of the Hub's interface as one upload and one download take."""

    commits: dict[str, dict[str, bytes]]
    newest: str

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def answer(self, content: bytes = b"{}", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), "Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path.endswith("/api/repos/create"):
            self.answer(json.dumps({"url": "https://huggingface.co/user/camera"}).encode())
        elif self.path.endswith("/api/validate-yaml"):
            self.answer(json.dumps({"errors": [], "warnings": []}).encode())
        elif "/preupload/" in self.path:
            names = [each["path"] for each in json.loads(body)["files"]]
            files = [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
            self.answer(json.dumps({"files": files}).encode())
        elif "/commit/" in self.path:
            lines = [json.loads(line)["value"] for line in body.splitlines() if json.loads(line)["key"] == "file"]
            files = {line["path"]: base64.b64decode(line["content"]) for line in lines}
            oid = hashlib.sha1(body, usedforsecurity=False).hexdigest()
            type(self).commits[oid], type(self).newest = files, oid
            url = f"https://huggingface.co/user/camera/commit/{oid}"
            self.answer(json.dumps({"success": True, "commitOid": oid, "commitUrl": url}).encode())
        else:
            self.answer(status=404)

    def do_GET(self) -> None:
        parts = self.path.strip("/").split("?")[0].split("/")
        revision = parts[parts.index("resolve") + 1] if "resolve" in parts else ""
        oid = self.newest if revision == "main" else revision
        content = self.commits.get(oid, {}).get(parts[-1])
        if content is None or parts[0] != "user":
            self.answer(status=404, X_Error_Code="RevisionNotFound", X_Error_Message="no such revision")
        else:
            tag = hashlib.sha1(content, usedforsecurity=False).hexdigest()
            self.answer(content, ETag=f'"{tag}"', X_Repo_Commit=oid)

    def do_HEAD(self) -> None:
        self.do_GET()


@contextmanager
def serving() -> Iterator[tuple[type[Hub], str]]:
    """A hub of its own, and its address."""
    handler = type("OneHub", (Hub,), {"commits": {}, "newest": ""})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield handler, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
