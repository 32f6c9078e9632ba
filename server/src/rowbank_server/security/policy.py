"""Who may do what: the one table for every method and every route of all processes.

What does not stand here is refused. A token of a role may do what the roles before it may: read, train, admin.
"""

from __future__ import annotations

from typing import Any

from rowbank_server.security.caller import Caller
from rowbank_server.security.requests import require_follow, require_freeze, require_publication
from rowbank_server.security.rules import Names, Rule

_BYTES = "each table, where the request is read"
_VIEW = "the models that read the view"
_MODEL = "the model"


def _table(request: Any) -> tuple[str, ...]:
    return (request.table,)


def _named(request: Any) -> tuple[str, ...]:
    return (request.name,)


def _listed(request: Any) -> list[str]:
    return list(request.tables)


def _parts(request: Any) -> list[str]:
    return [part.table for part in request.tables]


def _spec(request: Any) -> tuple[str, ...]:
    return (request.spec.name,)


def _asked(request: Any) -> tuple[str, ...]:
    return (request.table,) if request.table else ()


def _asked_model(request: Any) -> tuple[str, ...]:
    return (request.name,) if request.name else ()


def _published(request: Any) -> tuple[str, ...]:
    return (request.manifest.name,)


def _keep(messages: Any, wanted: list[Any]) -> None:
    del messages[:]
    messages.extend(wanted)


def _own_tables(answer: Any, caller: Caller) -> None:
    _keep(answer.tables, [one for one in answer.tables if caller.may_use_table(one.spec.name)])


def _own_stats(answer: Any, caller: Caller) -> None:
    _keep(answer.tables, [one for one in answer.tables if caller.may_use_table(one.table)])


def _own_advice(answer: Any, caller: Caller) -> None:
    _keep(answer.advice, [one for one in answer.advice if caller.may_use_table(one.table)])


def _own_models(answer: Any, caller: Caller) -> None:
    _keep(answer.models, [one for one in answer.models if caller.may_use_model(one.manifest.name)])


def _own_info(answer: Any, caller: Caller) -> None:
    if not caller.may_use_table(answer.fastest_growing_table):
        answer.fastest_growing_table = ""


def _own_followers(answer: Any, caller: Caller) -> None:
    """Servers are seen by all, for clients find replicas so."""
    _keep(
        answer.followers,
        [one for one in answer.followers if one.role or (one.tables and all(map(caller.may_use_table, one.tables)))],
    )


def _of_table(role: Any, tables: Names = _table, *, audited: bool = False) -> Rule:
    return Rule(role=role, scope="the table", tables=tables, audited=audited)


def _of_model(role: Any, models: Names = _named, *, audited: bool = False) -> Rule:
    return Rule(role=role, scope=_MODEL, models=models, audited=audited)


_IN_BYTES = Rule(role="train", scope=_BYTES)
_READ_VIEW, _WRITE_VIEW = Rule(role="read", scope=_VIEW), Rule(role="train", scope=_VIEW)
_SHAPE_VIEW = Rule(role="train", scope=_VIEW, audited=True)
_ANY_READER = Rule(role="read")

