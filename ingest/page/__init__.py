"""The status page: plain HTML, CSS and JavaScript under `static/`, fed by a websocket. It changes nothing.

The daemon runs a `Feed` in its TaskGroup, gives it a `Teller` of what it knows itself, and answers `routes`.
"""

from ingest.page.facts import Teller
from ingest.page.feed import Feed
from ingest.page.routes import routes

__all__ = ["Feed", "Teller", "routes"]
