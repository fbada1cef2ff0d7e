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
from typing import Any

from trackside.core.messages import FinishReport, StartOrder
from trackside.runner import procs
from trackside.runner.channel import Kind, read_frame
from trackside.runner.client import ControlSocket, TryComms
from trackside.runner.jsonio import loads
from trackside.runner.loading import LoadedFile, TaskNotFound, dags_folder_of, find_task, load, resolve
from trackside.runner.records import ControlHandler

DEFAULT_RUN = "trackside.sdk.execution.run:run_task"


def main(fds: list[int], parent: int, settings: dict[str, Any], loaded: LoadedFile | None, *, fresh: bool) -> None:
    """Run one try and never return. `loaded` is what the zygote imported; `fresh` says it is still current."""
    began = time.monotonic()
    control_fd, stdout, stderr = fds
    _become_ordinary(parent, stdout, stderr, settings)
    control = ControlSocket(control_fd)
    control.close_in_forks()
    order = StartOrder.from_dict(loads(read_frame(control_fd)))
    comms = TryComms(control, settings["api_url"], order.token)
    _send_logs_to(comms)
    try:
        report = _run(order, comms, settings, loaded, fresh)
    except BaseException as error:  # the SDK reports what tasks raise; this is what it could not
        traceback.print_exc()
        report = FinishReport(order.try_id, outcome="failed", error=_one_line(error))
    report.try_id = report.try_id or order.try_id
    report.pid = os.getpid()
    if report.duration_s is None:
        report.duration_s = time.monotonic() - began
    _flush()
    control.send(Kind.FINISH, report.to_dict())
    os._exit(0 if report.outcome not in ("failed", "failed_no_retry") else 1)


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
    return resolve(settings.get("run") or DEFAULT_RUN)(order, task, dag, comms)


def _load_with(comms: TryComms, order: StartOrder, settings: dict[str, Any]) -> LoadedFile:
    """Import the file here, where variables and connections can be asked for with the try's token."""
    folder = dags_folder_of(order.dag_file, order.relative_fileloc)
    try:
        from trackside.sdk.execution.current import use_comms
    except ImportError:  # a stand-in loader without the SDK
        return load(order.dag_file, folder, settings)
    with use_comms(comms):
        return load(order.dag_file, folder, settings)


def _become_ordinary(parent: int, stdout: int, stderr: int, settings: dict[str, Any]) -> None:
    """Undo everything that makes this a fork of a server: session, descriptors, signals, seeds, `__main__`."""
    os.setsid()
    procs.die_with_parent(parent)
    procs.become_subreaper()
    procs.set_name("trackside-task")
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (stdout, 1), (stderr, 2)):
        os.dup2(source, target)
        os.close(source)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # The forkers install no handlers; ignored signals may come from whoever started the worker (nohup, a shell's "&").
    for signum in (signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP, signal.SIGQUIT, signal.SIGALRM, signal.SIGINT):
        if signal.getsignal(signum) is signal.SIG_IGN:
            signal.signal(signum, signal.default_int_handler if signum == signal.SIGINT else signal.SIG_DFL)
    os.register_at_fork(after_in_child=_drop_our_sigterm_handler)
    sys.stdin = open(0, encoding="utf-8", errors="surrogateescape", closefd=False)  # noqa: SIM115, PTH123
    for name, fd in (("stdout", 1), ("stderr", 2)):
        stream = open(fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115, PTH123
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    os.chdir(settings["cwd"])
    sys.argv = ["trackside-task"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    if (numpy_random := sys.modules.get("numpy.random")) is not None:
        numpy_random.seed()
    gc.enable()


def _drop_our_sigterm_handler() -> None:
    """A fork of the task (multiprocessing …) dies by SIGTERM as usual: the task's on_kill runs in the task only."""
    handler = signal.getsignal(signal.SIGTERM)
    if getattr(handler, "__module__", "").startswith("trackside."):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _send_logs_to(comms: TryComms) -> None:
    root = logging.getLogger()
    for handler in list(root.handlers):
        root.removeHandler(handler)
    root.addHandler(ControlHandler(comms.log))
    root.setLevel(os.environ.get("TRACKSIDE_TASK_LOG_LEVEL", "INFO").upper())
    logging.captureWarnings(True)


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
