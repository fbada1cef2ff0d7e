"""DAG bundles: where DAG files come from – a folder, a git repository, a bucket – and how a version of them gets on disk.

For the DAG processor (`apps.dags.sources`, keeps the newest files in a tracking folder), for workers (`runner.local_files`,
gets the version of a run) and for the settings. Free of Django; connections are asked for through a callable.

* `config` – the JSON of TRACKSIDE_DAG_BUNDLES; `base` – what every kind offers, the marker that says which version lies there
* `git` – bare clone, work trees; `gitauth` – what git needs to sign in; `s3` – a mirror of a prefix of a bucket
* `own` – a class of the site's, asked in processes of its own (`child`)

`open_bundle` makes one from its configuration. Nothing is fetched before `refresh` or `materialise` is called.
"""

from __future__ import annotations

from pathlib import Path

from trackside.runner.bundles.base import Bundle, BundleError, Connections, Lease
from trackside.runner.bundles.config import DEFAULT_NAME, OWN, BadBundles, BundleConfig, parse_bundles

__all__ = [
    "DEFAULT_NAME",
    "BadBundles",
    "Bundle",
    "BundleConfig",
    "BundleError",
    "Connections",
    "Lease",
    "open_bundle",
    "parse_bundles",
]


def open_bundle(config: BundleConfig, storage: Path, connections: Connections) -> Bundle:
    """The bundle of a configuration. `storage`: the folder below which remote kinds keep their copies."""
    if config.kind == "git":
        from trackside.runner.bundles.git import GitBundle

        return GitBundle(config, storage, connections)
    if config.kind == "s3":
        from trackside.runner.bundles.s3 import S3Bundle

        return S3Bundle(config, storage, connections)
    if config.kind == OWN:
        from trackside.runner.bundles.own import OwnBundle

        return OwnBundle(config, storage, connections)
    return Bundle(config, storage, connections)
