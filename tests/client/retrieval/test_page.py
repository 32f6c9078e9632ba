"""The programs of docs/retrieval-client.md run as one, and the page names every call."""

from __future__ import annotations

import re

from tests.docs.test_programs import ROOT, printed, programs

from rowbank import RetrievalClient

PAGE = "docs/retrieval-client.md"


def test_programs_run_as_one(served, target, tmp_path):
    blocks = programs(PAGE)
    program = "\n".join(blocks).replace("127.0.0.1:7781", served.target)
    told = printed(program, target, tmp_path)
    assert re.fullmatch(r"1 \d+ Title \d+ \S+", told[0])
    assert told[5] == "personal () v1"
    assert len(told[6].split(",")) == 3
    assert told[7:] == [
        "3",
        "6",
        "['catalogue', 'indexed'] {}",
        "[10, 10]",
        "(Unscored(id=424242, reason='the catalogue has no such item'),)",
        "(2, 5)",
        "1 [(9002, 'INVALID_FEATURE')]",
        "2",
        "{'and': [{'feature': 'year', 'gte': 1990}, {'feature': 'genres', 'any': ['Drama']}]}",
        "{'or': [{'not': {'feature': 'brand', 'any': ['acme']}}, {'named': 'in_stock'}]}",
    ]


def test_calls_of_the_client_in_the_page_exist():
    named = set(re.findall(r"\bretrieval\.([a-z_]+)\(", (ROOT / PAGE).read_text()))
    assert named
    assert named <= {name for name in vars(RetrievalClient) if not name.startswith("_")}
