"""A file, what it is mistaken for, and a server of this machine that sends it."""

import http.server
import threading
import time

from keras_moe.zoo.writing import pin

DATA = bytes(range(256)) * 4
FILE = pin("weights.safetensors", DATA)
URL = "/tiny/weights.safetensors"
BAD = {
    "truncated": DATA[:-1],
    "longer": DATA + b"\0",
    "much longer": DATA * 1000,
    "empty": b"",
    "page": b"<!doctype html><title>Please sign in</title>",
    **{f"bit {7 * i} flipped": DATA[:i] + bytes([DATA[i] ^ 1 << (i % 8)]) + DATA[i + 1 :] for i in range(0, 1024, 73)},
}


class Server(http.server.ThreadingHTTPServer):
    """Answers ``path -> (status, headers, body)``, counts what it is asked and may hold back half of an answer."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = {URL: (200, {}, DATA)}
        self.asked = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        status, headers, body = self.server.answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body[: len(body) // 2])
            self.server.go_on.wait(20)
            self.wfile.write(body[len(body) // 2 :])
        except OSError:
            pass  # the client hung up, as it should on an answer that is too long

    def log_message(self, *args):
        pass


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def files_below(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def wait_until(holds):
    deadline = time.monotonic() + 60
    while not holds() and time.monotonic() < deadline:
        time.sleep(0.02)