_ROWS = {
    "Pull": Rule(role="read", scope="each table", tables=_parts),
    "Push": _IN_BYTES,
    "Lookup": _of_table("read"),
    "Upsert": _IN_BYTES,
    "Accumulate": _IN_BYTES,
    "Store": _IN_BYTES,
    "Remove": _IN_BYTES,
    "Clear": Rule(role="train", scope=_BYTES, audited=True),
    "Size": _of_table("read"),
    "Touch": _IN_BYTES,
    "Export": _of_table("read"),
    "Import": _IN_BYTES,
}
_TABLES = {
    "CreateTable": _of_table("train", _spec, audited=True),
    "GetTable": _of_table("read", _named),
    "ListTables": Rule(role="read", scope="shows those in scope", narrow=_own_tables),
    "UpdateTable": _of_table("train", _spec, audited=True),
    "DropTable": _of_table("train", _named, audited=True),
    "HoldTables": Rule(role="train", scope="each table, also of what the holder held", tables=_listed),
    "ReleaseTables": Rule(role="train", scope="each table that the holder holds"),
    "ListHolders": _of_table("read"),
}
_ADMIN = {
    "Restrict": _of_table("train", audited=True),
    "PreviewEviction": _of_table("read"),
    "RankRows": _of_table("read"),
    "ListEvictions": Rule(role="read", scope="shows those in scope", tables=_asked),
    "GetStats": Rule(role="read", scope="shows those in scope", tables=_asked, narrow=_own_stats),
    "DescribeRow": _of_table("read"),
    "TopRows": _of_table("read"),
    "GetServerInfo": Rule(role="read", scope="names those in scope", narrow=_own_info),
    "Flush": Rule(role="admin"),
}
_INSIGHT = {
    "SimulateEviction": _of_table("read"),
    "ExplainRow": _of_table("read"),
    "CountFrequencies": _of_table("read"),
    "GetAdvice": Rule(role="read", scope="shows those in scope", tables=_asked, narrow=_own_advice),
}
_SNAPSHOTS = {
    # Holds back the mutations of all tables for a moment; publications of frozen rows begin so.
    "BeginSnapshot": Rule(role="train", scope="shows those in scope", narrow=_own_tables, audited=True),
    "ResumeMutations": Rule(role="train"),
    "ReadSnapshot": _of_table("read"),
    "FreezeTable": Rule(
        role="train", scope="the table, and the model or the table that the copy is named for", check=require_freeze
    ),
    "EndSnapshot": Rule(role="train"),
}
_MODELS = {
    "PublishModel": Rule(
        role="train",
        scope="the model, each table that it reads or was copied from, each view",
        models=_published,
        check=require_publication,
        audited=True,
    ),
    "ListModels": Rule(role="read", scope="shows those in scope", models=_asked_model, narrow=_own_models),
    "GetModel": _of_model("read"),
    "ActivateModel": _of_model("admin"),
    "GetTraffic": _of_model("read"),
    "SetTraffic": _of_model("admin"),
    "PruneModels": _of_model("train", audited=True),
    "ReadModelFile": _of_model("read"),
}
_FEATURES = {
    "PutView": _SHAPE_VIEW,
    "ListViews": Rule(role="read", scope="shows those in scope"),
    "WriteFeatures": _WRITE_VIEW,
    "WriteColumns": _WRITE_VIEW,
    "ReadFeatures": Rule(role="read", scope=f"{_VIEW}, and the overlay"),
    "DropView": _SHAPE_VIEW,
    "ListEntities": _READ_VIEW,
}
_WORKERS = {name: Rule(role="train") for name in ("Join", "Advance", "Leave")}
_DELTAS = {
    "Follow": Rule(
        role="read", scope="each table; of all, those in scope; records: train, for all", check=require_follow
    ),
    "ListFollowers": Rule(role="read", scope="shows servers, and those in scope", narrow=_own_followers),
}
_TOKENS = {name: Rule(role="admin", scope="all", whole=True) for name in ("CreateToken", "ListTokens", "RevokeToken")}
_DIAGNOSIS = {
    "GetHealth": _ANY_READER,
    "Diagnose": Rule(role="admin", scope="all", whole=True),
}
_IN_MODEL_READ, _IN_MODEL_TRAIN = Rule(role="read", scope=_MODEL), Rule(role="train", scope=_MODEL)
_IN_MODEL_FILTER = Rule(role="train", scope=_MODEL, audited=True)
_IN_MODEL_ADMIN = Rule(role="admin", scope=_MODEL)
_RETRIEVAL = {
    **dict.fromkeys(
        ("Recommend", "RecommendBatch", "SimilarItems", "Score", "Embed", "Popular", "GetItem", "GetUser"),
        _IN_MODEL_READ,
    ),
    **dict.fromkeys(("UpsertItems", "DeleteItem", "UpsertUsers", "RecordEvents"), _IN_MODEL_TRAIN),
    "ListServedModels": Rule(role="read", scope="shows those in scope"),
    **dict.fromkeys(("ActivateVersion", "RollBack", "SetTraffic"), _IN_MODEL_ADMIN),
    **dict.fromkeys(("GetTraffic", "ListFilters", "ProbeIndex"), _IN_MODEL_READ),
    **dict.fromkeys(("PutFilter", "DeleteFilter"), _IN_MODEL_FILTER),
}
_SERVICES = {
    "RowService": _ROWS,
    "TableService": _TABLES,
    "AdminService": _ADMIN,
    "InsightService": _INSIGHT,
    "SnapshotService": _SNAPSHOTS,
    "ModelService": _MODELS,
    "FeatureService": _FEATURES,
    "WorkerService": _WORKERS,
    "DeltaService": _DELTAS,
    "TokenService": _TOKENS,
    "DiagnosisService": _DIAGNOSIS,
    "RetrievalService": _RETRIEVAL,
}

