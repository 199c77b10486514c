#!/usr/bin/env python3
"""Ask a Kafka broker on 127.0.0.1 about itself until it answers. Needs nothing but Python.

usage: probe.py PORT [SECONDS] [CLUSTER_ID] [PID]

Ready is a broker that names its own port and the cluster CLUSTER_ID. It is asked again for at most SECONDS (default
0: asked once), and no longer than process PID lives.
Status: 0 ready, 1 not ready, 2 another cluster answers, 3 the process ended.
"""

import os
import socket
import struct
import sys
import time

READY, NOT_READY, FOREIGN, ENDED = range(4)
ANSWER_SECONDS = 2.0
PAUSE_SECONDS = 0.05
LARGEST_ANSWER = 1 << 20
# Metadata, version 2, correlation id 1, client id "probe", no topics
QUESTION = struct.pack(">hhih", 3, 2, 1, 5) + b"probe" + struct.pack(">i", 0)


def read_exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        part = connection.recv(size - len(found))
        if not part:
            raise ConnectionError("it closed the connection")
        found += part
    return found


def metadata(port: int) -> tuple[str | None, list[int]]:
    """The cluster's id and the ports its brokers advertise. Raises OSError, struct.error and IndexError."""
    with socket.create_connection(("127.0.0.1", port), ANSWER_SECONDS) as connection:
        connection.sendall(struct.pack(">i", len(QUESTION)) + QUESTION)
        (size,) = struct.unpack(">i", read_exactly(connection, 4))
        if not 12 <= size <= LARGEST_ANSWER:
            raise ConnectionError("it does not speak Kafka's protocol")
        answer = read_exactly(connection, size)
    position = 8

    def text() -> str | None:
        nonlocal position
        (length,) = struct.unpack_from(">h", answer, position)
        start, position = position + 2, position + 2 + max(length, 0)
        return None if length < 0 else answer[start:position].decode("utf-8", "replace")

    ports = []
    for _ in range(struct.unpack_from(">i", answer, 4)[0]):
        position += 4  # the node's id
        text()  # its host
        ports.append(struct.unpack_from(">i", answer, position)[0])
        position += 4
        text()  # its rack
    return text(), ports


def ended(pid: int) -> bool:
    """Whether the process is gone, or waits for nothing but to be reaped."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def main(argv: list[str]) -> int:
    port = int(argv[1])
    seconds = float(argv[2]) if len(argv) > 2 else 0.0
    wanted = argv[3] if len(argv) > 3 else ""
    pid = int(argv[4]) if len(argv) > 4 else os.getpid()
    begun = time.monotonic()
    while True:
        try:
            cluster, ports = metadata(port)
            if wanted and cluster and cluster != wanted:
                sys.stderr.write(f"Port {port} is answered by another Kafka cluster ({cluster}).\n")
                return FOREIGN
            if port in ports:
                return READY
            why = f"it knows brokers on {ports}"
        except (OSError, struct.error, IndexError) as error:
            why = str(error)
        if ended(pid):
            sys.stderr.write(f"The broker's process {pid} ended.\n")
            return ENDED
        if time.monotonic() - begun >= seconds:
            if seconds:
                sys.stderr.write(f"The broker on port {port} was not ready within {seconds:g} s: {why}.\n")
            return NOT_READY
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
