"""The native endpoint asks for tokens as the main address does: each method, role, scope, and one that is revoked."""

from __future__ import annotations

import grpc
import pytest
from tests.processes import until

from rowbank import Client, Credentials, TableSpec
from rowbank.token_text import new_token
from rowbank_protos.v1 import admin_pb2, admin_pb2_grpc, rows_pb2, rows_pb2_grpc

KEYS = bytes(8)
CALLS = {
    "Pull": rows_pb2.PullRequest(tables=[rows_pb2.TableKeys(table="mine", keys=KEYS)]),
    "Lookup": rows_pb2.LookupRequest(table="mine", keys=KEYS),
    "Size": rows_pb2.SizeRequest(table="mine"),
    "Push": rows_pb2.PushRequest(tables=[rows_pb2.TableGradients(table="mine", keys=KEYS, gradients=bytes(8))]),
    "Upsert": rows_pb2.UpsertRequest(table="mine", keys=KEYS, values=bytes(8)),
    "Remove": rows_pb2.RemoveRequest(table="mine", keys=KEYS),
    "Touch": rows_pb2.TouchRequest(table="mine", keys=KEYS),
    "Clear": rows_pb2.ClearRequest(table="mine"),
}
READS = {"Pull", "Lookup", "Size"}


@pytest.fixture
def served(start_ps, own_redis, tmp_path):
    """A server that asks for tokens, its administrator's client, and its row service at both addresses."""
    path = tmp_path / "admin.token"
    path.write_text(new_token().text)
    path.chmod(0o600)
    server = start_ps("--require-tokens", "--admin-token-file", str(path), redis=own_redis.url)
    with Client(server.target, credentials=Credentials(token_file=str(path))) as admin:
        for name in ("mine", "theirs"):
            admin.create_table(TableSpec(name, dim=2))
        shown = (("authorization", f"Bearer {path.read_text().strip()}"),)
        with grpc.insecure_channel(server.target) as channel:
            stub = admin_pb2_grpc.AdminServiceStub(channel)
            native = stub.GetServerInfo(admin_pb2.GetServerInfoRequest(), metadata=shown).native_address
            if not native:
                pytest.skip("the server was built where nghttp2 is not")
            with grpc.insecure_channel(native) as other:
                yield admin, [rows_pb2_grpc.RowServiceStub(one) for one in (channel, other)]


def code(stub, name, token, request=None):
    metadata = () if token is None else (("authorization", f"Bearer {token}"),)
    try:
        getattr(stub, name)(request or CALLS[name], metadata=metadata, timeout=30)
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def test_each_method_by_each_kind_of_token(served):
    admin, stubs = served
    tokens = {role: admin.tokens.create(role, role=role, tables=["mine"]).token for role in ("read", "train")}
    ok, denied, unknown = grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED
    for name in CALLS:
        for token in (None, "rbk_nonsense", new_token().text):
            assert [code(stub, name, token) for stub in stubs] == [unknown, unknown], (name, token)
        read = ok if name in READS else denied
        assert [code(stub, name, tokens["read"]) for stub in stubs] == [read, read], name
        assert [code(stub, name, tokens["train"]) for stub in stubs] == [ok, ok], name
    elsewhere = rows_pb2.PullRequest(tables=[rows_pb2.TableKeys(table="theirs", keys=KEYS)])
    assert [code(stub, "Pull", tokens["read"], elsewhere) for stub in stubs] == [denied, denied]
    admin.tokens.revoke("read")
    until(lambda: code(stubs[1], "Pull", tokens["read"]) is unknown, what="the native endpoint to know of it")
