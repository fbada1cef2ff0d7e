"""Entry points of installed packages are found without `importlib.metadata`'s reading of every package."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from trackside.sdk.plugins import entries


def _package(folder: Path, text: str) -> None:
    made = folder / "acme-1.0.dist-info"
    made.mkdir(parents=True)
    (made / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
    (made / "entry_points.txt").write_text(text)


def test_a_group_that_a_package_has_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not entries.mentioned("acme.things")
    _package(tmp_path, "[acme.things]\none = acme:One\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert [(entry.name, entry.value) for entry in entries.entry_points("acme.things")] == [("one", "acme:One")]
    assert not entries.mentioned("acme.other")


def test_all_groups_of_this_environment_are_the_same_as_with_the_library() -> None:
    for group in metadata.entry_points().groups:
        assert entries.entry_points(group) == tuple(metadata.entry_points(group=group))


def test_packages_in_an_archive_on_the_path_are_left_to_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tmp_path / "more.zip"
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("acme-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: acme\nVersion: 1.0\n")
        made.writestr("acme-1.0.dist-info/entry_points.txt", "[acme.zipped]\none = acme:One\n")
    monkeypatch.syspath_prepend(str(archive))
    assert [entry.name for entry in entries.entry_points("acme.zipped")] == ["one"]


def test_what_every_single_task_imports_does_without_what_few_need() -> None:
    """Each of these costs the start of a pod more than the rest of a small DAG file; a worker's fork server imports them ahead."""
    code = ("import importlib, sys; from trackside.runner import forkserver\n"
            "for name in forkserver.FOR_ONE: importlib.import_module(name)\n"
            "print(*sorted({'asyncio', 'http.client', 'ssl', 'importlib.metadata', 'jinja2'} & set(sys.modules)))")  # fmt: skip
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
