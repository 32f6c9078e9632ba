"""The entity that a path names, and how an answer names entities."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from rowbank_server import wording
from rowbank_server.retrieval.api.ids import GivenId, Ids, shown_id
from rowbank_server.retrieval.api.paths import decoded
from rowbank_server.retrieval.api.problems import ProblemError


def as_strings_asked(request: Request) -> bool:
    """Whether an answer is to have all ids as strings."""
    asked = request.query_params.get("ids")
    if asked not in (None, "string"):
        raise ProblemError(422, "invalid-request", f"query parameter 'ids': expected string, got {asked[:40]!r}")
    return asked is not None


@dataclass(frozen=True, slots=True)
class Named:
    """The entity that a path names.

    Attributes:
        key: of its features.
        text: its id, where ids are texts; otherwise empty.
        as_strings: whether the answer is to have all ids as strings.
    """

    key: int
    text: str
    as_strings: bool

    @classmethod
    def of(cls, request: Request, ids: Ids) -> Named:
        """What the last part of the path says."""
        text = decoded(request.path_params["id"])
        key = ids.key(text, "the id in the path")
        return cls(key, text if ids.are_texts else "", as_strings_asked(request))

    def __str__(self) -> str:
        return wording.show(self.text) if self.text else str(self.key)

    @property
    def texts(self) -> dict[int, str]:
        """What `claim` takes."""
        return {self.key: self.text} if self.text else {}

    @property
    def shown(self) -> GivenId:
        """As the answer has it."""
        return shown_id(self.key, self.text, as_strings=self.as_strings)
