"""A bundle that is a git repository: one bare clone per machine, a work tree for what is tracked, one per version in use.

For `open_bundle`. Uses the `git` command (2.25 or newer). A version is a commit's full id. The tracked work tree is moved
in place, so files that a commit did not touch keep their times and are not taken for changed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trackside.runner.bundles.base import Bundle, BundleError, Lease, remove_tree
from trackside.runner.bundles.gitauth import clean_url, signed_in

LOCAL_S = 120.0
"""Seconds git may take for what is on disk."""
_FILLING = ("Please make sure you have the correct access rights", "and the repository exists.")
"""Of git's words; they say less than what stands before them."""
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_REFS = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")


class GitBundle(Bundle):
    """See the module."""

    @property
    def root(self) -> Path:
        return self._path("tracking", self.config.subdir)

    def version(self) -> str | None:
        return self._read_marker()

    def refresh(self) -> bool:
        with self._locked():
            with self._remote() as (url, environment):
                self._fetch(url, environment)
                commit = self._resolve(str(self.config.kwargs["tracking_ref"]))
                if commit == self._read_marker():
                    return False
                self._drop_marker()  # from here until it is written again nobody may trust what lies there
                self._check_out(self._path("tracking"), commit, environment)
            if not self.root.is_dir():
                raise BundleError(f"Bundle {self.config.name}: there is no folder {self.config.subdir} in commit {commit[:12]}.")
            self._write_marker(commit)
        return True

    def materialise(self, version: str) -> tuple[Path, Lease]:
        if not _COMMIT.fullmatch(version):
            raise BundleError(f"Bundle {self.config.name}: {version!r} is no commit.")
        folder = self._path("versions", version)
        with self._locked():
            if not self._path("versions", f"{version}.ready").exists():
                remove_tree(folder)  # what a killed process left half done
                self._path("versions").mkdir(exist_ok=True)
                if self._holds(version) and not self.config.kwargs.get("submodules"):
                    self._check_out(folder, version, {})
                else:
                    with self._remote() as (url, environment):
                        if not self._holds(version):
                            self._fetch(url, environment, version)
                        self._check_out(folder, version, environment)
            lease = self._lease(version)
            self._free_old_versions(self._remove)
        return folder / self.config.subdir, lease

    # What is on disk

    def _resolve(self, ref: str) -> str:
        """The commit a branch, tag or commit id names."""
        for name in (f"refs/heads/{ref}", f"refs/tags/{ref}", ref):
            try:
                return self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}").strip()
            except BundleError:
                continue
        raise BundleError(f"Bundle {self.config.name}: the repository has no branch, tag or commit {ref!r} (tracking_ref).")

    def _holds(self, commit: str) -> bool:
        if not self._path("bare", "HEAD").exists():
            return False
        try:
            self._git("cat-file", "-e", f"{commit}^{{commit}}")
            return True
        except BundleError:
            return False

    def _check_out(self, folder: Path, commit: str, environment: Mapping[str, str]) -> None:
        if not (folder / ".git").exists():
            remove_tree(folder)
            self._git("worktree", "prune")
            self._git("worktree", "add", "--force", "--detach", "--no-checkout", str(folder), commit)
            if sparse := self.config.kwargs.get("sparse_dirs"):
                self._git("sparse-checkout", "init", "--cone", cwd=folder)
                self._git("sparse-checkout", "set", *map(str, sparse), cwd=folder)
        (Path(self._git("rev-parse", "--absolute-git-dir", cwd=folder).strip()) / "index.lock").unlink(missing_ok=True)
        self._git("checkout", "--force", "--detach", "--quiet", commit, cwd=folder)
        self._git("clean", "-ffdxq", cwd=folder)
        if self.config.kwargs.get("submodules"):
            wanted = ("submodule", "update", "--init", "--recursive", "--force")
            self._git(*wanted, cwd=folder, environment=environment, timeout=self.config.timeout)

    def _remove(self, folder: Path) -> None:
        remove_tree(folder)
        self._git("worktree", "prune")

    # The remote

    def _remote(self) -> Any:
        conn_id = self.config.kwargs.get("git_conn_id")
        return signed_in(self.config, self._secrets_of(str(conn_id)) if conn_id else None)

    def _fetch(self, url: str, environment: Mapping[str, str], commit: str | None = None) -> None:
        bare = self._path("bare")
        if not (bare / "HEAD").exists():
            remove_tree(bare)
            self._git("init", "--bare", "--quiet", str(bare), cwd=self.home)
        for stale in ("packed-refs.lock", "shallow.lock", "config.lock"):  # of a git that was killed; we are alone here
            (bare / stale).unlink(missing_ok=True)
        quiet = ("--force", "--quiet", "--no-auto-maintenance")
        self._git("fetch", "--prune", *quiet, "--", url, *_REFS, environment=environment, timeout=self.config.timeout)
        if commit is not None and not self._holds(commit):
            # not on any branch any more (a forced push): most hosts still hand it out
            self._git("fetch", "--quiet", "--", url, commit, environment=environment, timeout=self.config.timeout)

    def _git(
        self, *arguments: str, cwd: Path | None = None, environment: Mapping[str, str] | None = None, timeout: float = LOCAL_S
    ) -> str:
        """What git printed. Raises BundleError with git's own last words."""
        command = ["git", *arguments] if cwd is not None else ["git", "--git-dir", str(self._path("bare")), *arguments]
        try:
            process = subprocess.Popen(
                command, cwd=cwd or self.home, env={**_plain_environment(), **(environment or {})}, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError:
            raise BundleError(f"Bundle {self.config.name}: there is no git command on this machine. Install git.") from None
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            raise BundleError(f"Bundle {self.config.name}: git {arguments[0]} did not end within {timeout:g} s.") from None
        if process.returncode:
            lines = [line.strip() for line in err.decode("utf-8", "replace").splitlines()]
            said = [line for line in lines if line and line not in _FILLING][:3]
            words = clean_url(" / ".join(said)) or f"exit {process.returncode}"
            raise BundleError(f"Bundle {self.config.name}: git {arguments[0]} failed: {words}")
        return out.decode("utf-8", "replace")


def _plain_environment() -> dict[str, str]:
    """Nothing of Trackside's, nothing that asks a person, nothing of a git that started us."""
    kept = {
        n: v for n, v in os.environ.items() if not n.startswith(("GIT_", "TRACKSIDE_", "DJANGO_", "PG")) and n != "DATABASE_URL"
    }
    return {**kept, "GIT_TERMINAL_PROMPT": "0", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
