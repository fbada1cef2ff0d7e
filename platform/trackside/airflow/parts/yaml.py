"""`airflow.utils.yaml`: PyYAML, with its fast loader and dumper where they were built."""

from __future__ import annotations

from typing import Any


def safe_load(stream: Any) -> Any:
    """The first document, plain values only."""
    import yaml

    return yaml.load(stream, getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe loaders


def dump(data: Any, **kwargs: Any) -> str:
    """As text, plain values only."""
    import yaml

    text: str = yaml.dump(data, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), **kwargs)
    return text


def __getattr__(name: str) -> Any:
    import yaml

    if name == "FullLoader":
        return getattr(yaml, "CFullLoader", yaml.FullLoader)
    return getattr(yaml, name)
