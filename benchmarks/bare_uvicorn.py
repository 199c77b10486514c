"""The peer of the edge: uvicorn as it comes, with the smallest application that answers a redirect.

python -m benchmarks.bare_uvicorn <port> <workers>
"""

import sys
from typing import Any

import uvicorn

START = {
    "type": "http.response.start",
    "status": 302,
    "headers": [(b"location", b"https://shop.example/"), (b"cache-control", b"no-store"), (b"content-length", b"0")],
}
BODY = {"type": "http.response.body", "body": b""}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """302 to everything."""
    await send(START)
    await send(BODY)


if __name__ == "__main__":
    uvicorn.run(
        # By name, because several workers import it themselves.
        "benchmarks.bare_uvicorn:app",
        host="127.0.0.1",
        port=int(sys.argv[1]),
        workers=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="error",
        server_header=False,
    )
