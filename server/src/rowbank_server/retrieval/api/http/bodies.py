"""Bodies of requests, read within limits."""

from __future__ import annotations

from starlette.requests import Request

from rowbank.errors import RequestTooLarge
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.schemas.validation import Body

MAX_BODY_BYTES = 4 << 20


async def body_of(request: Request, kind: type[Body], *, empty: bytes = b"") -> Body:
    """The checked body of a request.

    Args:
        empty: what an empty body stands for.
    Raises:
        RequestTooLarge, MalformedJson, InvalidBody.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > MAX_BODY_BYTES:
        raise RequestTooLarge(f"the body has {length} bytes; at most {MAX_BODY_BYTES} are read")
    chunks: list[bytes] = []
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > MAX_BODY_BYTES:
            raise RequestTooLarge(f"the body has more than {MAX_BODY_BYTES} bytes, the most that is read")
        chunks.append(chunk)
    return schemas.parsed(kind, b"".join(chunks).strip() or empty)
