"""How answers look: widths, wide and harmful characters, CSV for spreadsheets, renewed screens, ends of pipes."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from rowbank import Client, TableSpec
from rowbank.cli.screen import layout
from rowbank.cli.screen.csv_text import harmless
from rowbank.cli.screen.texts import cells, clean, cut

COMMAND = [sys.executable, "-m", "rowbank.cli"]


@pytest.fixture
def wide_table(target):
    """A table whose name is long, with one row."""
    name = f"wide-{uuid.uuid4().hex[:8]}-{'n' * 60}"
    with Client(target) as client:
        client.create_table(TableSpec(name, dim=2)).upsert([1], np.ones((1, 2), np.float32))
        yield name
        client.drop_table(name, missing_ok=True)


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("command", ["tables", "stats", "shards", "evictions", "top"])
def test_no_line_is_wider_than_the_terminal(target, wide_table, width, command):
    arguments = [command, wide_table] if command == "top" else [command]
    environment = {**os.environ, "ROWBANK_TARGETS": target, "COLUMNS": str(width)}
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout
    assert max(cells(line) for line in done.stdout.splitlines()) <= width
    if command == "tables":
        shown = next(line for line in done.stdout.splitlines() if line.startswith(wide_table[:10]))
        assert ("\N{HORIZONTAL ELLIPSIS}" in shown) == (width < 200)


def test_texts_are_cut_before_columns_are_left_out():
    natural = {"name": 50, "rows": 6, "note": 20}
    texts = {"name": 5, "note": 4}
    assert layout.fitted(natural, texts, 80) == natural  # 50 + 6 + 20 and two gaps of 2.
    assert layout.fitted(natural, texts, 75) == {"name": 45, "rows": 6, "note": 20}
    assert layout.fitted(natural, texts, 65) == {"name": 40, "rows": 6, "note": 15}
    assert layout.fitted(natural, texts, 61) == {"name": 50, "rows": 6}  # 40 + 6 + 12 and the gaps are 62.
    assert layout.fitted(natural, texts, 10) == {"name": 10}


def test_wide_characters_take_two_columns():
    assert cells("日本") == 4
    assert cut("日本語の題", 6, "..") == "日本.."
    assert cut("abc", 3, ".") == "abc"
    record = [{"title": "日本", "rows": 1}, {"title": "abcd", "rows": 22}]
    assert layout.table_lines(record, {"title": "T", "rows": "R"}, 80)[1:] == ["日本   1", "abcd  22"]


def test_a_title_cannot_steer_the_terminal():
    assert clean("a\x1b[31mb\nc\u202ed") == r"a\x1b[31mb\x0ac\x202ed"


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("+CMD", "'+CMD"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("-2+3", "'-2+3"),
        ("\t=1", "'\t=1"),
        ("  =1", "'  =1"),
        ("\uff1d1", "'\uff1d1"),
        ("-5", "-5"),
        ("+1.5e3", "+1.5e3"),
        ("-0.5 0.25 -1", "-0.5 0.25 -1"),
        ("-1 =2", "'-1 =2"),
        ("-inf", "-inf"),
        ("Heat (1995)", "Heat (1995)"),
        ("", ""),
    ],
)
def test_csv_holds_no_formulas_and_whole_numbers(text, written):
    assert harmless(text) == written


def test_what_stdout_cannot_show_is_escaped(target, wide_table):
    environment = {**os.environ, "ROWBANK_TARGETS": target, "PYTHONIOENCODING": "ascii", "COLUMNS": "60"}
    done = subprocess.run([*COMMAND, "tables"], capture_output=True, env=environment, check=True)
    assert b"wide-" in done.stdout
    assert b"..." in done.stdout
    done.stdout.decode("ascii")


def test_a_pipe_that_is_closed_early_ends_without_a_word(target):
    environment = {**os.environ, "ROWBANK_TARGETS": target}
    command = [*COMMAND, "tables", "--watch", "-i", "0.05", "-o", "json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 141  # As a shell says it of a program that the closed pipe ended.
        assert process.stderr.read() == b""


def test_an_interrupted_command_ends_with_130(free_silent_port):
    """Nobody answers there, so the command still waits when it is interrupted."""
    command = [*COMMAND, "tables", "--target", free_silent_port]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        _wait_for_connection(process)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in errors


@pytest.fixture
def free_silent_port():
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


def _wait_for_connection(process: subprocess.Popen[bytes]) -> None:
    """Until the process has loaded gRPC, so that it is on its way to the server."""
    deadline = time.monotonic() + 60
    while "cygrpc" not in Path(f"/proc/{process.pid}/maps").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_watched_json_is_a_line_each_and_csv_has_one_heading(rowbank, wide_table):
    arguments = ("top", wide_table, "--watch", "-i", "0.05", "--count", "3", "-o")
    assert [json.loads(line)[0]["key"] for line in rowbank(*arguments, "json").stdout.splitlines()] == [1, 1, 1]
    lines = list(csv.DictReader(io.StringIO(rowbank(*arguments, "csv").stdout)))
    assert [line["key"] for line in lines] == ["1", "1", "1"]


def test_a_watched_error_is_an_error_at_first(rowbank):
    done = rowbank("top", "no-such-table", "--watch", "-i", "0.05", code=1)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


def test_a_terminal_is_renewed_in_place_and_given_back(target, wide_table):
    screen, status = in_terminal("stats", wide_table, "--watch", "-i", "0.05", "--count", "2", target=target)
    assert status == 0
    assert screen.startswith("\x1b[?1049h\x1b[H")
    assert screen.count("\x1b[H") == 2
    left = screen.rpartition("\x1b[?1049l")[2]
    assert re.sub(r"\x1b\[\d*m", "", left).split()[0] == "TABLE"
    assert "\x1b[1m" in left


def test_no_colour_where_none_is_wanted(target, wide_table):
    screen, _ = in_terminal("stats", wide_table, target=target, NO_COLOR="1")
    assert "\x1b" not in screen


def in_terminal(*arguments: str, target: str, **variables: str) -> tuple[str, int]:
    """What a command writes to a terminal of its own, and its status."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "ROWBANK_TARGETS": target, "TERM": "xterm", "COLUMNS": "100", **variables}
    if "NO_COLOR" not in variables:
        environment.pop("NO_COLOR", None)
    process = subprocess.Popen([*COMMAND, *arguments], stdout=theirs, stderr=theirs, stdin=theirs, env=environment)
    os.close(theirs)
    written = b""
    try:
        while True:
            readable, _, _ = select.select([ours], [], [], 60)
            assert readable, "nothing is written any more"
            written += os.read(ours, 65536)
    except OSError:
        pass  # The other end is closed.
    finally:
        os.close(ours)
    return written.decode().replace("\r\n", "\n"), process.wait(60)
