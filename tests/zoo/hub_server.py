"""As much of the Hugging Face Hub as ``huggingface_hub`` asks for to read and to publish a model."""

import base64
import hashlib
import http.server
import json
import threading
import urllib.parse


class HubServer(http.server.ThreadingHTTPServer):
    """``commits``: repository -> list of (hash, {file name -> bytes}), the newest last."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.commits, self.asked, self.refuses = {}, [], False
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, repo, files):
        """Adds a commit with ``files``; returns its hash."""
        commits = self.commits.setdefault(repo, [])
        digest = hashlib.sha1(f"{repo} {len(commits)}".encode()).hexdigest()
        commits.append((digest, files))
        return digest

    def find(self, repo, revision):
        """The commit that a revision means, ``(hash, files)``; None if there is none."""
        commits = self.commits.get(repo, [])
        named = {"main": commits[-1:], **{digest: [(digest, files)] for digest, files in commits}}
        return next(iter(named.get(revision, [])), None)


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.asked.append((self.command, self.path))
        user, name, _, revision, file = urllib.parse.unquote(self.path).lstrip("/").split("/", 4)
        found = self.server.find(f"{user}/{name}", revision)
        if f"{user}/{name}" not in self.server.commits:
            return self._answer(401, b"", {"X-Error-Code": "RepoNotFound"})
        if found is None:
            return self._answer(404, b"", {"X-Error-Code": "RevisionNotFound"})
        digest, files = found
        if file not in files:
            return self._answer(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": digest})
        etag = hashlib.sha1(files[file]).hexdigest()
        return self._answer(200, files[file], {"X-Repo-Commit": digest, "ETag": f'"{etag}"'})

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((self.command, self.path))
        if self.server.refuses:
            return self._answer(403, b'{"error": "no"}')
        if self.path == "/api/repos/create":
            made = json.loads(body)
            self.server.commits.setdefault(f"{made['organization']}/{made['name']}", [])
            return self._json({"url": f"{self.server.url}/{made['organization']}/{made['name']}"})
        if self.path == "/api/validate-yaml":
            return self._json({"errors": [], "warnings": []})
        repo = "/".join(self.path.split("/")[3:5])
        if "/preupload/" in self.path:
            files = json.loads(body)["files"]
            modes = [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False, "oid": None} for f in files]
            return self._json({"files": modes})
        lines = [json.loads(line) for line in body.splitlines()]
        added = {
            line["value"]["path"]: base64.b64decode(line["value"]["content"]) for line in lines if line["key"] == "file"
        }
        before = self.server.find(repo, "main")
        digest = self.server.commit(repo, {**(before[1] if before else {}), **added})
        return self._json({"commitUrl": f"{self.server.url}/{repo}/commit/{digest}", "commitOid": digest})

    def _json(self, value):
        return self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, code, body, headers=()):
        self.send_response(code)
        for key, value in dict(headers).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments):
        """Says nothing."""
