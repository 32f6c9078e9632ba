"""The parameter server's HTTP port: probes that follow what the process is, and callers who are slow or wrong."""

from __future__ import annotations

import concurrent.futures
import socket

import httpx
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families
from tests.processes import UpProcess, closing, until


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


@pytest.fixture
def server(start_ps):
    return start_ps("--http-bind", "127.0.0.1:0")


def test_a_process_that_serves_is_alive_and_ready(server):
    with httpx.Client(base_url=server.http_url) as http:
        assert http.get("/healthz").json() == {"status": "alive"}
        answer = http.get("/readyz")
        expected = {"status": "ready", "role": "owner", "state": "serving", "shard": "0/1"}
        assert (answer.status_code, answer.json()) == (200, expected)
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_shard_that_loads_is_alive_and_not_ready(start_ps, own_redis):
    """Redis answers but holds back writes, so the start waits at the claim of the shard."""
    address = free_address()
    with redis.Redis.from_url(own_redis.url) as client, httpx.Client(base_url=f"http://{address}") as http:
        client.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
        server = start_ps("--http-bind", address, "--redis-timeout-s", "60", redis=own_redis.url, wait=False)

        def answers() -> bool:
            try:
                return http.get("/healthz").status_code == 200
            except httpx.TransportError:
                return False

        until(answers, what="the port")
        answer = http.get("/readyz")
        assert (answer.status_code, answer.json()["status"], answer.json()["problem"]) == (503, "not ready", "loading")
        client.execute_command("CLIENT", "UNPAUSE")
        server.wait_ready()
        assert http.get("/readyz").status_code == 200


def test_a_standby_says_whom_it_follows_and_is_ready_once_it_owns(start_ps):
    owner = start_ps("--standby", "--http-bind", "127.0.0.1:0")
    until(lambda: httpx.get(f"{owner.http_url}/readyz").status_code == 200, what="owner")
    standby = start_ps("--standby", "--http-bind", "127.0.0.1:0")

    def told() -> str:
        return httpx.get(f"{standby.http_url}/readyz").json().get("problem", "")

    until(lambda: told() == f"standby: following; the owner is at {owner.target}", what="following")
    assert httpx.get(f"{standby.http_url}/healthz").status_code == 200
    owner.kill()
    until(lambda: httpx.get(f"{standby.http_url}/readyz").status_code == 200, what="take-over")


def test_a_replica_is_ready(start_ps):
    owner = start_ps("--http-bind", "127.0.0.1:0")
    replica = start_ps("--replica", "--http-bind", "127.0.0.1:0")
    assert httpx.get(f"{owner.http_url}/readyz").json()["role"] == "owner"
    assert httpx.get(f"{replica.http_url}/readyz").json()["role"] == "replica"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 405),
        ("GET", "/metrics/", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/readyz", 405),
        ("GET", "/%2e%2e/etc/passwd", 404),
        ("GET", "/" + "a" * 60_000, 404),
    ],
)
def test_other_paths_and_methods_are_refused_in_words(server, method, path, status):
    answer = httpx.request(method, server.http_url + path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json()["detail"]) < 300
    assert "Traceback" not in server.log


