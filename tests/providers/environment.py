"""An environment beside the project's own in which provider packages are installed, as a user would do it.

Made once and kept inside the project's environment (its name says what is in it), so that a run of the tests costs nothing
and the packages of the development environment stay what `requirements-dev.txt` says.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

from tests.support.server import ROOT

PROVIDERS = (
    *("http==6.3.0", "common-compat==1.23.0", "common-sql==2.4.0", "common-io==1.11.0", "postgres==7.1.1", "sqlite==4.3.4"),
    *("ssh==7.0.1", "ftp==3.16.1", "amazon[aiobotocore]==9.39.0", "cncf-kubernetes==10.25.0", "hashicorp==4.8.4"),
)
SERVERS = ("moto[server,s3]==5.2.5",)
"""What the tests talk to; installed there too, run from there."""
OLD_S = 14 * 24 * 3600.0
"""Environments made longer ago go when another one is made."""


def make() -> Path:
    """Path of the environment's interpreter."""
    digest = hashlib.sha256()
    decided_by = ("requirements.txt", "platform/trackside/cli/provider_plan.py")
    for part in (*PROVIDERS, *SERVERS, sys.version, *((ROOT / name).read_text() for name in decided_by)):
        digest.update(part.encode())
    folder = Path(sys.prefix) / "provider-tests" / digest.hexdigest()[:16]
    python, ready = folder / "bin" / "python", folder / "ready"
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if ready.exists():
            return python
        for old in folder.parent.iterdir():
            if old == folder or (old.is_dir() and old.stat().st_mtime < time.time() - OLD_S):
                shutil.rmtree(old)
        uv = shutil.which("uv")
        venv.create(folder, with_pip=uv is None, symlinks=True)
        beside = Path(sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)}))
        (beside / "_trackside.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        run(python, "-m", "trackside.cli", "providers", "install", *PROVIDERS)
        kept = folder / "kept.txt"
        kept.write_text(run(python, "-c", "import importlib.metadata as m\nfor d in m.distributions(): print(f'{d.name}=={d.version}')"))
        lines = [line for line in kept.read_text().splitlines() if not line.startswith(("apache-airflow", "trackside"))]
        kept.write_text("\n".join(dict.fromkeys(lines)))
        tool = [uv, "pip", "install", "-q", "--python", str(python)] if uv else [str(python), "-m", "pip", "install", "-q"]
        run(*tool, "--constraint", str(kept), *SERVERS)
        ready.touch()
    return python


def run(*argv: str | Path) -> str:
    """What a command printed; fails with what it said."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(list(map(str, argv)), capture_output=True, text=True, cwd=ROOT, env=env, check=False)
    assert done.returncode == 0, f"{' '.join(map(str, argv))}\n{done.stdout}\n{done.stderr}"
    return done.stdout
