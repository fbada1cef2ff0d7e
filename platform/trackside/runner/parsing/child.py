"""What runs in the process of one file: take the limits, load, turn DAGs into JSON, send, vanish.

For `server`, which forks it. Nothing here returns into the server's code: the process ends in `os._exit`, without
atexit handlers, threads to join or buffers of the server.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import hashlib
import importlib
import json
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from trackside.runner import errands, procs
from trackside.runner.parsing import guard, kept, wire
from trackside.runner.parsing.settings import MAX_FILES, MAX_RESULT, ParseSettings
from trackside.sdk.plugins import loading as plugins
from trackside.sdk.plugins import policies

_VOLATILE = ("fileloc", "relative_fileloc")
"""Where a file lies is not part of the structure (`DagSpec.structure_hash`)."""


def main(request: dict[str, Any], settings: ParseSettings, channel: int, output: int, parent: int) -> None:
    """Parse one file and end the process."""
    try:
        me = os.getpid()
        _isolate(channel, output, parent)
        settings = replace(settings, timeout=request.get("timeout") or settings.timeout)
        _limit(settings)
        settings = replace(settings, dags_folder=request.get("dags_folder") or settings.dags_folder)
        with _server_in_reach(request["id"], keeping=request.get("job") is None):
            if settings.plugins_folder:
                os.environ["TRACKSIDE_PLUGINS_FOLDER"] = settings.plugins_folder
            policies.forget()
            if (job := request.get("job")) is not None:
                result = errands.run(job, settings)
            else:
                plugins.load()
                result = _limited(request["path"], settings) or load(request["path"], request.get("plan") or {}, settings)
        body = _encode(result, settings)
        if os.getpid() == me:  # a fork that the file made and that came back here must not answer for it
            faulthandler.cancel_dump_traceback_later()
            _flush()
            wire.send(3, wire.RESULT, {}, body)
            os._exit(0)
    except BaseException:
        traceback.print_exc()
        _flush()
    os._exit(1)


def _isolate(channel: int, output: int, parent: int) -> None:
    """A session of its own; only null, output and the channel stay open. The channel becomes descriptor 3."""
    os.setsid()
    procs.die_with_parent(parent)
    procs.become_subreaper()
    channel, output = os.dup(channel), os.dup(output)  # out of the way of 0 to 3
    while channel <= 3:
        channel = os.dup(channel)
    while output <= 3:
        output = os.dup(output)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(channel, 3, inheritable=False)
    os.closerange(4, 1024)  # the server has few
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _limit(settings: ParseSettings) -> None:
    data = _data_bytes() + (settings.memory_mb << 20)
    _set_limit(resource.RLIMIT_DATA, data)  # private writable memory: what RLIMIT_AS means, without reserved space
    _set_limit(resource.RLIMIT_NOFILE, MAX_FILES)
    _set_limit(resource.RLIMIT_CORE, 0)
    _set_limit(resource.RLIMIT_FSIZE, 1 << 30)
    try:
        Path("/proc/self/oom_score_adj").write_text("500")  # when memory runs out, rather this than a task
    except OSError:
        pass
    faulthandler.enable(2, all_threads=False)
    # shortly before the server kills: where it hangs goes to the output, even out of a loop in C
    faulthandler.dump_traceback_later(max(settings.timeout - 0.15, settings.timeout * 0.7), file=2)
    # nothing is written into DAG folders, and a helper module saved twice within one second is not stale
    sys.dont_write_bytecode = True
    gc.disable()  # the process is short


def _limited(path: str, settings: ParseSettings) -> dict[str, Any] | None:
    """Take the time that the site's policy gives this file; the result, if the policy cannot be asked."""
    if settings.dags_folder not in sys.path:  # a policy may lie there, too; reading the file puts it there anyway
        sys.path.insert(0, settings.dags_folder)
    try:
        seconds = policies.import_timeout(path)
    except BaseException as e:  # also SystemExit of a policy
        return {"dags": [], "errors": [_from_exception(e, path)], "warnings": [], "hashes": {}, "sources": {}, "imports": []}
    if seconds is not None:
        wire.send(3, wire.LIMIT, {"seconds": seconds})
        faulthandler.dump_traceback_later(max(seconds - 0.15, seconds * 0.7), file=2)
    return None


