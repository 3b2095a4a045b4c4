"""Sends many requests from several clients to a service of its own; prints errors, times and the server's memory.

    python examples/service/load_test.py [MODEL] [--requests 10000 | --minutes 10] [--clients 8]

Memory is read from /proc: Linux alone.
"""

import argparse
import concurrent.futures
import contextlib
import http.client
import io
import json
import pathlib
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

from keras_moe.images import open_photographs

APP = pathlib.Path(__file__).with_name("app.py")


@contextlib.contextmanager
def serving(*arguments):
    """A service on a free port: yields its process, port and log."""
    with tempfile.NamedTemporaryFile("w+") as log:
        process = subprocess.Popen([sys.executable, APP, *arguments, "--port", "0"], stdout=log, stderr=log)
        try:
            yield process, _port(process, log), log
        finally:
            process.terminate()
            process.wait()


def _port(process, log):
    while process.poll() is None:
        found = re.search(r"running on http://127\.0\.0\.1:(\d+)", pathlib.Path(log.name).read_text("utf-8"))
        if found:
            return int(found[1])
        time.sleep(0.1)
    raise RuntimeError(f"The service did not start:\n{pathlib.Path(log.name).read_text('utf-8')}")


def wait_until_ready(port):
    """Returns what /health says in the end."""
    while True:
        _, answer = ask(port, "GET", "/health")
        if answer["status"] != "starting":
            return answer
        time.sleep(0.2)


def ask(port, method, path, body=None, headers=None):
    """Status and JSON of one request."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
        return exchange(connection, method, path, body, headers)


def exchange(connection, method, path, body=None, headers=None):
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def form(*files):
    """Body and headers of a form with files, each ``(file name, bytes)``."""
    boundary = secrets.token_hex(16)
    head = '--{}\r\nContent-Disposition: form-data; name="image"; filename="{}"\r\n\r\n'
    parts = [head.format(boundary, name).encode() + data + b"\r\n" for name, data in files]
    body = b"".join(parts) + f"--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def photographs():
    """Two photographs in three formats, and what is no image: (file name, bytes, the status to be expected)."""
    for name, image in open_photographs().items():
        for kind in ("jpeg", "png", "webp"):
            data = io.BytesIO()
            image.save(data, kind)
            yield f"{name}.{kind}", data.getvalue(), 200
    yield "notes.jpg", b"these are notes", 400


def client(port, files, count, end):
    """Sends ``count`` requests in one connection, none after ``end``; returns their times, and answers other than
    expected."""
    seconds, errors = [], []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for i in range(count):
        if time.monotonic() > end:
            break
        name, data, expected = files[i % len(files)]
        start = time.perf_counter()
        try:
            status, answer = exchange(connection, "POST", "/classify", *form((name, data)))
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            status, answer = 0, repr(error)
        seconds.append(time.perf_counter() - start)
        if status != expected:
            errors.append(f"{name}: {status} {answer}")
    connection.close()
    return seconds, errors


def memory(process):
    """Resident megabytes of a process."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


@contextlib.contextmanager
def watched(process):
    """Yields a list that gets the memory of a process twice a second."""
    found, done = [memory(process)], threading.Event()

    def watch():
        while not done.wait(0.5):
            found.append(memory(process))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
        found.append(memory(process))


def load(port, requests, clients, minutes=float("inf")):
    """Seconds of each request, and errors, of as many clients at once."""
    end = time.monotonic() + 60 * minutes
    files, counts = list(photographs()), [requests // clients + (i < requests % clients) for i in range(clients)]
    with concurrent.futures.ThreadPoolExecutor(clients) as threads:
        results = list(threads.map(lambda count: client(port, files, count, end), counts))
    return [s for seconds, _ in results for s in seconds], [e for _, errors in results for e in errors]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="hydranet_cifar100", metavar="MODEL")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--minutes", type=float, help="as many requests as there is time for")
    parser.add_argument("--clients", type=int, default=8)
    arguments = parser.parse_args()

    with serving(arguments.model) as (process, port, _):
        print(wait_until_ready(port))
        load(port, 20 * arguments.clients, arguments.clients)  # threads and buffers are there after these
        start = time.perf_counter()
        with watched(process) as megabytes:
            if arguments.minutes is None:
                seconds, errors = load(port, arguments.requests, arguments.clients)
            else:
                seconds, errors = load(port, 10**9, arguments.clients, arguments.minutes)
        taken = time.perf_counter() - start
    half, most = 1000 * np.percentile(seconds, [50, 99])
    before, after = megabytes[0], megabytes[-1]
    rate = len(seconds) / taken
    print(f"{len(seconds)} requests of {arguments.clients} clients in {taken:.0f} s: {rate:.1f} a second")
    print(f"median {half:.0f} ms, 99th percentile {most:.0f} ms")
    print(f"errors: {len(errors)}", *errors[:10], sep="\n  ")
    growth = f"{before:.0f} MB before, {after:.0f} MB after ({after - before:+.0f} MB)"
    print(f"memory: {growth}, {max(megabytes):.0f} MB at most")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
