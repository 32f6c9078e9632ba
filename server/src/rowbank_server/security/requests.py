"""What a scope is checked against where that is more than the names that stand in a request."""

from __future__ import annotations

from rowbank.errors import PermissionDenied
from rowbank_protos.v1 import deltas_pb2, models_pb2, snapshots_pb2
from rowbank_server.security.caller import current, out_of_scope, require_model, require_tables


def require_follow(request: deltas_pb2.FollowRequest) -> None:
    """Records are of all tables, and have the names by which servers know a request to be its sender's own.

    Raises:
        PermissionDenied: a token for some tables, or one that may not write, asks for records.
    """
    caller = current()
    require_tables(request.tables)
    serves = request.detail == deltas_pb2.FOLLOW_DETAIL_RECORDS or request.role
    if serves and (caller.is_scoped or not caller.has_role("train")):
        raise PermissionDenied(
            f"Follow: records are for standbys and replicas, whose token has the role train and is for all tables and "
            f"models; token {caller.name!r} ({caller.token_id}) is not so",
            metadata={"cause": "role", "role": "train", "token": caller.token_id},
        )


def require_freeze(request: snapshots_pb2.FreezeTableRequest) -> None:
    """A copy is named for its model. Raises PermissionDenied."""
    caller = current()
    require_tables((request.table,))
    model, slash, _ = request.frozen_name.rpartition("/")
    if not (caller.may_use_table(request.frozen_name) or (slash and caller.may_use_model(model))):
        raise out_of_scope(caller, "table", request.frozen_name, caller.tables or ())


def require_publication(request: models_pb2.PublishModelRequest) -> None:
    """The retrieval service reads whatever a model names, so its publisher has to be able to. PermissionDenied."""
    caller, manifest = current(), request.manifest
    require_model(manifest.name)
    inputs = [part.table for part in (*manifest.query.inputs, *manifest.candidate.inputs)]
    listed = [name for table in manifest.tables for name in (table.name, table.source)]
    own = f"{manifest.name}/"
    for table in (*inputs, *listed):
        if table and not table.startswith(own) and not caller.may_use_table(table):
            raise out_of_scope(caller, "table", table, caller.tables or ())
