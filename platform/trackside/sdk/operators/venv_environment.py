"""Making a virtual environment with uv or pip, and asking an interpreter what it has.

For `virtualenv.py`. `AIRFLOW__STANDARD__VENV_INSTALL_METHOD` chooses `uv`, `pip` or `auto` (uv where it is installed).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from trackside.sdk.exceptions import AirflowException
from trackside.sdk.operators.subprocess import SubprocessHook

_QUESTION = """
import sys
try:
    from importlib.util import find_spec
    found = [name for name in ("trackside", "pendulum") if find_spec(name)]
except ImportError:
    found = []
print("%d %s" % (sys.version_info[0], " ".join(found)))
"""


class Interpreter(NamedTuple):
    """What another interpreter has."""

    major: int
    trackside: bool
    pendulum: bool


def ask(python: str | Path) -> Interpreter:
    """What `python` has. Raises AirflowException if it cannot be run."""
    try:
        said = subprocess.run([os.fspath(python), "-c", _QUESTION], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        words = getattr(error, "stderr", "") or error
        raise AirflowException(f"{python} cannot be used as a Python interpreter: {words}") from error
    major, *found = said.split()
    return Interpreter(int(major), "trackside" in found, "pendulum" in found)


@dataclass(frozen=True)
class Recipe:
    """What a virtual environment consists of."""

    requirements: Sequence[str]
    python_version: str | None = None
    system_site_packages: bool = True
    pip_install_options: Sequence[str] = field(default=())
    index_urls: Sequence[str] | None = None

    def make(self, folder: Path, hook: SubprocessHook) -> Path:
        """Build it in `folder`; its interpreter. Raises AirflowException with the tool's last line."""
        uv = _uv()
        python = f"python{self.python_version}" if self.python_version else sys.executable
        if uv is None and self.python_version and shutil.which(python) is None:
            raise AirflowException(f"{python} is not on the worker's PATH; install it there, or install uv, which can fetch it")
        env = {**os.environ, **(self._index_variables() if uv else {})}
        site = ["--system-site-packages"] if self.system_site_packages else []
        if uv:
            _run(hook, [uv, "venv", "--allow-existing", "--seed", "--python", python, *site, str(folder)], env)
        else:
            _run(hook, [python, "-m", "venv", str(folder), *site], env)
            if self.index_urls is not None:
                (folder / "pip.conf").write_text(self._pip_conf())
        interpreter = folder / "bin" / "python"
        if self.shares_worker_packages:
            _share(folder)
        if self.requirements:
            listed = folder / "requirements.txt"
            listed.write_text("\n".join(self.requirements) + "\n")
            install = [uv, "pip", "install", "--python", str(interpreter)] if uv else [str(interpreter), "-m", "pip", "install"]
            _run(hook, [*install, *self.pip_install_options, "-r", str(listed)], env)
        return interpreter

    @property
    def shares_worker_packages(self) -> bool:
        """Whether what is installed for the worker (Trackside, pendulum …) can be imported, too."""
        return self.system_site_packages and self.python_version in (None, *_own_versions())

    def _index_variables(self) -> dict[str, str]:
        if not self.index_urls:
            return {}
        more = {"UV_INDEX": " ".join(self.index_urls[1:])} if len(self.index_urls) > 1 else {}
        return {"UV_DEFAULT_INDEX": self.index_urls[0], **more}

    def _pip_conf(self) -> str:
        if not self.index_urls:
            return "[global]\nno-index = true\n"
        more = f"extra-index-url = {' '.join(self.index_urls[1:])}\n" if len(self.index_urls) > 1 else ""
        return f"[global]\nindex-url = {self.index_urls[0]}\n{more}"


def _own_versions() -> tuple[str, ...]:
    major, minor, micro = sys.version_info[:3]
    return f"{major}", f"{major}.{minor}", f"{major}.{minor}.{micro}"


def _share(folder: Path) -> None:
    """The worker may live in a virtual environment itself; then "system" would mean that of the Python below it."""
    if sys.prefix == sys.base_prefix:
        return
    for packages in folder.glob("lib/python*/site-packages"):
        lines = [f"import site; site.addsitedir({path!r})" for path in dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib")))]
        (packages / "_worker_packages.pth").write_text("\n".join(lines) + "\n")


def _uv() -> str | None:
    """Path of uv if it shall be used."""
    method = os.environ.get("AIRFLOW__STANDARD__VENV_INSTALL_METHOD", "auto").lower()
    if method not in ("auto", "uv", "pip"):
        raise AirflowException(f"AIRFLOW__STANDARD__VENV_INSTALL_METHOD is {method!r}; set it to auto, uv or pip")
    beside = Path(sys.executable).with_name("uv")
    found = None if method == "pip" else shutil.which("uv") or (str(beside) if beside.exists() else None)
    if method == "uv" and found is None:
        raise AirflowException("AIRFLOW__STANDARD__VENV_INSTALL_METHOD is uv, but uv is not installed on this worker")
    return found


def _run(hook: SubprocessHook, command: list[str], env: dict[str, str]) -> None:
    result = hook.run_command(command, env, cwd=os.fspath(Path.cwd()))
    if result.exit_code != 0:
        last = re.sub(r"//[^/@\s]+@", "//***@", result.output)  # an index URL may hold a password
        raise AirflowException(f"{Path(command[0]).name} could not make the virtual environment: {last}")
