"""Tokens from the first to the last: made, handed out, revoked, and kept although Redis loses them."""

from __future__ import annotations

import collections
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from tests.processes import PsProcess, until

from rowbank import Client, Credentials, TableSpec
from rowbank.errors import RowbankError, TableNotFound, TokenNotFound, Unauthenticated
from rowbank.token_text import new_token
from rowbank_protos.v1 import admin_pb2, deltas_pb2, deltas_pb2_grpc
from rowbank_server.redis_supervisor import EmbeddedRedis
from rowbank_server.security.caller import Caller
from rowbank_server.security.policy import METHODS
from rowbank_server.security.tokens import Token
from rowbank_server.storage.connection import connect_at_start

CLI = str(Path(sys.executable).parent / "rowbank")


def rowbank(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**{name: value for name, value in os.environ.items() if name != "ROWBANK_TOKEN"}, **variables}
    return subprocess.run([CLI, *arguments], env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def admin_file(tmp_path: Path) -> Path:
    """A token that was made without a server, as the docs say."""
    path = tmp_path / "admin.token"
    path.write_text(rowbank("tokens", "generate").stdout)
    path.chmod(0o600)
    return path


@pytest.fixture
def guarded(start_ps: Callable[..., PsProcess], own_redis: EmbeddedRedis, admin_file: Path) -> PsProcess:
    return start_ps("--require-tokens", "--admin-token-file", str(admin_file), redis=own_redis.url)


def lets_in(server: PsProcess, token: str) -> bool:
    try:
        with Client(server.target, credentials=Credentials(token=token)) as client:
            client.list_tables()
    except Unauthenticated:
        return False
    return True


def test_a_token_is_made_shown_once_used_and_revoked_from_the_command_line(guarded, admin_file, tmp_path):
    admin = {"ROWBANK_TARGETS": guarded.target, "ROWBANK_TOKEN_FILE": str(admin_file)}
    made = rowbank("tokens", "create", "job", "--role", "train", "--table", "user*", "--expires-in", "1h", **admin)
    assert made.returncode == 0, made.stderr
    token = made.stdout.strip()
    assert token.startswith("rbk_")
    assert token not in made.stderr
    path = tmp_path / "job.token"
    path.write_text(made.stdout)
    job = {"ROWBANK_TARGETS": guarded.target, "ROWBANK_TOKEN_FILE": str(path)}
    assert rowbank("table", "create", "user", "--dim", "2", **job).returncode == 0
    refused = rowbank("table", "create", "item", "--dim", "2", **job)
    assert refused.returncode == 1
    assert "user*" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert token.split("_", 2)[2] not in refused.stderr
    listed = rowbank("tokens", "list", "-o", "csv", **admin)
    assert "job" in listed.stdout
    assert token.split("_", 2)[2] not in listed.stdout
    assert rowbank("tokens", "revoke", "job", **admin).returncode == 0
    gone = rowbank("tables", **job)
    assert gone.returncode == 1
    assert "revoked" in gone.stderr
    nobody = rowbank("tables", ROWBANK_TARGETS=guarded.target, ROWBANK_TOKEN_FILE="")
    assert nobody.returncode == 1
    assert "ROWBANK_TOKEN_FILE" in nobody.stderr


def test_what_redis_loses_is_told_again_and_revocations_stay(guarded, admin_file, own_redis):
    with Client(guarded.target, credentials=Credentials(token_file=str(admin_file))) as client:
        kept = client.tokens.create("kept", "read").token
        gone = client.tokens.create("gone", "read").token
        client.tokens.revoke("gone")
        with connect_at_start(own_redis.url, timeout_s=5, client_name="test") as redis:
            redis.flushall()
            until(lambda: any(b":tokens" in key for key in redis.keys("*")), what="tokens are in Redis again")
        names = {one.name: one.revoked_at_s for one in client.tokens.list()}
        assert set(names) == {"kept", "gone"}
        assert not names["kept"]
        assert names["gone"]
    assert lets_in(guarded, kept)
    assert not lets_in(guarded, gone)


def test_what_is_known_goes_on_while_redis_is_away(guarded, admin_file, own_redis):
    with Client(guarded.target, credentials=Credentials(token_file=str(admin_file))) as client:
        kept = client.tokens.create("kept", "read").token
        own_redis.stop()
        assert lets_in(guarded, kept)
        with pytest.raises(RowbankError):
            client.tokens.create("another", "read")


def test_a_revoked_token_is_so_whatever_the_clock_says():
    """The process that revoked it may be ahead of the one that is asked, and clocks are set back."""
    shown = new_token()
    revoked = Token("0" * 12, "a", "read", None, None, 1_000, 0, shown.digest, revoked_at_s=5_000)
    assert not revoked.is_valid(5_001)
    assert not revoked.is_valid(4_999)
    expires = Token("0" * 12, "a", "read", None, None, 1_000, 5_000, shown.digest)
    assert [expires.is_valid(now) for now in (4_999, 5_000)] == [True, False]


def test_a_stream_ends_with_its_token(guarded, admin_file):
    with Client(guarded.target, credentials=Credentials(token_file=str(admin_file))) as client:
        client.create_table(TableSpec("t", dim=2))
        token = client.tokens.create("follows", "read").token
        with grpc.insecure_channel(guarded.target) as channel:
            asked = deltas_pb2.FollowRequest(tables=["t"], detail=deltas_pb2.FOLLOW_DETAIL_KEYS)
            stream = deltas_pb2_grpc.DeltaServiceStub(channel).Follow(
                asked, metadata=[("authorization", f"Bearer {token}")], timeout=60
            )
            next(stream)
            client.tokens.revoke("follows")
            with pytest.raises(grpc.RpcError) as ended:
                collections.deque(stream, maxlen=0)
        assert ended.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert "revoked" in (ended.value.details() or "")


def test_words_name_no_table_beyond_the_scope(guarded, admin_file):
    with Client(guarded.target, credentials=Credentials(token_file=str(admin_file))) as client:
        for name in ("user", "secret"):
            client.create_table(TableSpec(name, dim=2))
        token = client.tokens.create("scoped", "read", tables=["user*"], models=["-"]).token
        with pytest.raises(TableNotFound, match="secret"):
            client.table("users")
    with Client(guarded.target, credentials=Credentials(token=token)) as scoped:
        with pytest.raises(TableNotFound) as refused:
            scoped.table("users")
        assert "known tables: 'user'; did you mean 'user'?" in str(refused.value)
        assert "secret" not in str(refused.value)


def test_the_table_that_grows_is_named_within_the_scope():
    narrow = METHODS["/rowbank.v1.AdminService/GetServerInfo"].narrow
    assert narrow is not None
    for patterns, named in ((("user*",), ""), (("sec*",), "secret"), (None, "secret")):
        info = admin_pb2.GetServerInfoResponse(fastest_growing_table="secret")
        narrow(info, Caller("a", "read", patterns, ("-",)))
        assert info.fastest_growing_table == named


def test_another_process_of_the_namespace_knows_of_changes(start_ps, own_redis, admin_file):
    options = ("--require-tokens", "--admin-token-file", str(admin_file))
    first = start_ps(*options, "--shard", "0/2", redis=own_redis.url)
    second = start_ps(*options, "--shard", "1/2", redis=own_redis.url)
    both = [first.target, second.target]
    with Client(both, credentials=Credentials(token_file=str(admin_file))) as client:
        token = client.tokens.create("both", "train").token

        def works() -> bool:
            try:
                with Client(both, credentials=Credentials(token=token)) as mine:
                    mine.create_table(TableSpec("t", dim=2), exist_ok=True).push([1, 2, 3], [[1.0, 1.0]] * 3)
            except Unauthenticated:
                return False
            return True

        until(works, what="both let the new token in")
        client.tokens.revoke("both")
        until(lambda: not works(), what="a shard refuses what was revoked")
        with pytest.raises(TokenNotFound):
            client.tokens.revoke("nobody")


@pytest.mark.parametrize(("mode", "content"), [(0o644, None), (0o600, "hello"), (0o600, "")])
def test_a_file_that_others_may_read_or_that_holds_no_token_ends_the_start(start_ps, admin_file, mode, content):
    admin_file.chmod(mode)
    if content is not None:
        admin_file.write_text(content)
    server = start_ps("--require-tokens", "--admin-token-file", str(admin_file), wait=False)
    assert server.wait() == 1
    assert "admin_token_file" in server.log
    assert "Traceback" not in server.log
