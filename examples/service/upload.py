"""From the body of a request to the one file in it."""

import asyncio

from fastapi import HTTPException
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect


async def one_file(request, max_bytes, seconds):
    """The uploaded file, open at its start; up to 1 MB of it is in memory, the rest in a temporary file.

    Args:
        max_bytes: of the body.
        seconds: that the upload may take.

    Raises:
        HTTPException: 400, 408, 413 or 415, for anything but one file in time.
    """
    try:
        async with asyncio.timeout(seconds):
            form = await _parse(request, max_bytes)
    except TimeoutError:
        raise HTTPException(408, f"The upload took longer than {seconds} seconds.") from None
    except ClientDisconnect:
        raise HTTPException(400, "The upload was broken off.") from None
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if len(files) != 1:
        raise HTTPException(400, f"Expected one file. Received: {len(files) or 'none'}.")
    if files[0].size == 0:
        raise HTTPException(400, "Expected an image. Received: an empty file.")
    return files[0].file


async def _parse(request, max_bytes):
    body = _limited(request, max_bytes)
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        await _skip(body)
        received = request.headers.get("content-type", "no content type")
        raise HTTPException(415, f"Expected multipart/form-data with one file. Received: {received}.")
    try:
        return await MultiPartParser(request.headers, body, max_files=10, max_fields=10).parse()
    except MultiPartException as error:
        await _skip(body)
        raise HTTPException(400, f"Expected a form with one file. Received: {error.message}") from None


async def _limited(request, max_bytes):
    """The chunks of the body. One that is too large is read to its end, and thrown away, before it is refused: a client
    that is still sending would miss the answer."""
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= max_bytes:
            yield chunk
    if size > max_bytes:
        raise HTTPException(413, f"Expected at most {max_bytes / 1e6:g} MB. Received: {size / 1e6:.1f} MB.")


async def _skip(body):
    async for _ in body:
        pass
