"""`POST /v1/recommend` for a stored user and nothing else, answered past the application.

It is asked more than all else. What it says and counts is what the application would: the same version picked, the same
tokens, limits, ids, metrics and problems. Whatever is not as plain goes there, refusals of tokens, too.
"""

from __future__ import annotations

import logging
import time

import msgspec

from rowbank import tracing
from rowbank.errors import REQUEST_ID_KEY, PermissionDenied, RequestError
from rowbank.tracing import Request
from rowbank_server.retrieval.api import schemas
from rowbank_server.retrieval.api.http import problems
from rowbank_server.retrieval.api.operations import Operations
from rowbank_server.retrieval.api.operations.answering import shown_answer
from rowbank_server.retrieval.hosting.host import Picked
from rowbank_server.retrieval.metrics import Metrics
from rowbank_server.retrieval.queries import Answer, Query
from rowbank_server.security.caller import ANYBODY, Caller, as_caller
from rowbank_server.security.gate import require_role
from rowbank_server.security.policy import API_ROUTES
from rowbank_server.tenancy import peer_of, tenant_of
from rowbank_server.web.plain import Headers, Line

_log = logging.getLogger("rowbank.api")

_PATH = "/v1/recommend"
_WHAT = f"POST {_PATH}"
_RULE = API_ROUTES[_WHAT]
_ID_HEADER = REQUEST_ID_KEY.encode()
_JSON = (b"content-type", b"application/json")


class PlainRecommends:
    """Answers plain questions of connections, on the event loop.

    Attributes:
        path: of the requests that it may be given.
    """

    path = _PATH.encode()

    def __init__(self, operations: Operations) -> None:
        self._querying = operations.querying
        self._gate = operations.service.gate
        self._metrics = operations.service.metrics

    def ask(self, content: bytes, headers: Headers, line: Line) -> bool:
        """Whether this is such a question and it may be asked; its answer goes to `line`."""
        body = schemas.plain_recommend(content)
        if body is None:
            return False
        try:
            caller = self._admitted(headers)
        except RequestError:
            return False
        asked = _Asked(self._metrics, tracing.arrived(headers), line)
        with tracing.working_on(asked.request):
            if caller is ANYBODY:
                return self._enter(body, asked, line)
            with as_caller(caller):
                return self._enter(body, asked, line)

    def _enter(self, body: schemas.PlainRecommend, asked: _Asked, line: Line) -> bool:
        """Whether the caller may ask it; then it waits for its answer, or has it."""
        try:
            asked.picked, asked.query = self._querying.plain(body)
            asked.picked.serving.enter(
                asked.query, asked, tenant_of("" if line.peer is None else peer_of(*line.peer)), line.is_gone
            )
        except PermissionDenied:
            return False
        except Exception as error:
            asked.set_exception(error)
        return True

    def _admitted(self, headers: Headers) -> Caller:
        """Who asks. Raises RequestError: they may not."""
        if self._gate is None:
            return ANYBODY
        caller = self._gate.admit([value for name, value in headers if name == b"authorization"])
        require_role(caller, _RULE, _WHAT)
        return caller


class _Asked:
    """One question, and the place of its answer."""

    __slots__ = ("_done", "_line", "_metrics", "_started", "picked", "query", "request")

    picked: Picked
    query: Query

    def __init__(self, metrics: Metrics, request: Request, line: Line) -> None:
        self._metrics = metrics
        self._line = line
        self._started = time.perf_counter()
        self._done = False
        self.request = request

    def done(self) -> bool:
        """Whether it was answered."""
        return self._done

    def set_result(self, answer: Answer, /) -> None:
        """Sends an answer. What fails here fails this question, and nobody else's."""
        self._done = True
        try:
            serving = self.picked.serving
            with tracing.working_on(self.request):  # A shadow asks on, for the same request.
                serving.on_answer(serving, self.query, answer, time.perf_counter() - self._started)
            name = serving.model.manifest.name
            shown = shown_answer(answer, self.query, name, self.picked.split, as_strings=False)
            body = msgspec.json.encode(shown)
        except Exception as error:
            self._fail(error)
        else:
            self._send(200, [(b"content-length", b"%d" % len(body)), _JSON], body)

    def set_exception(self, error: BaseException, /) -> None:
        """Sends why there is no answer."""
        self._done = True
        assert isinstance(error, Exception)
        self._fail(error)

    def _fail(self, error: Exception) -> None:
        with tracing.working_on(self.request):
            response = problems.respond(problems.from_exception(error, _WHAT))
        self._send(response.status_code, response.raw_headers, bytes(response.body))

    def _send(self, status: int, headers: Headers, body: bytes) -> None:
        self._line.answer(status, [*headers, (_ID_HEADER, self.request.id.encode())], body)
        took_s = time.perf_counter() - self._started
        self._metrics.request(_PATH, status, took_s)
        if _log.isEnabledFor(logging.DEBUG):
            with tracing.working_on(self.request):
                _log.debug("%s: %d in %.3f ms", _WHAT, status, 1e3 * took_s)
