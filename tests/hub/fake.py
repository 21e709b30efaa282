"""A hub on this machine: the few endpoints of the Hugging Face hub that sending and fetching need.

Repositories are kept in memory, a commit is a number, files over a size go the way of large files (asked for in a
batch, then put), and only who brings the token may write or see what is private.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_of_the_test"
LARGE = 100_000


@dataclass
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: int = 0

    @property
    def sha(self) -> str:
        return hashlib.sha1(str(self.commits).encode()).hexdigest()


class Hub:
    """What is there (`repositories`, by kind and name), and what was asked (`asked`)."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Repository] = {}
        self.large: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                path = unquote(urlsplit(self.path).path)
                hub.asked.append((self.command, path))
                known = self.headers.get("Authorization") == f"Bearer {TOKEN}"
                status, headers, content = hub.answer(self.command, path, body, known)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(content)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_POST = do_PUT = handle_any

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def answer(self, verb: str, path: str, body: bytes, known: bool) -> tuple[int, dict[str, str], bytes]:
        if verb == "PUT" and (found := re.fullmatch(r"/put/(\w+)", path)):
            assert hashlib.sha256(body).hexdigest() == found[1]
            self.large[found[1]] = body
            return 200, {}, b""
        if (verb, path) == ("POST", "/api/repos/create"):
            return self._create(json.loads(body), known)
        if (verb, path) == ("POST", "/api/validate-yaml"):
            front = json.loads(body)["content"].split("---\n")[1]
            wrong = [] if isinstance(yaml.safe_load(front), dict) else [{"message": "the card's head is no mapping"}]
            return _json(200, {"errors": wrong, "warnings": []})
        if found := re.fullmatch(r"/(datasets/)?([\w-]+/[\w-]+)\.git/info/lfs/objects/batch", path):
            return _json(200, self._batch(json.loads(body)))
        if found := re.fullmatch(r"/api/(model|dataset)s/([\w-]+/[\w-]+)(?:/(.*))?", path):
            return self._api(verb, found[1], found[2], found[3] or "", body, known)
        if found := re.fullmatch(r"/(datasets/)?([\w-]+/[\w-]+)/resolve/[^/]+/(.+)", path):
            return self._file("dataset" if found[1] else "model", found[2], found[3], known)
        return _json(404, {"error": f"the test's hub has no {verb} {path}"})

    def _create(self, asked: dict[str, Any], known: bool) -> tuple[int, dict[str, str], bytes]:
        if not known:
            return _json(401, {"error": "Invalid username or password."})
        owner = asked.get("organization") or "ann"
        name = f"{owner}/{asked['name'].rpartition('/')[2]}"
        key = (asked.get("type") or "model", name)
        if key in self.repositories:
            return _json(409, {"error": "You already created this repository", "url": f"{self.address}/{name}"})
        self.repositories[key] = Repository(
            private=asked.get("visibility") == "private" or bool(asked.get("private"))  # by the client's version
        )
        return _json(200, {"url": f"{self.address}/{name}", "name": name, "id": name})

    def _batch(self, asked: dict[str, Any]) -> dict[str, Any]:
        objects = [
            {
                "oid": each["oid"], "size": each["size"],
                "actions": {"upload": {"href": f"{self.address}/put/{each['oid']}", "header": {}}},
            }
            for each in asked["objects"]
        ]  # fmt: skip
        return {"transfer": "basic", "objects": objects}

    def _found(self, kind: str, name: str, known: bool) -> Repository | None:
        found = self.repositories.get((kind, name))
        return found if found is not None and (known or not found.private) else None

    def _api(
        self, verb: str, kind: str, name: str, rest: str, body: bytes, known: bool
    ) -> tuple[int, dict[str, str], bytes]:
        repository = self._found(kind, name, known)
        if repository is None:
            return _missing()
        what = rest.partition("/")[0]
        if verb == "GET" and what in ("", "revision"):
            siblings = [{"rfilename": file} for file in repository.files]
            told = {"id": name, "sha": repository.sha, "private": repository.private, "siblings": siblings, "tags": []}
            return _json(200, told)
        if verb == "GET" and what == "tree":
            tree = [
                {"type": "file", "oid": hashlib.sha1(data).hexdigest(), "size": len(data), "path": file}
                for file, data in repository.files.items()
            ]
            return _json(200, tree)
        if verb == "POST" and known and what == "preupload":
            asked = json.loads(body)["files"]
            ways = ["lfs" if each["size"] > LARGE else "regular" for each in asked]
            files = [
                {"path": each["path"], "uploadMode": way, "shouldIgnore": False}
                for each, way in zip(asked, ways, strict=True)
            ]
            return _json(200, {"files": files})
        if verb == "POST" and known and what == "commit":
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "file":
                    repository.files[value["path"]] = base64.b64decode(value["content"])
                elif line["key"] == "lfsFile":
                    repository.files[value["path"]] = self.large[value["oid"]]
            repository.commits += 1
            address = f"{self.address}/{name}/commit/{repository.sha}"
            return _json(200, {"success": True, "commitOid": repository.sha, "commitUrl": address})
        return _json(403, {"error": "not for you"})

    def _file(self, kind: str, name: str, file: str, known: bool) -> tuple[int, dict[str, str], bytes]:
        repository = self._found(kind, name, known)
        if repository is None:
            return _missing()
        if file not in repository.files:
            return _json(404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"})
        data = repository.files[file]
        etag = f'"{hashlib.sha256(data).hexdigest()}"'
        return 200, {"ETag": etag, "X-Repo-Commit": repository.sha, "Accept-Ranges": "bytes"}, data


def _json(status: int, told: object, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    return status, {"Content-Type": "application/json", **(headers or {})}, json.dumps(told).encode()


def _missing() -> tuple[int, dict[str, str], bytes]:
    return _json(401, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
