"""A web service around a classifier: a photograph in; labels, the experts that ran and what that cost out.

    python examples/service/app.py [MODEL] [--port 8000]

MODEL is a published classifier, a model folder or hf://user/repo@revision. The extra `service` is needed.
"""

import argparse
import contextlib
import dataclasses
import os
import pathlib
import threading
import time

import anyio
import fastapi
import uvicorn
from classifier import Classifier
from fastapi import HTTPException
from fastapi.responses import FileResponse, JSONResponse
from upload import one_file

from keras_moe.classify import Classification
from keras_moe.images import TooManyPixels

PAGE = pathlib.Path(__file__).with_name("index.html")
FORM = {"properties": {"image": {"type": "string", "format": "binary"}}, "required": ["image"], "type": "object"}
ONE_FILE = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": FORM}}}}
REFUSALS = {
    400: "no image, a damaged one, or not one file",
    408: "an upload that took too long",
    413: "too many bytes or pixels",
    415: "no form",
    503: "the model is not there yet",
}


@dataclasses.dataclass(frozen=True)
class Answer(Classification):
    """What `keras-moe predict --json` says of an image, and how long reading and classifying it took."""

    latency_ms: float


def create_app(classifier, max_bytes, upload_seconds):
    """The application; it serves at once, and loads the model meanwhile."""

    @contextlib.asynccontextmanager
    async def lifespan(app):
        threading.Thread(target=classifier.load, daemon=True).start()
        yield

    # Without the generated pages, which would load scripts from elsewhere; /openapi.json stays.
    app = fastapi.FastAPI(title="keras_moe service", lifespan=lifespan, docs_url=None, redoc_url=None)
    turns = anyio.CapacityLimiter(os.cpu_count() or 1)  # an image that is decoded takes memory

    @app.get("/", include_in_schema=False)
    async def page():
        return FileResponse(PAGE)

    @app.get("/health")
    async def health():
        """200 once the model answers, 503 before."""
        state = {"status": classifier.status, "model": classifier.card.name, "summary": classifier.card.summary}
        return JSONResponse(state, 200 if classifier.status == "ready" else 503)

    @app.post("/classify", openapi_extra=ONE_FILE, responses={k: {"description": v} for k, v in REFUSALS.items()})
    async def classify(request: fastapi.Request) -> Answer:
        """Labels, experts, MACs and latency of the image in a form with one file, whatever its field is called."""
        with await one_file(request, max_bytes, upload_seconds) as file:
            if classifier.status != "ready":
                raise HTTPException(503, f"The model is not ready: {classifier.status}.", {"Retry-After": "5"})
            return await anyio.to_thread.run_sync(answer, classifier, file, limiter=turns)

    return app


def answer(classifier, file):
    start = time.perf_counter()
    try:
        image = classifier.read(file)
    except TooManyPixels as error:
        raise HTTPException(413, str(error)) from None
    except ValueError as error:
        raise HTTPException(400, str(error)) from None
    found = dataclasses.asdict(classifier.classify(image))
    return Answer(**found, latency_ms=1000 * (time.perf_counter() - start))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="?", default="hydranet_cifar100", metavar="MODEL")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free (default: 8000)")
    parser.add_argument("--top", type=int, default=5, help="labels of an image (default: 5)")
    parser.add_argument("--max-megabytes", type=positive, default=20, help="of an upload (default: 20)")
    parser.add_argument("--max-megapixels", type=positive, default=50, help="of an image (default: 50)")
    parser.add_argument("--upload-seconds", type=positive, default=30, help="that an upload may take (default: 30)")
    arguments = parser.parse_args()

    try:
        classifier = Classifier(arguments.model, int(1e6 * arguments.max_megapixels), arguments.top)
    except ValueError as error:
        parser.error(str(error))
    app = create_app(classifier, int(1e6 * arguments.max_megabytes), arguments.upload_seconds)
    options = {"access_log": False, "timeout_keep_alive": 30, "limit_concurrency": 512}
    uvicorn.run(app, host=arguments.host, port=arguments.port, **options)


def positive(text):
    """Argument type: a number above 0."""
    value = float(text)
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"expected a number above 0, below a million. Received: {text}")
    return value


if __name__ == "__main__":
    main()
