"""Commands that ask for recommendations, against a real service; expected items by NumPy."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import pytest
from tests.client.retrieval.conftest import free_port, served  # noqa: F401 - a fixture.


@pytest.fixture
def ask(served):  # noqa: F811
    """Runs the command line against the service; returns the finished process."""

    def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "ROWBANK_RETRIEVAL": served.target, "NO_COLOR": "1"}
        command = [sys.executable, "-m", "rowbank.cli", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == code, done.stderr
        return done

    return run


def test_recommend_prints_what_numpy_ranks_first(served, ask):  # noqa: F811
    ids, scores = served.world.expected(served.world.user_vector(3), 4, exclude=served.world.histories[3])
    asked = ("recommend", "3", "--k", "4", "--exclude-seen")
    told = json.loads(ask(*asked, "-o", "json").stdout)
    assert [item["id"] for item in told["items"]] == ids
    assert [item["score"] for item in told["items"]] == pytest.approx(scores, abs=1e-5)
    assert (told["source"], told["model_version"], told["degraded"]) == ("personal", "v1", [])
    lines = list(csv.DictReader(ask(*asked, "-o", "csv").stdout.splitlines()))
    assert [(line["id"], line["title"]) for line in lines] == [(str(one), served.world.title(one)) for one in ids]
    table = ask(*asked).stdout.splitlines()
    assert [line.split()[1] for line in table[1:5]] == [*map(str, ids)]
    assert table[5].startswith("based on: personal; model ")


def test_similar_takes_several_items(served, ask):  # noqa: F811
    ids, _ = served.world.expected(served.world.vectors([100, 104]).mean(axis=0), 3, exclude=[100, 104])
    told = json.loads(ask("similar", "100", "104", "-k", "3", "-o", "json").stdout)
    assert [item["id"] for item in told["items"]] == ids


def test_a_degraded_answer_is_printed_and_said(ask):
    done = ask("recommend", "-5", "-k", "2", code=3)
    assert "based on: popular" in done.stdout
    assert done.stderr == "degraded: user:unknown\n"


def test_explanations_follow_the_items(ask):
    assert "\ntimings\n" in ask("recommend", "3", "--explain").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["recommend"], 2, "USER is missing"),
        (["recommend", "3", "--kk", "5"], 2, "unexpected"),
        (["recommend", "--seen"], 2, "rowbank recommend has no option --seen"),
        (["similar", "100", "--kk"], 2, "rowbank similar has no option --kk; did you mean --k?"),
        (["recommend", "3", "--k", "0"], 2, "--k: expected an integer from 1 to 1000, got '0'"),
        (["recommend", "3", "--filter", "{"], 2, "--filter: expected JSON, got '{'"),
        (["recommend", "3", "--filter", "[1]"], 2, "--filter: expected a JSON object, got '[1]'"),
        (["recommend", "3", "--filter", " "], 2, "--filter: expected JSON or the name of a stored filter"),
        (["recommend", "3", "--filter", '{"feature": "year"}'], 1, "filter: expected one of any, all"),
        (["recommend", "3", "--boost", '{"add": 1}'], 2, "--boost: expected filter, add and perhaps name"),
        (["recommend", "3", "--retrieval", "http://a"], 2, "--retrieval: expected HOST:PORT"),
        (["recommend", "anna"], 1, "the user ids of model 'two_tower' v1 are integers"),
        (["recommend", "--", "--anna"], 1, "the user ids of model 'two_tower' v1 are integers"),
        (["similar", "424242"], 1, "424242"),
        (["embed"], 2, "give --user or --item"),
        (["embed", "--user", "1", "--item", "1"], 2, "give --user or --item"),
        (["item", "put", "1", "title"], 2, "FEATURES: expected JSON, got 'title'"),
        (["filters", "put", "cheap", "cheap"], 2, "FILTER: expected JSON, got 'cheap'"),
    ],
)
def test_wrong_usage_is_one_line(ask, arguments, code, said):
    done = ask(*arguments, code=code)
    assert done.stderr.startswith("error: ")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_service_that_is_away_is_told_at_once(ask):
    done = ask("recommend", "1", "--retrieval", f"127.0.0.1:{free_port()}", code=1)
    assert "connection refused: nothing listens there; is a retrieval service" in done.stderr
