"""`make bench`: every figure of benchmarks/README.md, beside its peer, from one run of the whole product."""

import asyncio
import os
import platform
import signal
import tempfile
from pathlib import Path

from benchmarks import chain, edge_capacity
from benchmarks.wrk import need_wrk
from tests.stack import Stack, api, running


async def measure(stack: Stack, folder: Path) -> None:
    async with api(stack) as client:
        campaign = await client.campaign(
            cost_model="cpc",
            cost_value=0.5,
            traffic_source_id=1,
            destination_url="https://shop.example/landing?clickid={clickid}&zone={sub1}&country={country}",
        )
        for part in ("ingest", "fold"):
            os.kill(stack.pid(part), signal.SIGSTOP)
        await asyncio.to_thread(edge_capacity.measure, stack, campaign["uuid"], folder / "second")
        clicks, size = chain.journal_bytes(stack)
        print(f"\nJournal: {clicks} clicks, {size / clicks:.0f} bytes a click")

        ingest = await chain.until(stack, "ingest", chain.STORED, clicks, clicks)
        fold = await chain.until(stack, "fold", chain.TO_FOLD, 0, clicks)
        print("\nIngest and fold, each alone               wall     per second of: process,    backend,        both")
        print(ingest.line("ingest"))
        print(fold.line("fold"))

        counted = (await client.wait_clicks(clicks))["clicks"]
        print(f"\nWhole chain: journaled {clicks} = stored {clicks} = counted {counted}")
        sent, answered, stored, shown = await chain.exact(stack, client, campaign["uuid"])
        print(f"             sent {sent} = answered {answered} = stored {stored} = counted {shown}")
        if not sent == answered == stored == shown:
            raise SystemExit("the chain does not add up")


def main() -> None:
    need_wrk()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}"
    )
    with (
        tempfile.TemporaryDirectory(dir=Path.cwd(), prefix=".bench-") as folder,
        running(Path(folder) / "data") as stack,
    ):
        asyncio.run(measure(stack, Path(folder)))


if __name__ == "__main__":
    main()
