"""The HTTP API against its own description: what it describes it answers, as described, and never with a defect."""

from __future__ import annotations

import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.retrieval.api.conftest import Both
from tests.retrieval.support import get

pytestmark = pytest.mark.slow

CHECKS = [content_type_conformance, response_schema_conformance, status_code_conformance]
EXAMPLES = 15


@schemathesis.serializer("application/x-ndjson")
def lines(context: Any, value: Any) -> bytes:
    """Whatever text was made, as it is."""
    return value.encode(errors="surrogatepass") if isinstance(value, str) else repr(value).encode()


@pytest.fixture(scope="module")
def schema(both: Both) -> Any:
    return schemathesis.openapi.from_dict(get(both.http, "/openapi.json"))


def operations(schema: Any) -> list[Any]:
    return [found.ok() for found in schema.get_all_operations()]


def test_every_operation_is_tried(both: Both, schema: Any) -> None:
    described = {
        (path, method) for path, methods in get(both.http, "/openapi.json")["paths"].items() for method in methods
    }
    assert {(one.path, one.method) for one in operations(schema)} == described


PATHS = (
    "/v1/recommend",
    "/v1/recommend:batch",
    "/v1/similar",
    "/v1/score",
    "/v1/embed",
    "/v1/popular",
    "/v1/items/{id}",
    "/v1/items:import",
    "/v1/users/{id}",
    "/v1/users:import",
    "/v1/events",
    "/v1/filters",
    "/v1/filters/{name}",
    "/v1/models",
    "/v1/models/{version}/activate",
    "/v1/models:rollback",
    "/v1/models:traffic",
    "/v1/index:probe",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
    "/docs",
)


@pytest.mark.parametrize("path", PATHS)
def test_answers_are_as_described(both: Both, schema: Any, path: str) -> None:
    for operation in operations(schema):
        if operation.path == path:
            _try(both, operation)


def _try(both: Both, operation: Any) -> None:
    @seed(11)
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def run(case: Any) -> None:
        response = case.call(base_url=both.api.url, timeout=60)
        assert response.status_code < 500 or response.status_code in (503, 504), response.text
        case.validate_response(response, checks=CHECKS)

    run()


def test_the_log_has_no_defect(both: Both) -> None:
    assert not re.findall("Traceback|failed for a reason that is a defect", both.api.log)
