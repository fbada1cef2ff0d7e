"""What git needs to sign in at a remote: from a connection, in its environment and private files, never in arguments.

For `git`. Fields of the connection as Airflow's git provider has them: host is the URL, login and password for https (a
token is a password), and in `extra`: key_file or private_key, private_key_passphrase, strict_host_key_checking,
known_hosts_file, ssh_config_file, host_proxy_cmd, ssh_port.
"""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from trackside.runner.bundles.base import BundleError
from trackside.runner.bundles.config import BundleConfig

_HELPER = '!f() { test "$1" = get && printf "username=%s\\npassword=%s\\n" "$TS_GIT_USER" "$TS_GIT_PASSWORD"; }; f'
_CHECKS = ("yes", "no", "accept-new", "off", "ask")


@contextlib.contextmanager
def signed_in(config: BundleConfig, connection: dict[str, Any] | None) -> Iterator[tuple[str, dict[str, str]]]:
    """URL without secrets and the environment for git, while the block lasts (keys lie in a private folder until then)."""
    connection = connection or {}
    url = str(config.kwargs.get("repo_url") or connection.get("host") or "")
    if not url or url.startswith("-"):
        conn_id = config.kwargs.get("git_conn_id")
        raise BundleError(f"Bundle {config.name}: the host of connection {conn_id} must be the URL of the repository.")
    user, password = str(connection.get("login") or ""), str(connection.get("password") or "")
    url, in_url = _split_user(url)
    if in_url[1]:
        user, password = in_url[0] or user, in_url[1]
    with tempfile.TemporaryDirectory(prefix="trackside-git-") as folder:
        environment = _ssh(config.name, connection, Path(folder))
        if password and url.startswith(("http://", "https://")):
            # an empty helper first: none of the machine's own
            pairs = [("credential.helper", ""), ("credential.helper", _HELPER)]
            environment |= {"GIT_CONFIG_COUNT": str(len(pairs)), "TS_GIT_USER": user or "user", "TS_GIT_PASSWORD": password}
            for number, (key, value) in enumerate(pairs):
                environment |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
        yield url, environment


def clean_url(text: str) -> str:
    """A text of git's without user and password of URLs."""
    return re.sub(r"(\w+://)[^/@\s]*@", r"\1", text)


def _split_user(url: str) -> tuple[str, tuple[str, str]]:
    """An http URL without user and password, and these."""
    if not url.startswith(("http://", "https://")):
        return url, ("", "")
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if user and not password:  # https://TOKEN@host
        user, password = "x-access-token", user
    return urlunsplit(parts._replace(netloc=host)), (user, password)


def _ssh(name: str, connection: dict[str, Any], folder: Path) -> dict[str, str]:
    extra = _extra(name, connection)
    check = str(extra.get("strict_host_key_checking") or "accept-new")
    if check not in _CHECKS:
        raise BundleError(f"Bundle {name}: strict_host_key_checking {check!r} must be one of {', '.join(_CHECKS)}.")
    if extra.get("key_file") and extra.get("private_key"):
        raise BundleError(f"Bundle {name}: the connection has both key_file and private_key; one of them is enough.")
    words = ["ssh", "-o", f"StrictHostKeyChecking={check}"]
    if not extra.get("private_key_passphrase"):
        words += ["-o", "BatchMode=yes"]
    environment: dict[str, str] = {}
    key = extra.get("key_file")
    if inline := extra.get("private_key"):
        file = folder / "key"
        file.touch(0o600)
        file.write_text(str(inline).strip() + "\n")
        key = str(file)
    if key:
        words += ["-i", str(key), "-o", "IdentitiesOnly=yes"]
    if known := extra.get("known_hosts_file"):
        words += ["-o", f"UserKnownHostsFile={known}"]
    elif check in ("no", "off"):
        words += ["-o", "UserKnownHostsFile=/dev/null"]
    if file_name := extra.get("ssh_config_file"):
        words += ["-F", str(file_name)]
    if proxy := extra.get("host_proxy_cmd"):
        words += ["-o", f"ProxyCommand={proxy}"]
    if port := extra.get("ssh_port"):
        words += ["-p", str(int(port))]
    if phrase := extra.get("private_key_passphrase"):
        ask = folder / "askpass"
        ask.touch(0o700)
        ask.write_text('#!/bin/sh\nprintf "%s\\n" "$TS_SSH_PHRASE"\n')
        environment |= {"SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":", "TS_SSH_PHRASE": str(phrase)}
    return {"GIT_SSH_COMMAND": shlex.join(words), **environment}


def _extra(name: str, connection: dict[str, Any]) -> dict[str, Any]:
    extra = connection.get("extra") or {}
    try:
        found = json.loads(extra) if isinstance(extra, str) else extra
    except ValueError as e:
        raise BundleError(f"Bundle {name}: the extra of its connection is not JSON ({e}).") from None
    return found if isinstance(found, dict) else {}