def _set_limit(kind: int, value: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def _data_bytes() -> int:
    """Memory that counts against RLIMIT_DATA and is inherited from the warm parent."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[5]) * resource.getpagesize()
    except (OSError, IndexError, ValueError):
        return 0


def load(path: str, plan: dict[str, Any], settings: ParseSettings) -> dict[str, Any]:
    """Everything about one file, ready for JSON. What is wrong in it is in `errors`, never raised."""
    result: dict[str, Any] = {"dags": [], "errors": [], "warnings": [], "hashes": {}, "sources": {}, "imports": []}
    try:
        result["content_hash"] = guard.content_hash(path)
        guard.check_zip(path)
    except guard.Refused as e:
        result["errors"].append(_problem(str(e)))
        return result
    sources = guard.Sources(path)
    before = set(sys.modules)
    try:
        loaded = _resolve(settings.loader)(path, dags_folder=settings.dags_folder)
        result["errors"] += [_as_problem(e) for e in _values(getattr(loaded, "errors", ()))]
        result["warnings"] += [_as_warning(w) for w in _values(getattr(loaded, "warnings", ()))]
        dags = _values(loaded.dags)
        _add_dags(dags, result, sources, settings)
        _plan(dags, plan, result)
    except BaseException as e:  # also SystemExit and KeyboardInterrupt of the file
        result["errors"].append(_from_exception(e, path))
    for problem in result["errors"]:
        if "MemoryError" in problem["message"]:
            problem["message"] += (
                f": parsing needed more than {settings.memory_mb} MB. Move heavy work from the top of the file into "
                "tasks, or raise TRACKSIDE_PARSE_MEMORY_MB."
            )
    result["imports"] = _imported(before, path, settings.dags_folder)
    return result


def _add_dags(dags: list[Any], result: dict[str, Any], sources: guard.Sources, settings: ParseSettings) -> None:
    for dag in dags:
        dag_id = dag.get("dag_id") if isinstance(dag, dict) else getattr(dag, "dag_id", None)
        try:
            spec = dag if isinstance(dag, dict) else _resolve(settings.encoder)(dag).to_dict()
            guard.check_storable(spec)
            structure = {k: v for k, v in spec.items() if k not in _VOLATILE}
            text = json.dumps(structure, sort_keys=True, allow_nan=False, default=_refuse)
        except Exception as e:
            problem = _from_exception(e, spec_path(dag) or "")
            problem["dag_id"] = dag_id
            problem["message"] = f"DAG {dag_id} cannot be stored: {problem['message']}"
            result["errors"].append(problem)
            continue
        result["dags"].append(spec)
        result["hashes"][spec["dag_id"]] = hashlib.sha256(text.encode()).hexdigest()
        result["sources"].setdefault(spec.get("fileloc") or "", sources.text(spec.get("fileloc") or ""))


def spec_path(dag: Any) -> str | None:
    """File a DAG says it comes from."""
    return dag.get("fileloc") if isinstance(dag, dict) else getattr(dag, "fileloc", None)


def _plan(dags: list[Any], wanted: dict[str, Any], result: dict[str, Any]) -> None:
    """Ask timetable classes of the user's for the next run: they cannot be asked in the server."""
    from trackside.runner.parsing import custom

    planned: dict[str, Any] = {}
    for dag in dags:
        spec = next((d for d in result["dags"] if d["dag_id"] == getattr(dag, "dag_id", None)), None)
        if spec is None or not custom.is_custom(spec.get("timetable")):
            continue
        dag_id = spec["dag_id"]
        try:
            planned[dag_id] = custom.next_run(dag, spec, wanted.get(dag_id), datetime.now(UTC))
        except Exception as e:
            problem = _from_exception(e, spec.get("fileloc") or "")
            problem["message"] = f"The timetable of DAG {dag_id} failed: {problem['message']}"
            result["errors"].append({**problem, "dag_id": dag_id})
    result["planned"] = planned


def _encode(result: dict[str, Any], settings: ParseSettings) -> bytes:
    body = json.dumps(result, default=str).encode("utf-8", "replace")
    if len(body) > MAX_RESULT:
        os.write(2, f"The result has {len(body):,} bytes.\n".encode())
        body = b"[" * 8  # not readable: the client makes a problem of it
    return body


# What the loader said, as JSON


def _values(items: Any) -> list[Any]:
    return list(items.values()) if isinstance(items, dict) else list(items or ())


def _problem(message: str, lineno: int | None = None, trace: str = "", dag_id: str | None = None) -> dict[str, Any]:
    message, trace = guard.storable_text(message), guard.storable_text(trace)
    return {"message": message, "lineno": lineno, "traceback": trace, "dag_id": dag_id}


def _first(item: Any, *names: str) -> Any:
    for name in names:
        value = item.get(name) if isinstance(item, dict) else getattr(item, name, None)
        if value is not None:
            return value
    return None


def _as_problem(error: Any) -> dict[str, Any]:
    message = _first(error, "message", "text") or str(error)
    lineno = _first(error, "lineno", "line")
    trace = _first(error, "traceback", "stacktrace") or ""
    return _problem(str(message), lineno if isinstance(lineno, int) else None, str(trace), _first(error, "dag_id"))


def _as_warning(warning: Any) -> dict[str, Any]:
    lineno = _first(warning, "lineno", "line")
    return {
        "message": guard.storable_text(str(_first(warning, "message", "text") or warning)),
        "kind": str(_first(warning, "kind", "category") or "runtime varying value"),
        "dag_id": _first(warning, "dag_id"),
        "lineno": lineno if isinstance(lineno, int) else None,
    }


def _from_exception(error: BaseException, path: str) -> dict[str, Any]:
    line = next((f.lineno for f in reversed(traceback.extract_tb(error.__traceback__)) if f.filename == path), None)
    if isinstance(error, SystemExit):
        message = f"The file called sys.exit({error.code!r}). Remove that call: importing the file must return."
    else:
        message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return _problem(message, line, "".join(traceback.format_exception(error)))


def _refuse(value: object) -> Any:
    raise TypeError(f"{value!r} ({type(value).__name__}) cannot be written as JSON")


def _resolve(reference: str) -> Any:
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def _imported(before: set[str], path: str, folder: str) -> list[str]:
    root = folder.rstrip("/") + "/"
    files = {getattr(sys.modules.get(name), "__file__", None) for name in set(sys.modules) - before}
    return sorted(f for f in files if isinstance(f, str) and f.startswith(root) and f != path)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()


# Variables and connections while parsing


class _ParseComms:
    """`Comms` for a file at its top level: reading variables and connections, nothing else."""

    def __init__(self, request_id: int) -> None:
        self.id = request_id
        self._lock = threading.Lock()
        self._reader = wire.Reader(1 << 24)

    def request(
        self, method: str, path: str, *, params: dict[str, Any] | None = None, body: Any = None
    ) -> tuple[int, Any]:
        """See `Comms.request`."""
        if method != "GET":
            return 403, {"detail": f"{method} {path} is not possible while a DAG file is parsed: do it in a task."}
        with self._lock:
            wire.send(3, wire.ASK, {"id": self.id, "method": method, "path": path, "params": params})
            frames: list[wire.Frame] = []
            while not frames:
                data = os.read(3, 1 << 16)
                if not data:
                    os._exit(1)  # the server is gone
                frames = self._reader.feed(data)
        return frames[0].header["status"], json.loads(frames[0].body)

    def update(self, **fields: Any) -> None:
        """See `Comms.update`: there is no try to tell about."""

    def mask(self, secret: str) -> None:
        """See `Comms.mask`: output of parsing is shown to people who may see the code only."""


@contextlib.contextmanager
def _server_in_reach(request_id: int, *, keeping: bool) -> Iterator[None]:
    try:
        from trackside.sdk import secrets
        from trackside.sdk.execution.current import use_comms
    except ImportError:  # a stand-in loader without the SDK
        yield
        return
    comms = _ParseComms(request_id)
    secrets.keeping = partial(kept.keeper, comms.request) if keeping else None
    with use_comms(comms):
        yield
