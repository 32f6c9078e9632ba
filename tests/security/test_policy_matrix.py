"""Every method and every route of a running system, by every kind of token: what the policy says is what happens."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2  # noqa: F401
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from tests.processes import UpProcess, until

from rowbank import Client, Credentials, TableSpec
from rowbank.errors import PermissionDenied
from rowbank.token_text import new_token
from rowbank_protos.v1 import (  # noqa: F401 - so that the pool knows them.
    admin_pb2,
    admin_pb2_grpc,
    deltas_pb2,
    diagnosis_pb2,
    features_pb2,
    insight_pb2,
    models_pb2,
    retrieval_pb2,
    rows_pb2,
    snapshots_pb2,
    tables_pb2,
    tokens_pb2,
    workers_pb2,
)
from rowbank_server.security.policy import API_ROUTES, METHODS, PS_ROUTES
from rowbank_server.security.rules import Rule

ROLES = ("read", "train", "admin")
REFUSED = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
TABLE = "secret"
_ROWS = "/rowbank.v1.RowService/"


@dataclass(frozen=True)
class System:
    """A running system that asks for tokens, and one of each kind: name -> text; empty: none is shown."""

    up: UpProcess
    tokens: dict[str, str]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("guarded")
    up = UpProcess("--data-dir", str(folder / "data"), "--require-tokens", log=folder / "log").wait_ready()
    try:
        admin = (folder / "data" / "admin-token").read_text().strip()
        with Client(up.target, credentials=Credentials(token=admin)) as client:
            client.create_table(TableSpec(TABLE, dim=2))
            made = {role: client.tokens.create(role, role).token for role in ROLES}
            made["elsewhere"] = client.tokens.create("elsewhere", "admin", tables=["other"], models=["other"]).token
            made["revoked"] = client.tokens.create("revoked", "admin").token
            made["expired"] = client.tokens.create("expired", "admin", expires_in_s=1).token
            client.tokens.revoke("revoked")
        tokens = {"none": "", "unknown": new_token().text, "malformed": "rbk_", **made}
        until(lambda: all(_lets_in(up, made[name]) for name in (*ROLES, "elsewhere")))
        until(lambda: not any(_lets_in(up, made[name]) for name in ("revoked", "expired")))
        yield System(up, tokens)
    finally:
        up.close()


def _lets_in(up: UpProcess, token: str) -> bool:
    """Whether all processes let a token in."""
    headers = {"authorization": f"Bearer {token}"}
    over_http = httpx.get(f"{up.http_url}/openapi.json", headers=headers).status_code != 401
    return over_http and _outcome(up.target, "/rowbank.v1.AdminService/GetServerInfo", b"", token) == "let in"


def _metadata(token: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {token}"),) if token else ()


def _outcome(target: str, method: str, request: bytes, token: str) -> str:
    """How a call ends as far as this is about tokens."""
    service, _, name = method[1:].partition("/")
    found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    with grpc.insecure_channel(target) as channel:
        kind = f"{'stream' if found.client_streaming else 'unary'}_{'stream' if found.server_streaming else 'unary'}"
        call = getattr(channel, kind)(method)
        sent: Any = iter([request]) if found.client_streaming else request
        try:
            answer = call(sent, metadata=_metadata(token), timeout=20)
            if found.server_streaming:
                next(answer, None)
                answer.cancel()
        except grpc.RpcError as error:
            return error.code().name if error.code() in REFUSED else "let in"
    return "let in"


def native_address(system: System) -> str:
    """Of the parameter server. Skips where it was built without."""
    with grpc.insecure_channel(system.up.target) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        told = stub.GetServerInfo(admin_pb2.GetServerInfoRequest(), metadata=_metadata(system.tokens["admin"]))
    if not told.native_address:
        pytest.skip("the server was built where nghttp2 is not")
    return str(told.native_address)


def services(target: str, token: str) -> list[str]:
    """The services that a server says it has."""
    with grpc.insecure_channel(target) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        asked = iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        (answer,) = list(stub.ServerReflectionInfo(asked, metadata=_metadata(token), timeout=20))
    return [one.name for one in answer.list_services_response.service]


def methods(target: str, token: str) -> list[str]:
    """Every method of a running server."""
    pool = descriptor_pool.Default()
    return [
        f"/{service}/{method.name}"
        for service in services(target, token)
        for method in pool.FindServiceByName(service).methods
    ]


# What is looked at before the model is: a request that says nothing else is refused for that.
_ENTITY = retrieval_pb2.Entity(id=1, features={"title": features_pb2.FeatureValue(string_value="x")})
_WHOLE: dict[str, Message] = {
    "Recommend": retrieval_pb2.RecommendRequest(user_id=1, model=TABLE),
    "RecommendBatch": retrieval_pb2.RecommendBatchRequest(
        requests=[retrieval_pb2.RecommendRequest(user_id=1, model=TABLE)]
    ),
    "SimilarItems": retrieval_pb2.SimilarItemsRequest(item_ids=[1], model=TABLE),
    "Score": retrieval_pb2.ScoreRequest(user_id=1, item_ids=[1], model=TABLE),
    "Embed": retrieval_pb2.EmbedRequest(user_ids=[1], model=TABLE),
    "UpsertItems": retrieval_pb2.UpsertEntitiesRequest(entities=[_ENTITY], model=TABLE),
    "UpsertUsers": retrieval_pb2.UpsertEntitiesRequest(entities=[_ENTITY], model=TABLE),
    "RecordEvents": retrieval_pb2.RecordEventsRequest(events=[retrieval_pb2.Event(user_id=1, item_id=1)], model=TABLE),
    "ActivateVersion": retrieval_pb2.ActivateVersionRequest(version="1", model=TABLE),
    "PutFilter": retrieval_pb2.PutFilterRequest(
        filter=retrieval_pb2.NamedFilter(name="x", filter=retrieval_pb2.Filter(named="y")), model=TABLE
    ),
}


def _filled(method: str) -> bytes:
    """A request about a table that is not in the scope of the token `elsewhere`, or about such a model."""
    service, _, name = method[1:].partition("/")
    found = descriptor_pool.Default().FindServiceByName(service).methods_by_name[name]
    if service == "rowbank.v1.RetrievalService" and name in _WHOLE:
        return _WHOLE[name].SerializeToString()
    message = message_factory.GetMessageClass(found.input_type)()
    _fill(message)
    return message.SerializeToString()


def _fill(message: Message, depth: int = 0) -> None:
    for field in message.DESCRIPTOR.fields:
        repeated = field.label == field.LABEL_REPEATED
        if field.message_type is not None and depth < 2:
            if not repeated and field.name in ("spec", "manifest", "header"):
                _fill(getattr(message, field.name), depth + 1)
            elif repeated and field.name == "tables":
                _fill(getattr(message, field.name).add(), depth + 1)
        elif field.type == field.TYPE_STRING and field.name in ("table", "name", "model", "view", "frozen_name"):
            if not repeated:
                setattr(message, field.name, TABLE)
        elif field.type == field.TYPE_STRING and field.name == "tables":
            getattr(message, field.name).append(TABLE)


def expected(rule: Rule, kind: str) -> str:
    if rule.role is None:
        return "let in"
    if kind not in (*ROLES, "elsewhere"):
        return "UNAUTHENTICATED"
    if kind == "elsewhere":
        return "PERMISSION_DENIED" if rule.whole else "let in"
    return "let in" if ROLES.index(kind) >= ROLES.index(rule.role) else "PERMISSION_DENIED"


def test_every_method_of_a_running_system_has_a_policy_and_the_reverse(system):
    admin, up = system.tokens["admin"], system.up
    found = {*methods(up.target, admin), *methods(up.retrieval_target, admin)}
    assert found | {"/grpc.health.v1.Health/List"} == set(METHODS)  # Which newer releases of the library have.


@pytest.mark.parametrize("of", ["target", "retrieval_target", "native"])
def test_methods_by_tokens(system, of, capsys):
    """At the native endpoint methods that are not answered there, too: whoever may not call them learns nothing."""
    target = native_address(system) if of == "native" else getattr(system.up, of)
    wrong = []
    for method in methods(system.up.target if of == "native" else target, system.tokens["admin"]):
        row = {kind: _outcome(target, method, b"", token) for kind, token in system.tokens.items()}
        with capsys.disabled():
            print(f"\n{method.rpartition('.')[2]:<40}", *(f"{kind}={how}" for kind, how in row.items()), end="")
        wrong += _surprises(method, METHODS[method], row)
    assert not wrong


def _surprises(what: str, rule: Rule, row: dict[str, str]) -> list[tuple[str, str, str]]:
    """Outcomes that the policy does not have. What a scope allows of a request that names nothing is no matter here."""
    found = [(what, kind, how) for kind, how in row.items() if how != expected(rule, kind)]
    return [one for one in found if one[1] != "elsewhere" or rule.whole or one[2] == "UNAUTHENTICATED"]


def test_no_table_and_no_model_is_reached_around_a_scope(system):
    """Methods that are about a table or model refuse one that is not in the scope, also those that read bytes."""
    wrong = []
    admin, up = system.tokens["admin"], system.up
    asked = [(target, methods(target, admin)) for target in (up.target, up.retrieval_target)]
    unary = [method for method in asked[0][1] if method.startswith(_ROWS) and not method.endswith(("Export", "Import"))]
    with contextlib.suppress(pytest.skip.Exception):
        asked.append((native_address(system), unary))
    for target, named_methods in asked:
        for method in named_methods:
            rule = METHODS[method]
            named = (
                rule.tables is not None
                or rule.scope.startswith(("each table", "the table"))
                or rule.scope == "the model"
            )
            # Holds and releases are about what a holder had.
            if not named or rule.whole or rule.scope.startswith(("each table, also", "each table that the holder")):
                continue
            how = _outcome(target, method, _filled(method), system.tokens["elsewhere"])
            if how != "PERMISSION_DENIED":
                wrong.append((target, method, how))
    assert not wrong


def test_the_policy_in_the_docs_is_the_one_in_the_code():
    text = (Path(__file__).parents[2] / "docs" / "security.md").read_text()
    listed = {
        row[1].strip().strip("`"): (row[2].strip(), row[3].strip(), row[4].strip())
        for line in text.splitlines()
        if len(row := line.split("|")) == 6 and row[4].strip() in ("yes", "-")
    }
    rules = {**{name.removeprefix("/").removeprefix("rowbank.v1."): rule for name, rule in METHODS.items()}}
    rules |= {**PS_ROUTES, **API_ROUTES}
    assert listed == {
        name: (rule.role or "public", rule.scope, "yes" if rule.is_audited else "-") for name, rule in rules.items()
    }


def _routes() -> list[tuple[str, str, Rule]]:
    return [
        *(("ps_http_url", route, rule) for route, rule in PS_ROUTES.items()),
        *(("http_url", route, rule) for route, rule in API_ROUTES.items()),
    ]


def _asked(base: str, route: str, token: str, *, headers: dict[str, str] | None = None) -> httpx.Response:
    method, _, path = route.partition(" ")
    for name, value in {"id": "1", "name": "x", "version": "1", "file": "no.js", "what": "overview"}.items():
        path = path.replace(f"{{{name}}}", value)
    shown = {"authorization": f"Bearer {token}"} if token else {}
    return httpx.request(method, f"{base}{path}", headers={**shown, **(headers or {})}, timeout=30)


def test_routes_by_tokens(system, capsys):
    wrong = []
    for of, route, rule in _routes():
        row = {}
        for kind, token in system.tokens.items():
            answer = _asked(getattr(system.up, of), route, token)
            row[kind] = {401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED"}.get(answer.status_code, "let in")
            if answer.status_code == 401:
                assert answer.headers["www-authenticate"].startswith("Bearer")
            assert "Traceback" not in answer.text
        with capsys.disabled():
            print(f"\n{route:<44} " + " ".join(f"{kind}={how}" for kind, how in row.items()), end="")
        wrong += _surprises(route, rule, row)
    assert not wrong


def test_a_model_that_is_not_in_the_scope_is_refused_over_http(system):
    token, base = system.tokens["elsewhere"], system.up.http_url
    headers = {"authorization": f"Bearer {token}"}
    bodies: dict[str, dict[str, Any]] = {
        "/v1/recommend": {"user_id": 1},
        "/v1/similar": {"item_ids": [1]},
        "/v1/events": {"events": [{"user_id": 1, "item_id": 2}]},
        "/v1/items/1": {"features": {"title": "x"}},
        "/v1/models:traffic": {"shares": {}},
    }
    for method, path in (
        ("POST", "/v1/recommend"),
        ("POST", "/v1/similar"),
        ("POST", "/v1/events"),
        ("PUT", "/v1/items/1"),
        ("PUT", "/v1/models:traffic"),
        ("POST", "/v1/models/1/activate"),
    ):
        body = bodies.get(path, {})
        answer = httpx.request(method, f"{base}{path}", json={**body, "model": TABLE}, headers=headers, timeout=30)
        assert answer.status_code in (403, 422), (path, answer.text)
        assert answer.status_code == 403 or "model" not in answer.text, (path, answer.text)
    assert httpx.get(f"{base}/v1/models", headers=headers, params={"model": TABLE}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "bearer {token}"},
        {"AUTHORIZATION": "BEARER {token}"},
    ],
)
def test_ways_of_writing_a_valid_token(system, headers):
    shown = {name: value.format(token=system.tokens["read"]) for name, value in headers.items()}
    assert httpx.get(f"{system.up.http_url}/openapi.json", headers=shown).status_code == 200


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/openapi.json?token={token}", []),
        ("/openapi.json?access_token={token}", []),
        ("/openapi.json", [("authorization", "Basic {token}")]),
        ("/openapi.json", [("authorization", "{token}")]),
        ("/openapi.json", [("authorization", "Bearer {token}"), ("authorization", "Bearer {token}")]),
        ("/openapi.json", [("authorization", "Bearer {token}, Bearer {token}")]),
        ("/openapi.json", [("authorization", "Bearer {token}x")]),
        ("/openapi.json", [("authorization", "Bearer " + "a" * 5000)]),
        ("/openapi.json", [("authorization-bin", "Bearer {token}")]),
        ("/openapi.json", [("x-authorization", "Bearer {token}")]),
        ("/openapi.json", [("cookie", "authorization=Bearer {token}")]),
        ("//openapi.json", []),
        ("/%6fpenapi.json", []),
        ("/demo/../openapi.json", []),
        ("/demo/..%2fopenapi.json", []),
        ("/ui/..%2fdata/overview", []),
        ("/openapi.json/", []),
        ("/v1/models", [("x-http-method-override", "OPTIONS")]),
        ("/nothing", []),
    ],
)
def test_ways_around(system, path, headers):
    """Without a valid token in the one place where it is looked for, every path answers alike."""
    token = system.tokens["read"]
    shown = [(name, value.format(token=token)) for name, value in headers]
    with httpx.Client(base_url=system.up.http_url) as client:
        request = client.build_request("GET", "/", headers=shown)
        request.url = request.url.copy_with(raw_path=path.format(token=token).encode())
        answer = client.send(request)
    assert answer.status_code == 401, answer.text
    assert token not in answer.text


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PATCH", "DELETE"])
def test_other_methods_of_a_route_are_no_way_in(system, method):
    assert httpx.request(method, f"{system.up.http_url}/v1/models").status_code in (401, 405)
    assert httpx.request(method, f"{system.up.http_url}/metrics").status_code in (401, 405)


def test_unknown_grpc_methods_tell_nothing_without_a_token(system):
    for target in (system.up.target, system.up.retrieval_target, native_address(system)):
        with grpc.insecure_channel(target) as channel, pytest.raises(grpc.RpcError) as failure:
            channel.unary_unary("/rowbank.v1.RowService/Nothing", None, None)(b"", timeout=20)
        assert failure.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_a_request_for_two_tables_needs_both(system):
    admin = Credentials(token=system.tokens["admin"])
    with Client(system.up.target, credentials=admin) as client:
        with contextlib.suppress(Exception):
            client.create_table(TableSpec("other", dim=2))
        before = client.table("other").size()
    elsewhere = Credentials(token=system.tokens["elsewhere"])
    with Client(system.up.target, credentials=elsewhere) as client:
        with pytest.raises(PermissionDenied, match=TABLE):
            client.push({"other": ([1], [[1.0, 1.0]]), TABLE: ([1], [[1.0, 1.0]])})
        with pytest.raises(PermissionDenied, match=TABLE):
            client.pull({"other": [1], TABLE: [1]})
        assert [info.spec.name for info in client.list_tables()] == ["other"]
        assert client.table("other").size() == before
        assert [one.table for one in client.stats()] == ["other"]


def test_no_secret_is_anywhere(system):
    """After all of the above: not in logs, metrics or the command lines of processes."""
    headers = {"authorization": f"Bearer {system.tokens['admin']}"}
    texts = [system.up.log]
    texts += [httpx.get(f"{url}/metrics", headers=headers).text for url in (system.up.http_url, system.up.ps_http_url)]
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            texts.append(line.read_bytes().decode(errors="replace"))
    secrets = [token.split("_", 2)[2] for kind, token in system.tokens.items() if len(token) > 40]
    assert secrets
    assert not [secret for secret in secrets if any(secret in text for text in texts)]
    assert 'rowbank_auth_failures_total{reason="missing"}' in texts[1]


def test_refused_and_steering_calls_are_in_the_audit_log(system):
    name = f"made-{time.time_ns()}"
    with Client(system.up.target, credentials=Credentials(token=system.tokens["admin"])) as client:
        client.create_table(TableSpec(name, dim=2))
        client.drop_table(name)
    lines = [line for line in system.up.log.splitlines() if line.startswith("{") and name in line]
    assert [("CreateTable" in line, "DropTable" in line) for line in lines] == [(True, False), (False, True)]
    assert all('"caller": "admin"' in line and '"outcome": "ok"' in line for line in lines)
    assert '"outcome": "revoked"' in system.up.log
