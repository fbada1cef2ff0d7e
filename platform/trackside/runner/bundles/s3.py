"""A bundle that mirrors a prefix of a bucket (Amazon S3 or anything that speaks like it). Needs boto3 (`trackside[s3]`).

For `open_bundle`. A bucket has no versions: runs follow the newest files. Only objects whose ETag changed are fetched, each
is put in place by a rename, and what vanished from the bucket goes last, after everything new is there.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path, PurePosixPath
from typing import Any

from trackside.runner.bundles.base import Bundle, BundleError

MAX_OBJECTS = 50_000
"""A prefix with more is taken for a mistake."""


class S3Bundle(Bundle):
    """See the module."""

    @property
    def root(self) -> Path:
        return self._path("tracking")

    def refresh(self) -> bool:
        try:
            client = self._client()
            listed = self._listed(client)
            with self._locked():
                return self._mirror(client, listed)
        except BundleError:
            raise
        except Exception as e:  # botocore has some twenty kinds, all of which mean the same here
            raise BundleError(f"Bundle {self.config.name}: {self._where()} cannot be read ({type(e).__name__}: {e}).") from e

    def _where(self) -> str:
        return f"s3://{self.config.kwargs['bucket_name']}/{self._prefix()}"

    def _prefix(self) -> str:
        prefix = str(self.config.kwargs.get("prefix") or "").lstrip("/")
        return f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""

    def _listed(self, client: Any) -> dict[str, tuple[str, str]]:
        """relative path → (key, ETag)."""
        found: dict[str, tuple[str, str]] = {}
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=self.config.kwargs["bucket_name"], Prefix=self._prefix())
        for page in pages:
            for item in page.get("Contents", ()):
                relative = item["Key"][len(self._prefix()) :]
                if _fits(relative):
                    found[relative] = (item["Key"], item["ETag"])
            if len(found) > MAX_OBJECTS:
                raise BundleError(f"Bundle {self.config.name}: {self._where()} has more than {MAX_OBJECTS:,} objects. Name a prefix.")
        return found

    def _mirror(self, client: Any, listed: dict[str, tuple[str, str]]) -> bool:
        """Under the lock: make the folder what the bucket is."""
        had = self._had()
        changed = {r: key for r, (key, etag) in listed.items() if had.get(r) != etag or not self.root.joinpath(r).is_file()}
        gone = [r for r in had if r not in listed]
        self.root.mkdir(parents=True, exist_ok=True)
        for relative, key in sorted(changed.items()):
            etag = self._fetch(client, key, self.root / relative)
            if etag is not None:
                had[relative] = etag
                self._remember(had)
        for relative in gone:
            self.root.joinpath(relative).unlink(missing_ok=True)
            del had[relative]
        self._remove_empty_folders()
        self._remember(had)
        return bool(changed or gone)

    def _fetch(self, client: Any, key: str, target: Path) -> str | None:
        """Its ETag; None if it has gone since it was listed."""
        if not target.parent.is_dir():
            for above in target.relative_to(self.root).parents:
                if (self.root / above).is_file():
                    (self.root / above).unlink()  # a folder now stands where an object stood
            target.parent.mkdir(parents=True, exist_ok=True)
        try:
            answer = client.get_object(Bucket=self.config.kwargs["bucket_name"], Key=key)
        except client.exceptions.NoSuchKey:
            return None
        fd, name = tempfile.mkstemp(dir=self.home, prefix="object-")
        with os.fdopen(fd, "wb") as file:
            for block in answer["Body"].iter_chunks(1 << 20):
                file.write(block)
        Path(name).chmod(0o644)
        if target.is_dir() and not target.is_symlink():
            raise BundleError(f"Bundle {self.config.name}: {key} is an object and a folder at once; rename one of them.")
        Path(name).replace(target)
        return str(answer["ETag"])

    def _had(self) -> dict[str, str]:
        try:
            found = json.loads(self._path("etags.json").read_text())
        except (OSError, ValueError):
            return {}
        return {str(k): str(v) for k, v in found.items()}

    def _remember(self, had: dict[str, str]) -> None:
        new = self._path("etags.new")
        new.write_text(json.dumps(had))
        new.replace(self._path("etags.json"))

    def _remove_empty_folders(self) -> None:
        for folder, _, _ in os.walk(self.root, topdown=False):
            if folder != str(self.root) and not os.listdir(folder):  # noqa: PTH208 - os.walk gives texts
                os.rmdir(folder)  # noqa: PTH106

    def _client(self) -> Any:
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise BundleError(f"Bundle {self.config.name}: buckets need boto3. Install it with: pip install 'trackside[s3]'") from None
        kwargs = self.config.kwargs
        settings: dict[str, Any] = {"endpoint_url": kwargs.get("endpoint_url"), "region_name": kwargs.get("region_name")}
        if conn_id := kwargs.get("aws_conn_id"):
            connection = self._secrets_of(str(conn_id))
            extra = connection.get("extra") or {}
            extra = json.loads(extra) if isinstance(extra, str) else extra
            settings["aws_access_key_id"] = connection.get("login") or extra.get("aws_access_key_id")
            settings["aws_secret_access_key"] = connection.get("password") or extra.get("aws_secret_access_key")
            settings["aws_session_token"] = extra.get("aws_session_token")
            settings["region_name"] = settings["region_name"] or extra.get("region_name")
            settings["endpoint_url"] = settings["endpoint_url"] or extra.get("endpoint_url") or extra.get("host")
        config = Config(connect_timeout=10, read_timeout=60, retries={"max_attempts": 3, "mode": "standard"})
        session = boto3.session.Session()
        if not (settings["region_name"] or session.region_name):
            settings["region_name"] = "us-east-1"
        return session.client("s3", config=config, **{k: v for k, v in settings.items() if v})


def _fits(relative: str) -> bool:
    """Objects that can be files below the folder: no folders' place holders, nothing that climbs out."""
    parts = PurePosixPath(relative).parts
    return bool(relative) and not relative.endswith("/") and not relative.startswith("/") and ".." not in parts and "\0" not in relative
