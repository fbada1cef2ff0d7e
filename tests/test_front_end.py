"""The islands' own checks: types, style and unit tests, run by the Node that builds them."""

from __future__ import annotations

import importlib.util
import subprocess
from pathlib import Path

import pytest

FRONTEND = Path(__file__).parents[1] / "frontend"
BUILT = (FRONTEND / "node_modules" / ".bin").is_dir()
pytestmark = pytest.mark.skipif(not BUILT, reason="the front end is not built: python frontend/build.py")


@pytest.mark.parametrize("script", ["check", "lint", "test"])
def test_the_islands_pass_their_own_checks(script: str) -> None:
    spec = importlib.util.spec_from_file_location("frontend_build", FRONTEND / "build.py")
    assert spec is not None and spec.loader is not None
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    command, env = build.npm()
    env["CI"] = "1"
    done = subprocess.run([*command, "run", script], cwd=FRONTEND, env=env, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
