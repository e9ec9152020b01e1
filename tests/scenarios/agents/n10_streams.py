"""Client and server in one process over a socket: the bottleneck is `serve_page`; the client only waits for it.

Hard: the cause lies in another task that is connected to the waiting one by nothing but bytes.
"""

import asyncio

from _fix import burn, run, scale

import libperf

FIXES = ["serve_page", "parse", "store"]


@libperf.trace
async def serve_page(number):
    await asyncio.sleep((0.12 + 0.01 * number) * scale("serve_page"))


@libperf.trace
def parse():
    burn(0.012 * scale("parse"))


@libperf.trace
async def store():
    await asyncio.sleep(0.05 * scale("store"))


async def answer(reader, writer):
    while line := await reader.readline():
        await serve_page(int(line))
        writer.write(b"page\n")
        await writer.drain()
    writer.close()


async def client(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for number in range(5):
        writer.write(b"%d\n" % number)
        await reader.readline()
        parse()
        await store()
    writer.close()
    await writer.wait_closed()


async def main():
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    await asyncio.gather(*[client(port) for _ in range(3)])
    server.close()


run(main)
