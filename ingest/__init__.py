"""A daemon that keeps a complete, exact, queryable record of crypto markets in TimescaleDB."""

from importlib.metadata import version

__version__ = version("ingest")
