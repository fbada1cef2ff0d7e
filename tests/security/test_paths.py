"""S18: no id, name or link leads a read or a write out of the folder it belongs into."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import tarfile
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.test import Client

from apps.access.rest.operations import REGISTRY
from apps.access.tests.resthelp import Api
from apps.runs import logs
from apps.runs.models import Run
from apps.runs.tests.restworld import make_dag, make_run
from apps.runs.tests.test_execution_routes import PATHS, call, in_this_thread  # noqa: F401
from apps.ui.tests import factories
from trackside.runner import shipped

pytestmark = pytest.mark.django_db
ODD = [
    "..", "../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%2f..%2fetc%2fpasswd", "..\\..\\etc\\passwd",
    "/etc/passwd", "//etc/passwd", "%2fetc%2fpasswd", "a/../../b", "x" * 300, "\u2024\u2024/\u2024\u2024/etc",
    "\uff0e\uff0e\uff0fetc", "nul\x00.log", "....//....//etc/passwd", "file:///etc/passwd", "~root", "\u202egol",
]  # fmt: skip


@pytest.fixture
def store(settings, tmp_path):
    settings.LOGS_FOLDER = tmp_path / "logs"
    outside = tmp_path / "outside.jsonl"
    outside.write_text('{"event": "outside-canary"}\n')
    return settings.LOGS_FOLDER, outside


@pytest.mark.parametrize("odd", ODD)
def test_s18_a_log_has_no_name_but_the_uuid_of_its_try(odd, store):
    with pytest.raises(ValueError):
        logs.path_of(odd)
    with pytest.raises(ValueError):
        logs.read_bytes(odd)
    assert not store[0].exists()


def test_s18_a_link_in_the_place_of_a_log_is_neither_written_nor_shown(store):
    _, outside = store
    number = uuid.uuid4()
    place = logs.path_of(number)
    place.parent.mkdir(parents=True)
    place.symlink_to(outside)
    with pytest.raises(OSError):
        logs.append(number, 0, b'{"event": "forged"}\n')
    assert "forged" not in outside.read_text()
    assert logs.read_bytes(number) == b""


@pytest.mark.parametrize("odd", [t for t in ODD if "\x00" not in t])
def test_s18_runs_are_not_made_under_names_that_lead_elsewhere(odd):
    make_dag("d")
    status, body = Api()("POST", "/dags/d/dagRuns", {"dag_run_id": odd, "logical_date": None})
    made = Run.objects.filter(dag_id="d").first()
    if status == 200:
        assert "/" not in odd and "\\" not in odd and "%" not in odd and made.run_id == odd.strip()
    else:
        assert status in (400, 422) and made is None and ("run ID" in json.dumps(body) or "dag_run_id" in json.dumps(body))


def test_s18_no_route_reads_a_file_by_a_name_of_the_callers(store):
    make_run(make_dag("d"), "r")
    _, outside = store
    api, pages = Api(), Client()
    pages.force_login(factories.user())
    for odd in (f"..%2f..%2f{outside.name}", str(outside).replace("/", "%2f"), "%2e%2e%2foutside.jsonl", "....%2f%2foutside.jsonl"):
        for operation in REGISTRY:
            if operation.method == "GET" and "{" in operation.path and "wait" not in operation.id:
                path = operation.path.replace(":path", "")
                for name in [p.split("}")[0] for p in path.split("{")[1:]]:
                    path = path.replace("{" + name + "}", odd)
                answer = api.client.get(operation.base + path, headers={"Authorization": f"Bearer {api.token}"})
                assert answer.status_code < 500 and b"outside-canary" not in answer.content, operation.id
        for start in ("/static/", "/dags/", "/static/dist/", "/admin/", "/dags/d/runs/r/tasks/"):
            assert b"outside-canary" not in pages.get(start + odd).content


@pytest.mark.parametrize("odd", ["..%2f..%2fx", "../../x", "%2e%2e", "\\..", "a" * 400])
def test_s18_the_execution_api_makes_no_file_for_an_odd_name(odd, store, settings, in_this_thread, tmp_path):  # noqa: F811
    before = sorted(p for p in tmp_path.rglob("*"))
    for method, path in PATHS:
        filled = path.replace("{try_id}", odd).replace("{key}", odd).replace("{conn_id}", odd).replace("{dag_id}", odd)
        for token in (settings.WORKER_TOKEN, f"{odd}.x"):
            body = {"chunks": [{"try_id": odd, "offset": 0, "data": "eA=="}], "worker_id": odd, "try_id": odd}
            assert call(method, filled, token, body)[0] in range(400, 500) or path in ("/logs", "/goodbye"), path
    assert sorted(p for p in tmp_path.rglob("*")) == before


def archive(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for info, data in members:
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


HOSTILE = {
    "parent": [(tarfile.TarInfo("../evil.py"), b"x")],
    "inner parent": [(tarfile.TarInfo("a/../../evil.py"), b"x")],
    "absolute": [(tarfile.TarInfo("/tmp/trackside-evil.py"), b"x")],
    "link": [(link("a", "/etc"), b""), (tarfile.TarInfo("a/evil.py"), b"x")],
    "hard link": [(link("a", "/etc/passwd", tarfile.LNKTYPE), b"")],
    "device": [(link("a", "", tarfile.CHRTYPE), b"")],
    "pipe": [(link("a", "", tarfile.FIFOTYPE), b"")],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_s18_an_archive_of_dag_files_is_unpacked_into_its_folder_or_not_at_all(name, tmp_path):
    content = archive(*HOSTILE[name])
    cache = tmp_path / "cache"
    with pytest.raises(shipped.NotShipped):
        shipped._unpack(hashlib.sha256(content).hexdigest(), content, cache)
    assert [p for p in tmp_path.rglob("*") if p != cache] == [] and not Path("/tmp/trackside-evil.py").exists()


def test_s18_an_archive_that_is_not_the_one_meant_is_refused(tmp_path):
    content = archive((tarfile.TarInfo("d.py"), b"x"))

    async def ask(*_: Any) -> tuple[int, Any]:
        import base64

        return 200, {"hash": "0" * 64, "content": base64.b64encode(content).decode()}

    with pytest.raises(shipped.NotShipped, match="damaged"):
        asyncio.run(shipped._download(ask, tmp_path))
