"""Bundles of the site's own class: asked in a process of its own, versions kept, failures in the class's words."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from trackside.runner import procs
from trackside.runner.bundles import BundleConfig, BundleError, open_bundle, parse_bundles
from trackside.runner.bundles.own import OwnBundle

CLASS = '''
import os, shutil, time
from pathlib import Path
from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion

class Shelf(BaseDagBundle):
    """A folder with a folder per version and a file NEWEST."""
    supports_versioning = True

    def __init__(self, *, shelf, trouble="", **kwargs):
        super().__init__(**kwargs)
        self.shelf, self.trouble = Path(shelf), trouble

    def initialize(self):
        if self.version:
            shutil.copytree(self.shelf / self.version, self.path, dirs_exist_ok=True)
        super().initialize()

    @property
    def path(self):
        return self.versions_dir / self.version.replace("/", "_") if self.version else self.base_dir / "newest"

    def refresh(self):
        if self.trouble == "raise":
            raise ConnectionError("the shelf is locked")
        if self.trouble == "hang":
            time.sleep(600)
        if self.trouble == "die":
            os._exit(7)
        if self.trouble == "connection":
            from airflow.sdk.bases.hook import BaseHook
            raise ValueError(f"host {BaseHook.get_connection('shelf_a').host} is away")
        if self.trouble == "secrets":
            raise ValueError(",".join(sorted(n for n in os.environ if "SECRET" in n or "DATABASE" in n or "TOKEN" in n)) or "none in sight")
        shutil.rmtree(self.path, ignore_errors=True)
        shutil.copytree(self.shelf / self._newest(), self.path)

    def _newest(self):
        return (self.shelf / "NEWEST").read_text()

    def get_current_version(self):
        return BundleVersion(self._newest(), {"a": 1})

class Loose(Shelf):
    supports_versioning = False

class NotOne:
    pass
'''


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the class among the plugins, and a shelf with two versions."""
    home = tmp_path_factory.mktemp("site")
    (home / "plugins").mkdir()
    (home / "plugins" / "shelf_bundle.py").write_text(CLASS)
    for version in ("one", "rel/two"):
        (home / "shelf" / version).mkdir(parents=True)
        (home / "shelf" / version / "d.py").write_text(version)
    return home


@pytest.fixture
def bundle(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a bundle of a class of the plugin."""
    monkeypatch.setenv("TRACKSIDE_PLUGINS_FOLDER", str(site / "plugins"))
    monkeypatch.setenv("TRACKSIDE_SECRET_KEY", "x")
    monkeypatch.setenv("DATABASE_URL", "postgres://x")
    (site / "shelf" / "NEWEST").write_text("one")

    def made(cls: str = "Shelf", timeout: float = 300.0, **kwargs: Any) -> OwnBundle:
        entry = {"name": "shelf", "classpath": f"shelf_bundle.{cls}", "kwargs": {"shelf": str(site / "shelf"), **kwargs}}
        (config,) = parse_bundles(json.dumps([entry]), Path("/dags"), timeout)
        assert BundleConfig.from_wire(config.to_wire()) == config
        it = open_bundle(config, tmp_path / "storage", {"shelf_a": {"conn_type": "http", "host": "a.example"}}.get)
        assert isinstance(it, OwnBundle)
        return it

    return made


def test_the_newest_files_and_each_version_are_had(bundle: Any, site: Path) -> None:
    it = bundle()
    assert (it.remote, it.version()) == (True, "")
    assert it.refresh() is True
    assert (it.version(), (it.root / "d.py").read_text()) == ("one", "one")
    (site / "shelf" / "NEWEST").write_text("rel/two")
    assert it.refresh() is True
    assert (it.version(), (it.root / "d.py").read_text()) == ("rel/two", "rel/two")
    assert it.refresh() is False
    for version in ("one", "rel/two"):
        folder, lease = it.materialise(version)
        assert (folder / "d.py").read_text() == version
        lease.release()
    again, lease = it.materialise("one")
    lease.release()
    assert (again / "d.py").read_text() == "one"


def test_a_class_without_versions_has_none(bundle: Any) -> None:
    it = bundle("Loose")
    assert it.refresh() is True
    assert it.version() is None
    assert (it.root / "d.py").read_text() == "one"


@pytest.mark.parametrize(("cls", "kwargs", "words"), [
    ("Shelf", {"trouble": "raise"}, r"shelf_bundle.Shelf failed: ConnectionError: the shelf is locked \(.*shelf_bundle.py, line \d+\)"),
    ("Shelf", {"trouble": "die"}, "ended its process .exit code 7"),
    ("Shelf", {"trouble": "connection"}, "host a.example is away"),
    ("Shelf", {"trouble": "secrets"}, "none in sight"),
    ("Shelf", {"colour": "red"}, "unexpected keyword argument 'colour'"),
    ("NotOne", {}, "is no subclass of airflow.dag_processing.bundles.base.BaseDagBundle"),
    ("Gone", {}, "has no attribute 'Gone'"),
])  # fmt: skip
def test_what_goes_wrong_is_said_in_the_classs_words(bundle: Any, cls: str, kwargs: dict[str, Any], words: str) -> None:
    with pytest.raises(BundleError, match=words) as raised:
        bundle(cls, **kwargs).refresh()
    assert str(raised.value).startswith("Bundle shelf: ")


def test_one_that_hangs_is_stopped_and_what_was_there_stays(bundle: Any) -> None:
    assert bundle().refresh()
    it = bundle(trouble="hang", timeout=2.0)
    before = set(procs.descendants(os.getpid()))
    with pytest.raises(BundleError, match=r"did not end within 2 s and was stopped \(TRACKSIDE_BUNDLE_TIMEOUT\)"):
        it.refresh()
    assert (it.version(), (it.root / "d.py").read_text()) == ("one", "one")
    assert set(procs.descendants(os.getpid())) <= before, "nothing of it is left"
