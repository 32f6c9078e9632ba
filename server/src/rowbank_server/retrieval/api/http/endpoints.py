"""The one list of HTTP endpoints. Routes and /openapi.json are both made from it, so they cannot differ."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

# Also of a model whose ids are integers: what is in a URL is text.
_PATH_ID = {"type": "string", "minLength": 1, "description": "As the model in service has ids, percent-encoded."}
_AS_STRINGS = "`string`: all ids of the answer are strings, integers in decimal."

_TIMEOUT = {
    "name": "x-request-timeout-ms",
    "in": "header",
    "description": "How long the caller waits: what is not done by then is not begun any more.",
    "schema": {"type": "integer", "minimum": 1, "maximum": 600_000},
}

Handler = Callable[[Request], Awaitable[Response]]


class Parameter(NamedTuple):
    """A query parameter."""

    name: str
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One method of one path.

    Attributes:
        body: the model of the JSON body, if there is one.
        answer: the struct of the 200 answer; None for text of `content_type`.
        problems: other statuses that callers should expect.
        query: query parameters.
        lines: the model of each line of a body of JSON lines, in place of `body`.
        ids: whether its answer has ids, so that the query parameter `ids` says how.
        explained: query parameters that it does not have, and whose absence the handler explains.
        leads_to: where callers are sent, in place of an answer.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    answer: type[msgspec.Struct] | None = None
    body: type[BaseModel] | None = None
    problems: Sequence[int] = ()
    query: Sequence[Parameter] = ()
    lines: type[BaseModel] | None = None
    explained: Sequence[str] = ()
    ids: bool = False
    content_type: str = "application/json"
    body_required: bool = True
    leads_to: str = ""

    @property
    def operation_id(self) -> str:
        """A name for generated clients: post_v1_recommend."""
        words = self.path.replace("{", "").replace("}", "").replace(":", "/").replace(".", "_").strip("/").split("/")
        return "_".join([self.method.lower(), *words])

    def describe(self) -> dict[str, Any]:
        """The OpenAPI operation."""
        operation: dict[str, Any] = {"operationId": self.operation_id, "summary": self.summary, "responses": {}}
        parameters: list[dict[str, Any]] = [
            {"name": name, "in": "path", "required": True, "schema": _PATH_ID if name == "id" else {"type": "string"}}
            for name in _path_parameters(self.path)
        ]
        parameters += [
            {"name": one.name, "in": "query", "description": one.description, "schema": one.schema}
            for one in self.query
        ]
        if self.ids:
            parameters.append(
                {"name": "ids", "in": "query", "description": _AS_STRINGS, "schema": {"enum": ["string"]}}
            )
        if self.path.startswith("/v1/"):
            parameters.append(_TIMEOUT)
        if parameters:
            operation["parameters"] = parameters
        if self.body is not None:
            schema = {"$ref": f"#/components/schemas/{self.body.__name__}"}
            operation["requestBody"] = {
                "required": self.body_required,
                "content": {"application/json": {"schema": schema}},
            }
        if self.lines is not None:
            of_line = {
                "type": "string",
                "description": "A line of JSON for each.",
                "contentMediaType": "application/x-ndjson",
                "contentSchema": {"$ref": f"#/components/schemas/{self.lines.__name__}"},
            }
            content = {"application/x-ndjson": {"schema": of_line}}
            operation["requestBody"] = {"required": True, "content": content}
        answer = {"$ref": f"#/components/schemas/{self.answer.__name__}"} if self.answer else {"type": "string"}
        if self.answer is None and self.content_type == "application/json":
            answer = {"type": "object"}
        if self.leads_to:
            operation["responses"]["307"] = {"description": f"Leads to {self.leads_to}"}
        else:
            operation["responses"]["200"] = {
                "description": "OK",
                "content": {self.content_type.split(";")[0]: {"schema": answer}},
            }
        for status in self.problems:
            operation["responses"][str(status)] = {
                "description": "Problem",
                "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
            }
        return operation


def _path_parameters(path: str) -> list[str]:
    return re.findall(r"\{(\w+)\}", path)
