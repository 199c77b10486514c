"""TCP ports: free ones for the embedded servers, and the configured ones, judged before anything is started."""

import errno
import random
import socket
from pathlib import Path

from management.embedded.failure import StartError

_LOWEST = 10240
_BACKLOG = 2048
_TRIES = 100
_OUTGOING_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_loopback_port() -> int:
    """A port that nobody listens on at 127.0.0.1.

    It lies below the range from which the kernel takes ports for outgoing connections: a server that is started again
    must find its port free, and in that range any client on the machine might have borrowed it meanwhile.
    """
    lowest_outgoing = int(_OUTGOING_RANGE.read_text().split()[0]) if _OUTGOING_RANGE.exists() else 32768
    for _ in range(_TRIES if lowest_outgoing > _LOWEST + _TRIES else 0):
        port = random.randrange(_LOWEST, lowest_outgoing)
        if is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1 at `port` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def listen(host: str, port: int, setting: str) -> socket.socket:
    """A listening TCP socket; raises StartError with one sentence that names the setting to change.

    `setting` is the name without its ending, such as MILEPOST_EDGE for MILEPOST_EDGE_HOST and MILEPOST_EDGE_PORT.
    """
    listener = _bind(host, port, setting)
    listener.listen(_BACKLOG)
    return listener


def check_free(host: str, port: int, setting: str) -> None:
    """Raises StartError, as `listen` does, if another program has the port."""
    _bind(host, port, setting).close()


def _bind(host: str, port: int, setting: str) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise StartError(f"{setting}_HOST: {host!r} is not an address of this machine: {error.strerror}") from error
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise StartError(_explain(error, host, port, setting)) from error
    return bound


def _explain(error: OSError, host: str, port: int, setting: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{setting}_PORT: port {port} on {host} is taken by another program, end that or choose another port"
    if error.errno == errno.EACCES:
        return f"{setting}_PORT: this user may not listen on port {port}, choose one from 1024 up"
    return f"{setting}_HOST: cannot listen on {host}: {error.strerror}"
