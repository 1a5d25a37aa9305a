"""What a client may say on its websocket, and the answers that Binance gives."""

import orjson
from msgspec import Struct

_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class Command(Struct, frozen=True):
    """A well-formed request. `streams` for SUBSCRIBE and UNSUBSCRIBE, `value` for SET_PROPERTY."""

    method: str
    id: int | str | None
    streams: tuple[str, ...] = ()
    value: bool = False


class Misspoken(Exception):
    """A request that cannot be understood; `reply` is the error frame, as the documentation prints it."""

    def __init__(self, code: int, message: str, request_id: int | str | None = None) -> None:
        super().__init__(message)
        shape = {"code": code, "msg": message}
        self.reply = orjson.dumps(shape if request_id is None else shape | {"id": request_id}).decode()


def result(request_id: int | str | None, value: object = None) -> str:
    return orjson.dumps({"result": value, "id": request_id}).decode()


def parse(text: str) -> Command:
    """Read one request. Raises `Misspoken` with the frame to answer."""
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Misspoken(3, f"Invalid JSON: expected value at line {error.lineno} column {error.colno}") from None
    column = len(text)
    if not isinstance(said, dict) or "method" not in said:
        raise Misspoken(2, f"Invalid request: missing field `method` at line 1 column {column}")
    method, request_id, params = said["method"], said.get("id"), said.get("params", [])
    if method not in _METHODS:
        expected = ", ".join(f"`{name}`" for name in _METHODS)
        raise Misspoken(
            2, f"Invalid request: unknown variant `{method}`, expected one of {expected} at line 1 column {column}"
        )
    if isinstance(request_id, bool) or not isinstance(request_id, int | str | None):
        raise Misspoken(2, "Invalid request: request ID must be an unsigned integer")
    if isinstance(request_id, str) and not (len(request_id) <= 36 and request_id.isalnum()):
        raise Misspoken(2, "Invalid request: request ID must be an unsigned integer")
    if not isinstance(params, list):
        raise Misspoken(2, f"Invalid request: invalid type: expected a sequence at line 1 column {column}", request_id)
    if method in {"SUBSCRIBE", "UNSUBSCRIBE"}:
        if not params or not all(isinstance(name, str) for name in params):
            raise Misspoken(2, "Invalid request: params must be a list of stream names", request_id)
        return Command(method, request_id, tuple(params))
    if method == "LIST_SUBSCRIPTIONS":
        return Command(method, request_id)
    if not params or not isinstance(params[0], str):
        raise Misspoken(2, "Invalid request: property name must be a string", request_id)
    if params[0] != "combined":
        raise Misspoken(0, "Unknown property", request_id)
    if len(params) > (2 if method == "SET_PROPERTY" else 1):
        raise Misspoken(2, "Invalid request: too many parameters", request_id)
    if method == "SET_PROPERTY" and not (len(params) == 2 and isinstance(params[1], bool)):
        raise Misspoken(1, "Invalid value type: expected Boolean", request_id)
    return Command(method, request_id, value=bool(params[1]) if method == "SET_PROPERTY" else False)
