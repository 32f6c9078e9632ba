"""`python -m bench.bare_endpoint`: a JSON endpoint that does nothing: pydantic in, msgspec out, on Starlette.

It takes the body of a recommend request and answers ten items of the same shape, each time encoded anew.
"""

from __future__ import annotations

import sys

import msgspec
import uvicorn
from pydantic import BaseModel, Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


class Body(BaseModel):
    """What is asked."""

    user_id: int
    k: int = Field(10, ge=1, le=1000)


class Item(msgspec.Struct):
    """One item of the answer."""

    id: int
    score: float
    rank: int
    title: str


class Answer(msgspec.Struct):
    """What is answered."""

    items: list[Item]
    model_version: str
    source: str
    degraded: list[str]


async def recommend(request: Request) -> Response:
    """Ten items that depend on nothing."""
    body = Body.model_validate_json(await request.body())
    items = [Item(number, 1.0 - number / 64, number + 1, f"Item {number}") for number in range(body.k)]
    answer = Answer(items, "20260131T120000Z-504b", "personal", [])
    return Response(msgspec.json.encode(answer), media_type="application/json")


def main() -> int:
    """Serves at a free port, which it prints, until it is ended."""
    app = Starlette(routes=[Route("/v1/recommend", recommend, methods=["POST"])])
    config = uvicorn.Config(app, loop="uvloop", http="httptools", log_config=None, access_log=False, lifespan="off")
    listener = config.__class__(app, host="127.0.0.1", port=0, log_config=None).bind_socket()
    print(f"ready bare-endpoint http://127.0.0.1:{listener.getsockname()[1]}", flush=True)
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
