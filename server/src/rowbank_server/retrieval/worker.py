"""`python -m rowbank_server.retrieval.worker DESCRIPTOR`: one of several processes of the retrieval service."""

from __future__ import annotations

import contextlib
import socket
import sys

import uvloop

from rowbank.errors import RowbankError
from rowbank_server import logs
from rowbank_server.retrieval.main import open_service
from rowbank_server.retrieval.processes import plan as plans
from rowbank_server.retrieval.processes.team import Team
from rowbank_server.retrieval.running import Place, serve
from rowbank_server.retrieval.starting import connect
from rowbank_server.settings import ApiSettings, SettingsError, StartError


def run(control: socket.socket) -> int:
    """Does a worker's part; the exit status. `control` leads to the parent, which says what that is."""
    plan = plans.receive(control)
    settings = ApiSettings(**plan.settings)
    logs.configure(settings.log_level, settings.log_format, plan.worker)
    team = Team.of(plan)

    def tell(addresses: str) -> None:
        with contextlib.suppress(OSError):  # The parent ended, and its end is ours.
            control.sendall(addresses.encode() + b"\n")

    place = Place(socket.socket(fileno=plan.listener), tell, team)
    redis = connect(settings)
    try:
        return uvloop.run(serve(settings, place, open_service(settings, redis, team)))
    finally:
        redis.close()


def main() -> int:
    """Runs a worker; the exit status."""
    try:
        return run(socket.socket(fileno=int(sys.argv[1])))
    except EOFError:
        return 1  # The parent ended first.
    except (SettingsError, StartError, RowbankError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
