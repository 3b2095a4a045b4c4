"""The web service of examples/service over HTTP: it predicts as `keras-moe predict` does, and nothing breaks it."""

import concurrent.futures
import contextlib
import http.client
import io
import json
import pathlib
import socket
import sys
import zlib

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_sample_images

pytest.importorskip("fastapi", reason="needs the extra `service`")
pytest.importorskip("python_multipart", reason="needs the extra `service`")
pytestmark = [pytest.mark.once, pytest.mark.xdist_group("service")]

EXAMPLE = pathlib.Path(__file__).parents[2] / "examples" / "service"
sys.path.insert(0, str(EXAMPLE))
import app  # noqa: E402
import load_test  # noqa: E402
from load_test import ask, form  # noqa: E402

import keras_moe_cli  # noqa: E402

sys.path.remove(str(EXAMPLE))

CHINA = pathlib.Path(next(name for name in load_sample_images().filenames if name.endswith("china.jpg")))
MODEL = "test_hydranet"
MOST_BYTES, MOST_PIXELS, SECONDS = 3_000_000, 1_000_000, 2
LIMITS = ("--max-megabytes", "3", "--max-megapixels", "1", "--upload-seconds", "2", "--top", "3")


@pytest.fixture(scope="module")
def port():
    """A running service; at the end its log must hold no traceback."""
    with load_test.serving(MODEL, *LIMITS) as (process, port, log):
        assert load_test.wait_until_ready(port)["status"] == "ready"
        yield port
        assert process.poll() is None, "it still runs"
        text = pathlib.Path(log.name).read_text("utf-8")
        assert "Traceback" not in text, text


def classified(port, *files):
    return ask(port, "POST", "/classify", *form(*files))


def encoded(image, kind="png", **options):
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def digit(mode="L"):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4))
    return Image.fromarray(pixels.astype("uint8")).convert(mode)


def turned():
    exif = Image.Exif()
    exif[0x112] = 6
    return encoded(digit("RGB"), "jpeg", exif=exif)


def animation():
    return encoded(digit(), "gif", save_all=True, append_images=[Image.new("L", (30, 20), i) for i in (9, 99)])


GOOD = {
    "photograph": CHINA.read_bytes(),
    "grey": encoded(digit()),
    "alpha": encoded(digit("RGBA")),
    "cmyk": encoded(digit("CMYK"), "jpeg"),
    "palette": encoded(digit("RGB").convert("P")),
    "16 bits": encoded(Image.fromarray(np.arange(600, dtype="uint16").reshape(20, 30) * 100)),
    "turned": turned(),
    "webp": encoded(digit("RGB"), "webp"),
    "animation": animation(),
    "one pixel": encoded(Image.new("RGB", (1, 1))),
}


@pytest.mark.parametrize("name", GOOD)
def test_answers_as_the_command_does(port, name, tmp_path, capsys):
    (tmp_path / "photo").write_bytes(GOOD[name])
    status, found = classified(port, ("photo", GOOD[name]))
    assert status == 200, found
    assert keras_moe_cli.main(["predict", MODEL, str(tmp_path / "photo"), "--top", "3", "--json"]) == 0
    (expected,) = json.loads(capsys.readouterr().out)
    assert found.pop("latency_ms") > 0
    assert [label for label, _ in found["top"]] == [label for label, _ in expected["top"]]
    np.testing.assert_allclose([p for _, p in found["top"]], [p for _, p in expected["top"]], atol=1e-5)
    assert found["route"] == pytest.approx(expected["route"], abs=1e-5)
    assert found["macs_executed"] == expected["macs_executed"] < found["macs_total"] == expected["macs_total"]
    assert set(found) == {"top", "route", "macs_executed", "macs_total"}


def bomb():
    """A header of 100 megapixels, and nothing that could be decoded: refused by the header alone."""
    png = bytearray(encoded(Image.new("1", (8, 8))))
    png[16:24] = (10_000).to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    return bytes(png)


