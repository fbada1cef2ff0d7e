"""The JSON of TRACKSIDE_DAG_BUNDLES, in the form Airflow's `[dag_processor] dag_bundle_config_list` has.

    [{"name": "team-a", "classpath": "airflow.providers.git.bundles.git.GitDagBundle",
      "kwargs": {"repo_url": "https://…", "tracking_ref": "main", "subdir": "dags", "git_conn_id": "git_a"},
      "refresh_interval": 60}]

For the settings of the site. What is wrong is said with the bundle and the key, before anything is started.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from string import Formatter
from typing import Any

DEFAULT_NAME = "dags-folder"
"""The bundle that TRACKSIDE_DAGS_FOLDER is, when no bundles are configured."""
REFRESH_S = 300.0
TIMEOUT_S = 300.0
"""Seconds between two looks at a remote, if a bundle does not say (Airflow's default)."""

KINDS = {
    "local": "local",
    "git": "git",
    "s3": "s3",
    "airflow.dag_processing.bundles.local.LocalDagBundle": "local",
    "airflow.providers.git.bundles.git.GitDagBundle": "git",
    "airflow.providers.amazon.aws.bundles.s3.S3DagBundle": "s3",
}
OWN = "own"
"""The kind of a bundle whose class is the site's."""
_KEYS: dict[str, dict[str, tuple[type, ...]]] = {
    "local": {"path": (str,)},
    "git": {
        "tracking_ref": (str,), "repo_url": (str,), "subdir": (str,), "git_conn_id": (str,), "submodules": (bool,),
        "sparse_dirs": (list,), "prune_dotgit_folder": (bool,),
    },
    "s3": {"bucket_name": (str,), "prefix": (str,), "aws_conn_id": (str,), "endpoint_url": (str,), "region_name": (str,)},
}  # fmt: skip
_COMMON: dict[str, tuple[type, ...]] = {"refresh_interval": (int, float), "view_url_template": (str,)}
_SSH = re.compile(r"(?:ssh://)?(?:[^@/]+@)?([^:/]+)(?::\d+(?=/))?[:/](.+)")
_CLASSPATH = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class BadBundles(ValueError):
    """TRACKSIDE_DAG_BUNDLES cannot be used; the message names the bundle and the key and says what to write."""


@dataclass(slots=True, frozen=True)
class BundleConfig:
    """One bundle."""

    name: str
    kind: str = "local"
    kwargs: dict[str, Any] = field(default_factory=dict)
    refresh_interval: float = REFRESH_S
    classpath: str = ""
    """Of kind "own": the site's class, a subclass of BaseDagBundle."""
    team_name: str | None = None
    """Whose connections and variables code of this bundle may have, beside those of nobody."""
    timeout: float = TIMEOUT_S
    """Seconds one conversation with where its files come from may take (TRACKSIDE_BUNDLE_TIMEOUT of the server)."""

    def to_wire(self) -> dict[str, Any]:
        """For start orders: what a worker needs to get the files itself. Holds ids of connections, no secrets of theirs."""
        return asdict(self)

    @classmethod
    def from_wire(cls, data: dict[str, Any]) -> BundleConfig:
        """Inverse of `to_wire`."""
        refresh = float(data.get("refresh_interval") or REFRESH_S)
        timeout = float(data.get("timeout") or TIMEOUT_S)
        return cls(str(data["name"]), str(data["kind"]), dict(data["kwargs"]), refresh, str(data.get("classpath") or ""), timeout=timeout)

    @property
    def subdir(self) -> str:
        """Folder of the DAG files below the root of the bundle; "" for the root itself."""
        return str(self.kwargs.get("subdir") or "").strip("/")

    @property
    def versioned(self) -> bool:
        """Whether runs keep the version they were created with; of an own class only that knows (then False)."""
        return self.kind == "git"

    def url(self, version: str | None) -> str | None:
        """Where a person can look at that version: `view_url_template`, or what the host of the repository offers."""
        if template := self.kwargs.get("view_url_template"):
            return str(template).format(version=version or "", subdir=self.subdir, bucket_name=self.kwargs.get("bucket_name", ""),
                                        prefix=self.kwargs.get("prefix", ""))  # fmt: skip
        viewer = _VIEWERS.get(self.kind)
        return viewer(self, version) if viewer is not None else None


def parse_bundles(text: str, dags_folder: Path, timeout: float = TIMEOUT_S) -> list[BundleConfig]:
    """The bundles of the setting; without a text the one folder. `timeout`: of each. Raises BadBundles."""
    if not text.strip():
        return [BundleConfig(DEFAULT_NAME, "local", {"path": str(dags_folder)})]
    try:
        items = json.loads(text)
    except ValueError as e:
        raise BadBundles(f"is not JSON: {e}. Write a list of objects with name, classpath and kwargs.") from None
    if not isinstance(items, list) or not items:
        raise BadBundles("must be a JSON list with at least one object of name, classpath and kwargs.")
    found = [replace(_bundle(item, number, dags_folder), timeout=timeout) for number, item in enumerate(items, 1)]
    names = [b.name for b in found]
    for name in names:
        if names.count(name) > 1:
            raise BadBundles(f"has two bundles named {name!r}: give one of them another name.")
    return found


def _bundle(item: Any, number: int, dags_folder: Path) -> BundleConfig:
    if not isinstance(item, dict):
        raise BadBundles(f"entry {number} is no object: write {{\"name\": …, \"classpath\": …, \"kwargs\": {{…}}}}.")
    name = item.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise BadBundles(f"entry {number}: name {name!r} must be letters, digits, '.', '_' and '-', and begin with a letter or digit.")
    classpath = item.get("classpath", "local")
    kind = KINDS.get(classpath) if isinstance(classpath, str) else None
    if kind is None and isinstance(classpath, str) and _CLASSPATH.fullmatch(classpath):
        kind = OWN
    if kind is None:
        raise BadBundles(f"bundle {name!r}: classpath {classpath!r} is not known. Use one of {', '.join(KINDS)}, or module.Class of yours.")
    kwargs = item.get("kwargs", {})
    if not isinstance(kwargs, dict):
        raise BadBundles(f"bundle {name!r}: kwargs must be an object.")
    unknown = sorted(set(item) - {"name", "classpath", "kwargs", "refresh_interval", "team_name"})
    if unknown:
        raise BadBundles(f"bundle {name!r}: {unknown[0]!r} is no key of a bundle; perhaps it belongs into kwargs.")
    kwargs = {k: v for k, v in kwargs.items() if v is not None}
    _check(name, kind, kwargs)
    refresh = item.get("refresh_interval", kwargs.pop("refresh_interval", REFRESH_S))
    if isinstance(refresh, bool) or not isinstance(refresh, int | float) or refresh < 1:
        raise BadBundles(f"bundle {name!r}: refresh_interval {refresh!r} must be a number of seconds, at least 1.")
    if kind == "local":
        kwargs.setdefault("path", str(dags_folder))
    team = item.get("team_name")
    if team is not None and not (isinstance(team, str) and 0 < len(team) <= 50):
        raise BadBundles(f"bundle {name!r}: team_name {team!r} must be a text of 1 to 50 characters.")
    return BundleConfig(name, kind, kwargs, float(refresh), classpath if kind == OWN else "", team)


def _check(name: str, kind: str, kwargs: dict[str, Any]) -> None:
    for key, value in kwargs.items():
        if kind == OWN and key not in _COMMON:
            if key in ("name", "version"):
                raise BadBundles(f"bundle {name!r}: {key!r} is given to the class by Trackside; take it out of kwargs.")
            continue  # what the class takes, only the class knows
        kinds = _KEYS.get(kind, {}).get(key) or _COMMON.get(key)
        if kinds is None:
            raise BadBundles(f"bundle {name!r}: {key!r} is no kwarg of a {kind} bundle; it has {', '.join([*_KEYS[kind], *_COMMON])}.")
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise BadBundles(f"bundle {name!r}: {key} {value!r} must be {' or '.join(_WORDS[k] for k in kinds)}.")
    subdir = str(kwargs.get("subdir", ""))
    if kind != OWN and (".." in subdir.split("/") or subdir.startswith("/")):
        raise BadBundles(f"bundle {name!r}: subdir {subdir!r} must lie inside the repository.")
    if kind == "git":
        if not kwargs.get("tracking_ref"):
            raise BadBundles(f"bundle {name!r}: tracking_ref is missing: name a branch, a tag or a commit.")
        if str(kwargs["tracking_ref"]).startswith("-"):
            raise BadBundles(f"bundle {name!r}: tracking_ref {kwargs['tracking_ref']!r} is no branch, tag or commit.")
        if not kwargs.get("repo_url") and not kwargs.get("git_conn_id"):
            raise BadBundles(f"bundle {name!r}: repo_url or git_conn_id (a connection whose host is the URL) is needed.")
        if str(kwargs.get("repo_url", "")).startswith("-"):
            raise BadBundles(f"bundle {name!r}: repo_url {kwargs['repo_url']!r} is no URL or path.")
    if kind == "s3" and not kwargs.get("bucket_name"):
        raise BadBundles(f"bundle {name!r}: bucket_name is missing.")
    try:
        fields = {f for _, f, _, _ in Formatter().parse(str(kwargs.get("view_url_template", ""))) if f is not None}
    except ValueError as e:
        raise BadBundles(f"bundle {name!r}: view_url_template: {e}.") from None
    if odd := sorted(fields - {"version", "subdir", "bucket_name", "prefix"}):
        raise BadBundles(f"bundle {name!r}: view_url_template knows {{version}} and {{subdir}}, not {{{odd[0]}}}.")


_WORDS: dict[type, str] = {str: "a text", bool: "true or false", int: "a number", float: "a fraction", list: "a list"}


def _git_url(config: BundleConfig, version: str | None) -> str | None:
    """GitHub, GitLab, Bitbucket and Azure DevOps show a tree at a commit."""
    repo = str(config.kwargs.get("repo_url") or "")
    if not repo or not version:
        return None
    if ("://" not in repo or repo.startswith("ssh://")) and (found := _SSH.fullmatch(repo)) and "." in found[1]:
        repo = f"https://{found[1]}/{found[2]}"
    if not repo.startswith(("http://", "https://")):
        return None
    repo = re.sub(r"//[^@/]*@", "//", repo).removesuffix("/").removesuffix(".git")
    host = repo.split("/")[2]
    tail = f"/{config.subdir}" if config.subdir else ""
    if "bitbucket.org" in host:
        return f"{repo}/src/{version}{tail}"
    if "dev.azure.com" in host or host.endswith("visualstudio.com"):
        return f"{repo}?version=GC{version}" + (f"&path=/{config.subdir}" if config.subdir else "")
    return f"{repo}/-/tree/{version}{tail}" if "gitlab" in host else f"{repo}/tree/{version}{tail}"


def _s3_url(config: BundleConfig, version: str | None) -> str | None:
    if config.kwargs.get("endpoint_url"):
        return None
    url = f"https://{config.kwargs['bucket_name']}.s3.amazonaws.com"
    return f"{url}/{config.kwargs['prefix']}" if config.kwargs.get("prefix") else url


_VIEWERS: dict[str, Callable[[BundleConfig, str | None], str | None]] = {"git": _git_url, "s3": _s3_url}