def talk(url: str, data: bytes, *, timeout_s: float = 30.0) -> bytes:
    """Sends bytes as they are and reads until the other end closes."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    received = b""
    with socket.create_connection((host, int(port)), timeout=timeout_s) as connection:
        try:
            connection.sendall(data)
            while piece := connection.recv(65536):
                received += piece
        except ConnectionError:
            pass
    return received


def test_what_is_no_request_and_a_head_without_end_are_refused(server):
    assert talk(server.http_url, b"\x16\x03\x01 nothing\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    flood = b"GET /healthz HTTP/1.1\r\nhost: a\r\n" + b"".join(b"x-%d: %s\r\n" % (n, b"y" * 900) for n in range(200))
    assert talk(server.http_url, flood)[:13] in (b"HTTP/1.1 431 ", b"")  # Nothing: it was still sending.
    assert httpx.get(f"{server.http_url}/healthz").status_code == 200


def test_who_says_nothing_is_let_go_and_others_are_answered(server):
    with concurrent.futures.ThreadPoolExecutor() as pool:  # Both are closed after HEAD_TIMEOUT_S.
        assert list(pool.map(talk, [server.http_url] * 2, [b"GET /healthz HT", b""])) == [b"", b""]
    assert httpx.get(f"{server.http_url}/healthz").status_code == 200


def test_who_does_not_end_a_request_that_was_answered_is_let_go(server):
    """Of a body that nobody reads, after whose first byte uvicorn would wait for ever."""
    host, _, port = server.http_url.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n")
        received = b""
        while b"alive" not in received:
            received += connection.recv(65536)
        connection.sendall(b"x")
        assert connection.recv(65536) == b""  # After HEAD_TIMEOUT_S.


def test_a_connection_is_used_again_after_a_body_that_nobody_reads(server):
    with httpx.Client(base_url=server.http_url) as http:
        for _ in range(3):
            assert http.request("GET", "/healthz", content=b"x" * 100_000).status_code == 200


def test_the_root_leads_to_the_page(server):
    answer = httpx.get(server.http_url)
    assert (answer.status_code, answer.headers["location"]) == (307, "ui")
    page = httpx.get(server.http_url, follow_redirects=True)
    assert (page.status_code, page.url.path) == (200, "/ui")


def test_many_idle_connections_do_not_keep_others_out_for_long(server):
    host, _, port = server.http_url.removeprefix("http://").rpartition(":")
    idle = [socket.create_connection((host, int(port))) for _ in range(300)]
    try:
        until(lambda: httpx.get(f"{server.http_url}/healthz").status_code == 200, what="an answer")
    finally:
        for one in idle:
            one.close()


def test_a_scrape_may_ask_for_open_metrics(server):
    kind = "application/openmetrics-text; version=1.0.0"
    answer = httpx.get(f"{server.http_url}/metrics", headers={"accept": kind})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


def test_every_process_says_what_it_is_and_takes(server):
    families = {one.name: one for one in text_string_to_metric_families(httpx.get(f"{server.http_url}/metrics").text)}
    (build,) = families["rowbank_build_info"].samples
    assert (build.value, build.labels["process"]) == (1, "ps")
    assert families["process_resident_memory_bytes"].samples[0].value > 1e7
    assert families["process_open_fds"].samples[0].value > 3
    assert families["rowbank_threads"].samples[0].value > 3


def test_up_shows_the_parameter_servers(tmp_path):
    server = UpProcess("--standby", "--data-dir", str(tmp_path / "a"), log=tmp_path / "log")
    with closing(server):
        words = dict(word.split("=", 1) for word in server.ready_line().split()[2:])
        assert httpx.get(f"{words['ps_http']}/healthz").status_code == 200
        assert httpx.get(f"{words['standby_http']}/healthz").status_code == 200


def test_an_empty_address_shows_nothing(start_ps):
    assert start_ps("--http-bind", "").http_url == ""


def test_a_standby_that_could_take_over_counts_for_whoever_asks(start_ps):
    """For what replaces one process after the other, and waits for each."""
    owner = start_ps("--standby", "--http-bind", "127.0.0.1:0")
    until(lambda: httpx.get(f"{owner.http_url}/readyz?standby=ok").status_code == 200, what="owner")
    standby = start_ps("--standby", "--http-bind", "127.0.0.1:0")
    until(lambda: httpx.get(f"{standby.http_url}/readyz?standby=ok").status_code == 200, what="following")
    told = httpx.get(f"{standby.http_url}/readyz?standby=ok").json()
    assert (told["status"], told["role"], told["state"]) == ("standing by", "standby", "following")
    assert httpx.get(f"{standby.http_url}/readyz").status_code == 503


def test_every_answer_has_the_id_of_its_request(server):
    with httpx.Client(base_url=server.http_url) as http:
        assert len(http.get("/healthz").headers["x-request-id"]) == 32
        answer = http.get("/absent", headers={"x-request-id": "of-nothing"})
        assert answer.headers["x-request-id"] == answer.json()["request_id"] == "of-nothing"
