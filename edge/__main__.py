"""`python -m edge`: the supervisor, which starts `python -m edge --worker I --fd N …` for each worker.

Exit status 0 after an orderly end, 2 for bad settings, 1 for anything else.
"""

import argparse
import asyncio
import logging
import os
import sys

import structlog

from edge.settings import read_settings
from edge.supervisor import Supervisor, public_listener
from shared import log
from shared.env import SettingsError


def main() -> int:
    arguments = _arguments()
    try:
        edge = read_settings(os.environ)
    except SettingsError as error:
        sys.stderr.write("".join(f"{problem}\n" for problem in error.problems))
        return 2
    # A stranger's malformed request is no event of ours; uvicorn would write a line for each.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    if arguments.worker is not None:
        log.configure(f"edge-{arguments.worker}")
        # Here, because the supervisor has no use for the classifier's tables.
        from edge.worker import run_worker

        return run_worker(edge, arguments.worker, arguments.fd, arguments.report_fd, arguments.parent)
    log.configure("edge")
    try:
        listener = public_listener(edge, arguments.fd)
    except OSError as error:
        settings = edge.settings
        structlog.get_logger("edge").error(
            "public port not available", host=settings.edge_host, port=settings.edge_port, reason=str(error)
        )
        return 1

    async def supervise() -> int:
        return await Supervisor(edge, listener).run()

    return asyncio.run(supervise())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m edge", description="Answers tracking links and postbacks.")
    parser.add_argument("--fd", type=int, help="a listening socket to take instead of binding one")
    # Between a supervisor and its workers only.
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--report-fd", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--parent", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker is not None and None in (arguments.fd, arguments.report_fd, arguments.parent):
        parser.error("a worker is started by its supervisor")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
