"""ObjectStoragePath on files and on a local S3 server; as an XCom; the site's XCom back end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import trackside.airflow
from trackside.sdk import serde, stores
from trackside.sdk.execution import xcom_backend
from trackside.sdk.storage import ObjectStoragePath

trackside.airflow.install()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> ObjectStoragePath:
    """A bucket behind the connection `aws_x`."""
    extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    fields = {"conn_type": "aws", "login": "k", "password": "s", "extra": json.dumps(extra)}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_X", json.dumps(fields))
    stores._from_providers.cache_clear()
    monkeypatch.setattr(stores, "_from_providers", dict)
    stores._stores.clear()
    import boto3

    boto3.client("s3", aws_access_key_id="k", aws_secret_access_key="s", **extra).create_bucket(Bucket="bucket")
    return ObjectStoragePath("s3://aws_x@bucket/")


def test_a_path_knows_its_parts_without_touching_the_store() -> None:
    path = ObjectStoragePath("s3://nobody@bucket/a/b.txt")
    assert (path.conn_id, path.bucket, path.key, path.name) == ("nobody", "bucket", "a/b.txt", "b.txt")
    assert (str(path), path.namespace, path.protocol) == ("s3://bucket/a/b.txt", "s3://bucket", "s3")
    assert (path.parent / "c").conn_id == "nobody" and path.with_suffix(".csv").conn_id == "nobody"


def test_files_are_read_written_listed_and_moved(tmp_path: Path) -> None:
    base = ObjectStoragePath(f"file://{tmp_path}")
    (base / "sub").mkdir()
    (base / "sub/a.txt").write_text("hello")
    assert [p.name for p in base.iterdir()] == ["sub"]
    assert [p.name for p in base.glob("**/*.txt")] == ["a.txt"]
    assert (base / "sub/a.txt").stat().st_size == 5 == (base / "sub/a.txt").size()
    (base / "sub/a.txt").copy(base / "b.txt")
    (base / "b.txt").move(base / "c.txt")
    assert (tmp_path / "c.txt").read_text() == "hello" and not (tmp_path / "b.txt").exists()
    (base / "sub").copy(base / "other", recursive=True)
    assert (tmp_path / "other/a.txt").read_text() == "hello"
    with pytest.raises(IsADirectoryError, match="recursive=True"):
        (base / "sub").copy(base / "x")
    with pytest.raises(FileNotFoundError, match=r"nothing does not exist"):
        (base / "nothing").copy(base / "x")


def test_a_path_without_a_scheme_is_a_file(tmp_path: Path) -> None:
    path = ObjectStoragePath(str(tmp_path / "x"))
    path.write_bytes(b"1")
    assert path.protocol == "file" and (tmp_path / "x").read_bytes() == b"1"


def test_a_bucket_is_reached_by_its_connection(s3: ObjectStoragePath, tmp_path: Path) -> None:
    (s3 / "in/a.txt").write_text("one")
    (s3 / "in/b.txt").write_text("two")
    assert sorted(p.name for p in (s3 / "in").iterdir()) == ["a.txt", "b.txt"]
    assert {p.conn_id for p in (s3 / "in").iterdir()} == {"aws_x"}
    here = ObjectStoragePath(f"file://{tmp_path}")
    (s3 / "in").copy(here / "got", recursive=True)
    assert (tmp_path / "got/b.txt").read_text() == "two"
    (here / "got/a.txt").move(s3 / "moved.txt")
    assert (s3 / "moved.txt").read_text() == "one" and not (tmp_path / "got/a.txt").exists()
    (s3 / "in/a.txt").copy(s3 / "again.txt")
    assert (s3 / "again.txt").read_text() == "one"
    (s3 / "again.txt").unlink()
    assert not (s3 / "again.txt").exists()


def test_a_path_travels_as_an_xcom_under_airflows_name() -> None:
    path = ObjectStoragePath("s3://aws_x@bucket/k")
    sent = json.loads(json.dumps(serde.serialize(path)))
    assert sent == {
        "__classname__": "airflow.sdk.io.path.ObjectStoragePath", "__version__": 1,
        "__data__": {"path": "s3://bucket/k", "conn_id": "aws_x", "kwargs": {}},
    }  # fmt: skip
    back = serde.deserialize(sent)
    assert back == path and back.conn_id == "aws_x"


def test_a_store_is_attached_under_an_alias_once() -> None:
    store = stores.attach("memory", alias="here")
    assert stores.attach(alias="here") is store and store.fs.protocol == "memory"
    with pytest.raises(ValueError, match="No registered store with alias: there"):
        stores.attach(alias="there")


# XCom back ends

BACKEND = """
from airflow.sdk.bases.xcom import BaseXCom

class Upper(BaseXCom):
    @staticmethod
    def serialize_value(value, *, key=None, task_id=None, dag_id=None, run_id=None, map_index=None):
        return BaseXCom.serialize_value(f"{dag_id}/{task_id}/{key}={value}")

    @staticmethod
    def deserialize_value(result):
        return BaseXCom.deserialize_value(result).upper()
"""


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "my_xcoms.py").write_text(BACKEND)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("TRACKSIDE_XCOM_BACKEND", "my_xcoms.Upper")
    xcom_backend.backend.cache_clear()
    yield
    xcom_backend.backend.cache_clear()


def test_the_sites_back_end_decides_what_is_stored_and_what_is_read(chosen: None) -> None:
    from trackside.core.messages import XComRecord

    where = {"key": "k", "dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
    stored = xcom_backend.to_stored("v", **where)  # type: ignore[arg-type]
    assert stored == "d/t/k=v"
    assert xcom_backend.from_stored(XComRecord("k", stored)) == "D/T/K=V"


@pytest.mark.parametrize("name", ["nowhere.Backend", "json.Nothing", "nodots"])
def test_a_back_end_that_cannot_be_imported_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKSIDE_XCOM_BACKEND", name)
    xcom_backend.backend.cache_clear()
    try:
        with pytest.raises(Exception, match=f"The XCom back end '{name}' cannot be imported"):
            xcom_backend.backend()
    finally:
        xcom_backend.backend.cache_clear()


def test_values_over_the_threshold_lie_in_the_object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow's own back end of the common.io provider, as published, where it is installed."""
    backend: Any = pytest.importorskip("airflow.providers.common.io.xcom.backend")
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_PATH", f"file://{tmp_path}")
    monkeypatch.setenv("AIRFLOW__COMMON_IO__XCOM_OBJECTSTORAGE_THRESHOLD", "10")
    monkeypatch.setenv("TRACKSIDE_XCOM_BACKEND", "airflow.providers.common.io.xcom.backend.XComObjectStorageBackend")
    xcom_backend.backend.cache_clear()
    for cached in (backend._get_base_path, backend._get_compression, backend._get_threshold):
        cached.cache_clear()
    from trackside.core.messages import XComRecord

    where = {"key": "k", "dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
    try:
        small, large = (xcom_backend.to_stored(v, **where) for v in ([1], ["x" * 100]))  # type: ignore[arg-type]
        assert small == [1] and large.startswith(f"file://{tmp_path}/d/r/t/")
        assert xcom_backend.from_stored(XComRecord("k", large)) == ["x" * 100]
    finally:
        xcom_backend.backend.cache_clear()
