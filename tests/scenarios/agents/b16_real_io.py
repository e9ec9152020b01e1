"""A child process and a real socket, waited for by the selector: the bottleneck is `http_get`."""

import asyncio
import http.server
import threading
import time

from _fix import run, scale

import libperf

FIXES = ["subproc", "http_get", "tail"]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers GET /seconds after that time."""

    def do_GET(self):
        time.sleep(float(self.path[1:]))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *arguments):
        pass


@libperf.trace
async def subproc():
    process = await asyncio.create_subprocess_exec("sleep", str(0.5 * scale("subproc")))
    await process.wait()


@libperf.trace
async def http_get(port):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /%g HTTP/1.0\r\n\r\n" % (0.35 * scale("http_get")))
    await reader.read()
    writer.close()


@libperf.trace
async def tail():
    await asyncio.sleep(0.2 * scale("tail"))


async def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    await asyncio.gather(subproc(), http_get(port))
    await http_get(port)
    await tail()


run(main)
