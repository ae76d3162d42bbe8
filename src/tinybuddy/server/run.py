"""A server on an address."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

from tinybuddy.errors import TinybuddyError
from tinybuddy.server import limits
from tinybuddy.server.app import Settings, create_app
from tinybuddy.server.models import Models
from tinybuddy.server.protocol import LimitedProtocol

BACKLOG = 2048  # connections that the system takes before they are accepted here
MAX_FILES = 65_536


def serve(
    models: Models,
    settings: Settings,
    host: str,
    port: int,
    grace: int,
    on_ready: Callable[[str], None],
) -> None:
    """Serve until SIGTERM or Ctrl-C, and then end what runs.

    Args:
        models: that are served.
        settings: how.
        host: an address or a name of this machine.
        port: 0 takes one that is free.
        grace: seconds that what runs may take to its end.
        on_ready: called with the server's URL once clients may ask.

    Raises:
        TinybuddyError: if the address cannot be had.
    """
    allow_files()
    listener = listen(host, port)
    name = f"[{host}]" if ":" in host else host
    on_ready(f"http://{name}:{listener.getsockname()[1]}")
    server_of(create_app(models, settings), grace).run(sockets=[listener])


def allow_files() -> int:
    """Take as many open connections as the system allows; most give 1,024 unless asked for more.

    Returns:
        How many files may be open now.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return MAX_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < most:
        with contextlib.suppress(OSError, ValueError):  # macOS may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def server_of(app: Starlette, grace: int) -> uvicorn.Server:
    """Return what serves an application; ``grace`` as in `serve`."""
    return uvicorn.Server(
        uvicorn.Config(
            app,
            http=LimitedProtocol,
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(limits.IDLE_SECONDS),
            timeout_graceful_shutdown=grace,
            backlog=BACKLOG,
        )
    )


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; what it accepts ends where the other side is no longer there.

    Raises:
        TinybuddyError: if the address cannot be had.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except UnicodeError:  # what it would be in ASCII is too long, or has an empty part
        raise TinybuddyError(f"{host!r} is not the name of a machine.") from None
    except OSError as error:
        raise TinybuddyError(f"{host}:{port} cannot be served on: {error.strerror}.") from None
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        for option, value in (
            (socket.TCP_USER_TIMEOUT, 1_000 * limits.UNREAD_SECONDS),
            (socket.TCP_KEEPIDLE, limits.UNREAD_SECONDS),
            (socket.TCP_KEEPINTVL, limits.PROBE_SECONDS),
        ):
            listener.setsockopt(socket.IPPROTO_TCP, option, value)
    return listener
