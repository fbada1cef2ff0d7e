"""A download that fails twice and then works: retries with growing pauses.

Without a URL the task serves the file to itself: a small HTTP server answers 503 to the first two tries of each run (it
remembers them in a file, as a real server would remember nothing of you), then sends the file. The download goes to a
temporary name first, so that nobody ever sees half a file.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
import urllib.request
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

from airflow.sdk import Param, dag, task

CONTENT = b"".join(b"line %06d of the file\n" % n for n in range(20_000))


def folder_of(params: dict, run_id: str) -> Path:
    """The folder of this run's files; ids become safe names."""
    folder = Path(params["data_folder"]).expanduser() / re.sub(r"[^A-Za-z0-9_.+-]", "_", run_id)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def flaky_server(memory: Path, failures: int) -> Iterator[str]:
    """URL of a server on this machine that refuses the first `failures` requests noted in the file `memory`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with memory.open("a+") as file:
                file.seek(0)
                asked = len(file.read())
                file.write(".")
            if asked < failures:
                self.send_error(503, "Not now")
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT)

        def log_message(self, format: str, *args: object) -> None:
            print("server:", format % args)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/file.txt"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def fetch(url: str, target: Path) -> int:
    """Download to `target`; its size in bytes. Only http and https: a URL from outside must not name local files."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise ValueError("The URL must begin with http:// or https://.")
    part = target.with_suffix(".part")
    with urllib.request.urlopen(url, timeout=30) as answer, part.open("wb") as file:
        while chunk := answer.read(65536):
            file.write(chunk)
    part.replace(target)
    return target.stat().st_size


@dag(
    schedule=None,
    catchup=False,
    tags=["example", "retries"],
    params={
        "url": Param("", type="string", description="What to download; empty: from a flaky server of its own."),
        "failures": Param(2, type="integer", minimum=0, maximum=10, description="How often that server refuses."),
        "data_folder": Param("~/airflow-data/flaky_download", type="string", minLength=1, description="Where files go."),
    },
    doc_md=__doc__,
)
def flaky_download():
    @task(retries=3, retry_delay=timedelta(seconds=1), retry_exponential_backoff=True, max_retry_delay=timedelta(seconds=10))
    def download(params: dict | None = None, run_id: str | None = None, ti=None) -> dict:
        folder = folder_of(params, run_id)
        print(f"try {ti.try_number}")
        with contextlib.ExitStack() as stack:
            url = params["url"] or stack.enter_context(flaky_server(folder / "asked", params["failures"]))
            size = fetch(url, folder / "download")
        return {"file": str(folder / "download"), "bytes": size, "tries": ti.try_number}

    @task
    def verify(download: dict, params: dict | None = None) -> str:
        digest = hashlib.sha256(Path(download["file"]).read_bytes()).hexdigest()
        if not params["url"] and digest != hashlib.sha256(CONTENT).hexdigest():
            raise ValueError("The file is not what the server sent.")
        print(f"{download['bytes']} bytes on try {download['tries']}, SHA-256 {digest}")
        return digest

    verify(download())


flaky_download()
