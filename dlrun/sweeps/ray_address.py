"""The address of a Ray cluster: whether one answers there, and if it asks for a token."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dlrun.errors import RunFailed

AUTO, LOCAL = "auto", "local"
# A word behind --ray that is none is CONFIG or KEY=VALUES.
ADDRESS = re.compile(rf"{AUTO}|{LOCAL}|ray://[^\s=]+|[^\s=:,]+:\d+|\d+(\.\d+){{3}}")
JOINED = Path("/tmp/ray/ray_current_cluster")  # by the documentation of ray.init
MODE = "RAY_AUTH_MODE"  # by the documentation of Ray: "token" or "k8s", else clients send none
_PATIENCE = 5.0  # seconds until an address that does not answer is given up
_HEADERS, _DATA, _SETTINGS = 1, 0, 4  # the types of frames of HTTP/2 (RFC 9113, 6)
_ENDS_HEADERS, _ENDS_STREAM = 4, 1  # their flags


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """A frame of HTTP/2 (RFC 9113, 4.1)."""
    return len(content).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + content


def _header(name: bytes, value: bytes) -> bytes:
    """A header as a literal (RFC 7541, 6.2.2)."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


# The first bytes of any client of HTTP/2, and of gRPC with it: a server sends its settings at once (RFC 9113,
# 3.4). Behind them a call of gRPC, without a token, of Ray's question whether it is alive.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0, b"")
_POST_BY_HTTP = b"\x83\x86"  # :method: POST, :scheme: http (RFC 7541, appendix A)
_CALL = _frame(
    _HEADERS,
    _ENDS_HEADERS,
    1,
    _POST_BY_HTTP
    + _header(b":path", b"/ray.rpc.NodeInfoGcsService/CheckAlive")
    + _header(b":authority", b"ray")
    + _header(b"content-type", b"application/grpc")
    + _header(b"te", b"trailers"),
) + _frame(_DATA, _ENDS_STREAM, 1, bytes(5))  # an empty message
_UNAUTHENTICATED = b"16"  # a status of gRPC


class _Busy(TimeoutError):
    """A server that has taken a connection does not answer."""


def known() -> str:
    """The address in RAY_ADDRESS, else that of the cluster that `ray start` joined here, else LOCAL.

    Ray itself would also join what another command has started for itself, and leave with it.
    """
    named = os.environ.get("RAY_ADDRESS")
    if named and named != AUTO:
        return named
    joined = _joined_here()
    try:
        reach(joined)
    except _Busy:
        return joined
    except (OSError, ValueError):
        return LOCAL
    return joined


def reach(address: str) -> None:
    """Raise OSError if no server of gRPC, as Ray's is, answers at HOST:PORT: Ray would ask for minutes.

    Raises ValueError without a port.
    """
    _answer(address, b"", lambda answer: len(answer) > 3)


def settle_token(address: str) -> None:
    """Have Ray send the token of this machine to a cluster that was joined here, if it asks for one.

    Ray itself sends none to an address that it is told. Raises RunFailed if no cluster answers there, or if
    it asks for a token and Ray would send none here, or the other way round: neither would hear the other.
    """
    try:
        asks = _asks_for_token(address)
    except (OSError, OverflowError, ValueError) as error:
        said = getattr(error, "strerror", None) or error
        fix = f"check the address; ray start --head starts one, --ray {LOCAL} trains on this machine"
        raise RunFailed(f"no Ray cluster answers: {said}", where=f"--ray {address}", fix=fix) from error
    if asks is None:
        return
    if asks and MODE not in os.environ and _is_joined_here(address) and _has_token():
        os.environ[MODE] = "token"
    if asks != (os.environ.get(MODE, "").lower() in ("token", "k8s")):
        what = f"this Ray cluster asks for {'a' if asks else 'no'} token"
        fix = f"set {MODE}=token, with its token in RAY_AUTH_TOKEN or ~/.ray/auth_token"
        raise RunFailed(what, where=f"--ray {address}", fix=fix if asks else f"set {MODE}=disabled")


def _joined_here() -> str:
    """The address of the cluster that `ray start` joined on this machine; "" if it joined none."""
    with suppress(OSError, ValueError):
        return JOINED.read_text(encoding="utf-8").strip()
    return ""


def _is_joined_here(address: str) -> bool:
    """True of the address of the cluster that this machine has joined, or of its port on localhost."""
    (host, _, port), (_, _, joined) = address.rpartition(":"), _joined_here().rpartition(":")
    return address == _joined_here() or (host in ("localhost", "127.0.0.1") and port == joined)


def _has_token() -> bool:
    """True if Ray would find a token here."""
    if any(os.environ.get(f"RAY_AUTH_TOKEN{of_file}") for of_file in ("", "_PATH")):
        return True
    with suppress(OSError, RuntimeError):  # of a user without a home
        return Path("~/.ray/auth_token").expanduser().exists()
    return False


def _asks_for_token(address: str) -> bool | None:
    """True if the cluster at an address refuses a call without a token; None if it does not say so or else.

    Raises OSError and ValueError as `reach` does.
    """
    found = _status(_answer(address, _CALL, lambda answer: _status(answer) is not None))
    return None if found is None else found == _UNAUTHENTICATED


def _status(answer: bytes) -> bytes | None:
    """The status of gRPC in an answer, whose digits stand behind their number; None if it is not whole."""
    _, name, rest = answer.partition(b"grpc-status")
    return rest[1 : 1 + rest[0]] if name and len(rest) > 1 and len(rest) > rest[0] else None


def _answer(address: str, request: bytes, is_whole: Callable[[bytes], bool]) -> bytes:
    """The first bytes of a server's answer to a request in HTTP/2; b"" from one that encrypts."""
    host, _, port = address.rpartition(":")
    until = time.monotonic() + _PATIENCE
    with socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE) as reached:
        if os.environ.get("RAY_USE_TLS", "0").lower() in ("1", "true"):
            return b""
        reached.sendall(_PREFACE + request)
        answer = b""
        while not is_whole(answer):
            reached.settimeout(max(until - time.monotonic(), 0.01))
            try:
                more = reached.recv(256)
            except TimeoutError as error:
                raise _Busy("timed out") from error
            if not more:
                break
            answer += more
            if len(answer) > 3 and answer[3] != _SETTINGS:
                break
    if answer[3:4] != bytes([_SETTINGS]):
        raise ConnectionError("something else listens there")
    return answer
