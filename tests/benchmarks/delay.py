"""A proxy that delivers every request later, as a network does: `python -m tests.benchmarks.delay PORT UPSTREAM MS`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress

CHUNK_BYTES = 65_536


async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Pass on what comes, each part so many seconds after it came: parts do not wait for one another."""
    parts: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
    clock = asyncio.get_running_loop()

    async def read() -> None:
        part = b"-"
        while part:
            part = await reader.read(CHUNK_BYTES)
            await parts.put((clock.time() + seconds, part))

    reading = asyncio.create_task(read())
    with suppress(ConnectionError):
        while True:
            due, part = await parts.get()
            await asyncio.sleep(due - clock.time())
            if not part:
                break
            writer.write(part)
            await writer.drain()
    reading.cancel()
    writer.close()


async def serve(port: int, upstream: int, seconds: float) -> None:
    """Forward to a port of this machine, until the end."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answer, request = await asyncio.open_connection("127.0.0.1", upstream)
        await asyncio.gather(forward(reader, request, seconds), forward(answer, writer, 0))

    async with await asyncio.start_server(connect, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]) / 1000))
