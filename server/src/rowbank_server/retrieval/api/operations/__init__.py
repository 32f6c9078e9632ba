"""What each call does, whatever it came over: a checked body comes in, an answer goes out."""

from __future__ import annotations

from rowbank_server.retrieval.api.operations.bulk import Bulk
from rowbank_server.retrieval.api.operations.entities import Entities
from rowbank_server.retrieval.api.operations.events import Events
from rowbank_server.retrieval.api.operations.filters import Filters
from rowbank_server.retrieval.api.operations.models import Models
from rowbank_server.retrieval.api.operations.probing import Probing
from rowbank_server.retrieval.api.operations.querying import Querying
from rowbank_server.retrieval.api.operations.showing import Showing
from rowbank_server.retrieval.api.operations.whole import Whole
from rowbank_server.retrieval.api.service import Service


class Operations:
    """All calls, by what they are about."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.querying = Querying(service)
        self.entities = Entities(service)
        self.bulk = Bulk(service)
        self.events = Events(service)
        self.filters = Filters(service)
        self.models = Models(service)
        self.probing = Probing(service)
        self.showing = Showing(service)
        self.whole = Whole(service, self.models)