BAD = {
    "empty": (b"", 400, "an empty file"),
    "text": (b"these are notes", 400, "not an image"),
    "html": (b"<!doctype html><script>alert(1)</script>", 400, "not an image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', 400, "not an image"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 400, "not an image"),
    "pdf": (b"%PDF-1.7\n", 400, "not an image"),
    "cut jpeg": (CHINA.read_bytes()[:9000], 400, "damaged or cut off"),
    "cut png": (encoded(digit())[:-300], 400, "damaged or cut off"),
    "only a header": (b"\x89PNG\r\n\x1a\n", 400, "image"),
    "not finite": (encoded(Image.new("F", (4, 4), float("nan")), "tiff"), 400, "NaN or infinite"),
    "bomb": (bomb(), 413, "10000 x 10000 pixels; at most 1,000,000"),
    "wide": (encoded(Image.new("1", (1001, 1000))), 413, "1001 x 1000 pixels"),
    "bytes": (bytes(MOST_BYTES + 1), 413, "at most 3 MB. Received: 3.0 MB"),
    "many bytes": (bytes(20 * MOST_BYTES), 413, "Received: 60.0 MB"),
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_with_a_reason(port, name):
    data, status, reason = BAD[name]
    found, answer = classified(port, (f"{name}.jpg", data))
    assert (found, reason in answer["detail"]) == (status, True), answer


@pytest.mark.parametrize(
    "data", [b"\xff\xd8\xff\xe0", *(encoded(digit("RGB"), k) for k in ("png", "jpeg", "webp", "gif"))]
)
def test_bytes_turned_over_are_answered(port, data):
    """Whatever a damaged file decodes to, the answer is a picture's or a refusal."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        damaged = bytearray(data)
        for i in rng.integers(0, len(data), 5):
            damaged[i] = rng.integers(256)
        status, answer = classified(port, ("damaged.jpg", bytes(damaged)))
        assert status in (200, 400, 413), answer


@pytest.mark.parametrize("name", ["猫 и кошка.jpg", 'a"b.jpg', "../../etc/passwd", "x" * 3000 + ".jpg", ""])
def test_any_file_name(port, name):
    assert classified(port, (name.replace('"', "%22"), GOOD["grey"]))[0] == 200


def test_one_file_is_taken(port):
    for files, received in ([(), "none"], [(("a", GOOD["grey"]), ("b", GOOD["grey"])), "2"]):
        status, answer = classified(port, *files)
        assert (status, answer["detail"]) == (400, f"Expected one file. Received: {received}.")
    many = [(str(i), b"a") for i in range(50)]
    assert classified(port, *many)[0] == 400


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (GOOD["grey"], "image/png", 415),
        (b"", None, 415),
        (b"{}", "application/json", 415),
        (b"image=cat.jpg", "application/x-www-form-urlencoded", 415),
        (b"no form", "multipart/form-data", 400),  # no boundary
        (b"no form", "multipart/form-data; boundary=b", 400),
        (form(("a", GOOD["grey"]))[0][:-90], "multipart/form-data; boundary=b", 400),
        (
            b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\ncat.jpg\r\n--b--\r\n',
            "multipart/form-data; boundary=b",
            400,
        ),
    ],
    ids=["an image", "nothing", "JSON", "a form in an address", "no boundary", "no parts", "a part cut off", "no file"],
)
def test_another_body(port, body, kind, status):
    found, answer = ask(port, "POST", "/classify", body, {"Content-Type": kind} if kind else {})
    assert found == status, answer
    assert answer["detail"].startswith("Expected ")


def test_chunks_without_a_length(port):
    body, headers = form(("china.jpg", GOOD["photograph"]))
    pieces = (body[i : i + 9999] for i in range(0, len(body), 9999))
    assert ask(port, "POST", "/classify", pieces, headers)[0] == 200
    body, headers = form(("large.jpg", bytes(MOST_BYTES + 1)))
    pieces = (body[i : i + 99_999] for i in range(0, len(body), 99_999))
    assert ask(port, "POST", "/classify", pieces, headers)[0] == 413


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/classify", 405), ("PUT", "/classify", 405), ("GET", "/no", 404)]
)
def test_another_method_or_place(port, method, path, status):
    found, answer = ask(port, method, path)
    assert (found, bool(answer["detail"])) == (status, True)


def head_of(body, headers):
    """The head of a request, as a client sends it that may not send all of its body."""
    lines = ["POST /classify HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *map(": ".join, headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def test_a_slow_upload_is_ended_and_keeps_nobody_waiting(port):
    body, headers = form(("china.jpg", GOOD["photograph"]))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as slow:
        slow.sendall(head_of(body, headers) + body[:1000])
        assert classified(port, ("grey.png", GOOD["grey"]))[0] == 200
        response = http.client.HTTPResponse(slow)
        response.begin()
        assert (response.status, json.loads(response.read())["detail"]) == (
            408,
            "The upload took longer than 2.0 seconds.",
        )


def test_clients_that_leave(port):
    body, headers = form(("china.jpg", GOOD["photograph"]))
    for sent in (body[:1000], body):
        with socket.create_connection(("127.0.0.1", port)) as gone:
            gone.sendall(head_of(body, headers) + sent)
    assert classified(port, ("grey.png", GOOD["grey"]))[0] == 200


def test_eight_clients_at_once(port):
    seconds, errors = load_test.load(port, requests=200, clients=8)
    assert (len(seconds), errors) == (200, [])


def test_each_client_gets_its_own_answer(port):
    images = [
        encoded(Image.fromarray(pixels.astype("uint8")))
        for pixels in np.random.default_rng(0).integers(0, 256, (16, 8, 8))
    ]
    alone = [classified(port, ("a", image))[1] for image in images]
    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        together = list(threads.map(lambda image: classified(port, ("a", image))[1], images * 4))
    for found, expected in zip(together, alone * 4, strict=True):
        assert [label for label, _ in found["top"]] == [label for label, _ in expected["top"]]
        assert found["route"] == pytest.approx(expected["route"], abs=1e-5)


def test_the_page_stands_alone(port):
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
        connection.request("GET", "/")
        response = connection.getresponse()
        page = response.read().decode()
    assert (response.status, response.getheader("content-type")) == (200, "text/html; charset=utf-8")
    assert "http://" not in page
    assert "https://" not in page
    assert ask(port, "GET", "/openapi.json")[1]["paths"].keys() == {"/health", "/classify"}


def test_health(port):
    assert ask(port, "GET", "/health") == (
        200,
        {"status": "ready", "model": MODEL, "summary": "Tiny HydraNet on 8x8 digits, for tests without a network."},
    )


def test_before_the_model_is_there():
    with load_test.serving(MODEL) as (_, port, _):
        status, answer = classified(port, ("grey.png", GOOD["grey"]))
        assert (status, answer["detail"]) == (503, "The model is not ready: starting.")
        assert ask(port, "GET", "/health")[0] == 503
        assert load_test.wait_until_ready(port)["status"] == "ready"
        assert classified(port, ("grey.png", GOOD["grey"]))[0] == 200


def test_a_model_folder(tmp_path):
    from keras_moe import models, zoo

    model = models.HydraNet((8, 8, 3), backbone="resnet8", num_experts=4, classes=2, classifier_activation=None)
    zoo.save(model, tmp_path / "pets", labels=["cat", "dog"])
    with load_test.serving(str(tmp_path / "pets")) as (_, port, _):
        load_test.wait_until_ready(port)
        _, found = classified(port, ("photo.jpg", GOOD["photograph"]))
        assert {label for label, _ in found["top"]} == {"cat", "dog"}
        assert sum(p for _, p in found["top"]) == pytest.approx(1), "probabilities, of a model that ends in logits"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["no_such"], "no_such"),
        (["unet_kvasir"], "for segmentation"),
        ([MODEL, "--top", "0"], "one label of an image, or more"),
        ([MODEL, "--max-megabytes", "-1"], "expected a number above 0"),
    ],
)
def test_what_it_cannot_serve(arguments, reason, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["app.py", *arguments])
    with pytest.raises(SystemExit) as ended:
        app.main()
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_a_service_that_does_not_start_says_why():
    with pytest.raises(RuntimeError, match="no_such"), load_test.serving("no_such"):
        pass
