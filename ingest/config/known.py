"""The names of exchanges that may be configured: all that ccxt knows."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path


@cache
def exchanges() -> frozenset[str]:
    """By the files of ccxt's package, for to import it takes a second or two."""
    spec = find_spec("ccxt")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("ccxt is not installed: pip install ccxt")
    modules = Path(spec.submodule_search_locations[0], "async_support").glob("*.py")
    return frozenset(module.stem for module in modules) - {"__init__"}