PUBLIC = Rule(role=None)
# Every gRPC method of the parameter server and of the retrieval service, by path.
METHODS: dict[str, Rule] = {
    **{
        f"/rowbank.v1.{service}/{method}": rule
        for service, methods in _SERVICES.items()
        for method, rule in methods.items()
    },
    "/grpc.health.v1.Health/Check": PUBLIC,
    "/grpc.health.v1.Health/List": _ANY_READER,
    "/grpc.health.v1.Health/Watch": _ANY_READER,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ANY_READER,
}

_ALL = Rule(role="read", scope="all", whole=True)  # It has names and numbers of all tables and models.
# Every route of the parameter server's HTTP port.
PS_ROUTES: dict[str, Rule] = {
    "GET /": PUBLIC,
    "GET /healthz": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /metrics": _ALL,
    "GET /ui": PUBLIC,
    "GET /ui/{file}": PUBLIC,
    "GET /ui/data/{what}": _ALL,
}
# Every route of the retrieval service.
API_ROUTES: dict[str, Rule] = {
    **dict.fromkeys(
        (
            "POST /v1/recommend",
            "POST /v1/recommend:batch",
            "POST /v1/similar",
            "POST /v1/score",
            "POST /v1/embed",
            "GET /v1/popular",
            "POST /v1/popular",
            "GET /v1/items/{id}",
            "GET /v1/users/{id}",
            "GET /v1/filters",
            "GET /v1/models:traffic",
            "POST /v1/index:probe",
            "GET /demo/data",
            "GET /demo/titles",
        ),
        _IN_MODEL_READ,
    ),
    **dict.fromkeys(
        (
            "PUT /v1/items/{id}",
            "DELETE /v1/items/{id}",
            "POST /v1/items:import",
            "PUT /v1/users/{id}",
            "POST /v1/users:import",
            "POST /v1/events",
        ),
        _IN_MODEL_TRAIN,
    ),
    **dict.fromkeys(("PUT /v1/filters/{name}", "DELETE /v1/filters/{name}"), _IN_MODEL_FILTER),
    "GET /v1/models": Rule(role="read", scope="shows those in scope"),
    **dict.fromkeys(
        ("POST /v1/models/{version}/activate", "POST /v1/models:rollback", "PUT /v1/models:traffic"), _IN_MODEL_ADMIN
    ),
    "GET /": PUBLIC,
    "GET /ui": PUBLIC,
    "GET /ui/{file}": PUBLIC,
    "GET /ui/data/{what}": _ALL,
    "GET /demo": PUBLIC,
    "GET /demo/{file}": PUBLIC,
    "GET /healthz": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /metrics": _ALL,
    "GET /openapi.json": _ANY_READER,
    "GET /docs": _ANY_READER,
}
