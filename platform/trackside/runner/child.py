"""The process of one try: become an ordinary process, get the order, run the task, report, leave.

Forked by `forkserver`; the agent (`tries`) is at the other end of the three descriptors: control socket, stdout, stderr.
What the task itself means (templates, execute, callbacks, outcome) is `trackside.sdk.execution.run.run_task`.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
import time
import traceback
import types
from dataclasses import fields
from typing import Any

from trackside.core import tracing
from trackside.core.messages import FinishReport, StartOrder
from trackside.runner import procs
from trackside.runner.channel import Kind, read_frame
from trackside.runner.client import ControlSocket, TryComms
from trackside.runner.jsonio import loads
from trackside.runner.loading import LoadedFile, TaskNotFound, dags_folder_of, find_task, load, resolve
from trackside.runner.rehearsal import rehearse
from trackside.sdk.execution import logs
from trackside.sdk.execution.current import use_comms

_REPORT = [field.name for field in fields(FinishReport)]
DEFAULT_RUN = "trackside.sdk.execution.run:run_task"


def prepare(settings: dict[str, Any]) -> None:
    """Everything that need not wait for the fork: done once by the fork server, again by a zygote after its import.

    What is done here is shared by all forks; each thing left for `main` costs every single task.
    """
    # Ignored signals may come from whoever started the worker (nohup, a shell's "&").
    for signum in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM, signal.SIGINT):
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115
    for name, fd in (("stdout", 1), ("stderr", 2)):
        getattr(sys, name).flush()
        stream = open(fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.chdir(settings["cwd"])
    sys.argv = ["trackside-task"]
    if getattr(sys.modules["__main__"], "__spec__", None) is not None:
        sys.modules["__main__"] = types.ModuleType("__main__")
    logs.setup(_control.log)


_control = ControlSocket()
"""Of this process; opened in `main`. Exists before the fork so that hooks and handlers can be put in place early."""
os.register_at_fork(after_in_child=_control.close_in_fork)


def warm() -> None:
    """In a process forked ahead of its try: touch the memory that every try touches, by a rehearsal whose log goes nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    _control.open(nowhere)
    try:
        rehearse()
    finally:
        _control.open(-1)
        os.close(nowhere)


def main(fds: list[int], parent: int, settings: dict[str, Any], loaded: LoadedFile | None, *, fresh: bool) -> None:
    """Run one try and never return. `loaded` is what the zygote imported; `fresh` says it is still current."""
    began = time.monotonic()
    _become_ordinary(parent, fds[1], fds[2])
    _control.open(fds[0])
    order = StartOrder.from_dict(loads(read_frame(fds[0])))
    comms = TryComms(_control, settings["api_url"], order.token)
    if os.environ.get("TRACKSIDE_TRACES", "").strip().lower() in ("1", "true", "yes", "on"):
        os.environ["TRACEPARENT"] = tracing.traceparent(order.dag_id, str(order.run.get("run_id")), order.try_id)
    try:
        report = _run(order, comms, settings, loaded, fresh)
    except BaseException as error:  # the SDK reports what tasks raise; this is what it could not
        traceback.print_exc()
        report = FinishReport(order.try_id, outcome="failed", error=_one_line(error))
    if report.duration_s is None:
        report.duration_s = time.monotonic() - began
    _flush()
    _tell(report)
    os._exit(0 if report.outcome not in ("failed", "failed_no_retry") else 1)


def _tell(report: FinishReport) -> None:
    """Hand the report to the agent, which keeps the last one it gets until this process has ended."""
    report.pid = os.getpid()
    # Not to_dict(): it copies everything deeply.
    _control.send(Kind.FINISH, {name: getattr(report, name) for name in _REPORT})


def _run(
    order: StartOrder, comms: TryComms, settings: dict[str, Any], loaded: LoadedFile | None, fresh: bool
) -> FinishReport:
    if loaded is None or not fresh:
        if loaded is not None:
            loaded.forget_modules()
        loaded = _load_with(comms, order, settings)
    try:
        dag, task = find_task(loaded, order.dag_id, order.task_id)
    except TaskNotFound as missing:
        logging.getLogger("trackside.runner").error("%s", missing)
        return FinishReport(order.try_id, outcome="failed", error=str(missing).splitlines()[0])
    # Told before the callbacks for the outcome run, so that their death does not change it.
    return resolve(settings.get("run") or DEFAULT_RUN)(order, task, dag, comms, report_to=_tell)


def _load_with(comms: TryComms, order: StartOrder, settings: dict[str, Any]) -> LoadedFile:
    """Import the file here, where variables and connections can be asked for with the try's token."""
    with use_comms(comms):
        return load(order.dag_file, dags_folder_of(order.dag_file, order.relative_fileloc), settings)


def _become_ordinary(parent: int, stdout: int, stderr: int) -> None:
    """A session and descriptors of its own, adopting its orphans, dying with the forker; the rest is in `prepare`."""
    os.setsid()
    procs.die_with_parent(parent)
    procs.become_subreaper()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)
        os.close(source)
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()
    gc.enable()


def _flush() -> None:
    for flush in (sys.stdout.flush, sys.stderr.flush, logging.shutdown):
        try:
            flush()
        except Exception:  # noqa: S110 - user code closed or replaced the stream
            pass


def _one_line(error: BaseException) -> str:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "/trackside/" not in f.filename]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0] if text else ''}{where}"
