"""A small program in place of one part of milepost: `python -m tests.integration.embedded.part NAME [ARGUMENT …]`.

It notes the signal that ends it in `stopped.txt` of the data directory, so that a test sees the order. Its environment
can make it misbehave: PART_CRASHES=name ends that part at once, PART_STUBBORN=name makes it ignore SIGTERM.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import asyncpg

DATA_DIR = Path(os.environ["MILEPOST_DATA_DIR"])


class _Ok(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"ok\n")


def serve(listener: socket.socket) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Ok, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    server.serve_forever()


def end(number: int, _: object) -> None:
    with (DATA_DIR / "stopped.txt").open("a") as file:
        file.write(f"{sys.argv[1]} {signal.Signals(number).name}\n")
    os._exit(0)


async def migrate() -> None:
    connection = await asyncpg.connect(os.environ["MILEPOST_DATABASE_URL"])
    await connection.execute("create table if not exists migrated (at timestamptz default now())")
    await connection.close()


def main() -> None:
    name = sys.argv[1]
    if os.environ.get("PART_CRASHES") == name:
        sys.exit(f"{name} does not like this machine")
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    if os.environ.get("PART_STUBBORN") == name:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if name == "migrate":
        asyncio.run(migrate())
        return
    if name == "edge":
        public = socket.socket(fileno=int(sys.argv[2]))
        threading.Thread(target=serve, args=(public,), daemon=True).start()
        threading.Thread(
            target=serve, args=(socket.create_server(("127.0.0.1", int(sys.argv[3]))),), daemon=True
        ).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
