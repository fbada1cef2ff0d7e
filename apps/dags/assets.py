"""Which assets the DAG files know and who refers to them; which of them are active.

For `storing` (a version is stored, a DAG is gone), the scheduler (`settle`, every few seconds) and `apps.runs.assets`
(`define`, assets that a task names at run time). An asset is active while a DAG refers to it; when two assets share a
name or a URI the one that was active first stays, and DAGs that refer to the other get a warning (rows 1.220, 2.134).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q

from apps.dags import hooks
from apps.dags.models import Asset, AssetAlias, AssetUse, Dag, DagWarning
from trackside.core.asset_conditions import leaves
from trackside.core.spec import DagSpec

LOCK_KEY = 0x7472_6B32
"""Advisory lock of whoever changes definitions of assets: few and short, so they take turns."""
CONFLICT = "asset conflict"
ALIAS_DELAY = timedelta(seconds=30)
"""Age at which an asset that is only known through an alias becomes active (Airflow: at its next check, every 60 s)."""


@dataclass(frozen=True, slots=True)
class Definition:
    """What a file or a task says about an asset."""

    name: str
    uri: str
    group: str = "asset"
    extra: dict[str, Any] | None = None
    watchers: list[dict[str, Any]] | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.uri


@dataclass(frozen=True, slots=True)
class _Use:
    """One reference, before anything has a number. `what`: asset, alias, ref_name or ref_uri; `key`: (name, uri) or text."""

    kind: str
    task_id: str
    what: str
    key: Any


def _uses(spec: DagSpec) -> tuple[set[_Use], dict[tuple[str, str], Definition], dict[str, str]]:
    """References of a DAG, definitions of the assets in them, groups of the aliases in them."""
    uses: set[_Use] = set()
    known: dict[tuple[str, str], Definition] = {}
    aliases: dict[str, str] = {}

    def note(kind: str, task_id: str, word: str, value: Mapping[str, Any]) -> None:
        if word == "asset" and value.get("name") and value.get("uri"):
            found = Definition(value["name"], value["uri"], value.get("group") or "asset", value.get("extra"), value.get("watchers"))
            if found.key not in known or known[found.key].extra is None:
                known[found.key] = found
            uses.add(_Use(kind, task_id, "asset", found.key))
        elif word == "alias" and value.get("name"):
            aliases.setdefault(value["name"], value.get("group") or "asset")
            uses.add(_Use(kind, task_id, "alias", value["name"]))
        elif word == "asset_ref" and (value.get("name") or value.get("uri")):
            what = "ref_name" if value.get("name") else "ref_uri"
            uses.add(_Use(kind, task_id, what, value.get("name") or value["uri"]))

    for task in spec.tasks:
        for kind, things in ((AssetUse.INLET, task.inlets), (AssetUse.OUTLET, task.outlets)):
            for thing in things:
                note(kind, task.task_id, str(thing.get("type")), thing)
    for thing in spec.schedule_assets:
        note(AssetUse.SCHEDULE, "", "asset", thing)
    for word, value in leaves(spec.asset_expression):
        note(AssetUse.SCHEDULE, "", word, value)
    return uses, known, aliases


def mentions_assets(spec: DagSpec) -> bool:
    """Whether the DAG refers to any asset; costs no query."""
    return bool(spec.asset_expression) or any(t.inlets or t.outlets for t in spec.tasks)


def store(specs: Mapping[str, DagSpec], new: Collection[str], now: datetime) -> None:
    """Make the references of these DAGs what their specs say, in the caller's transaction.

    `new`: DAGs that had none before. Nothing is asked of the database when no DAG has or had references.
    """
    with_assets = {dag_id for dag_id, spec in specs.items() if mentions_assets(spec)}
    old = list(AssetUse.objects.filter(dag__in=[d for d in specs if d not in new])) if len(specs) > len(new) else []
    if not with_assets and not old:
        return
    _lock()
    found = {dag_id: _uses(specs[dag_id]) for dag_id in sorted(with_assets)}
    known: dict[tuple[str, str], Definition] = {}
    aliases: dict[str, str] = {}
    for _, definitions, names in found.values():
        for key, definition in definitions.items():
            if key not in known or known[key].extra is None:
                known[key] = definition
        aliases |= names
    asset_ids = define(known.values(), now)
    alias_ids = define_aliases(aliases)
    touched = {use.asset_id for use in old if use.asset_id} | set(asset_ids.values())
    left = {_key(use): use for use in old}
    fresh = []
    for dag_id, (uses, _, _) in found.items():
        for use in sorted(uses, key=lambda u: (u.kind, u.task_id, u.what, str(u.key))):
            column = {
                "asset": ("asset_id", asset_ids.get(use.key)), "alias": ("alias_id", alias_ids.get(use.key)),
            }.get(use.what, (use.what, use.key))  # fmt: skip
            row = AssetUse(dag_id=dag_id, kind=use.kind, task_id=use.task_id, created_at=now, updated_at=now, **dict([column]))
            if left.pop(_key(row), None) is None:
                fresh.append(row)
    AssetUse.objects.filter(pk__in=[use.pk for use in left.values()]).delete()
    AssetUse.objects.bulk_create(fresh)
    _settle(touched, set(specs), now)


def _key(use: AssetUse) -> tuple[Any, ...]:
    return use.dag_id, use.kind, use.task_id, use.asset_id, use.alias_id, use.ref_name, use.ref_uri


def define(definitions: Iterable[Definition], now: datetime, *, update: bool = True) -> dict[tuple[str, str], int]:
    """Ids of these assets by (name, uri); missing ones are made (inactive), others say what was said last.

    `update=False`: assets that exist stay as they are (a task only names them).
    """
    wanted = {d.key: d for d in definitions}
    if not wanted:
        return {}
    rows = {(a.name, a.uri): a for a in Asset.objects.filter(name__in={name for name, _ in wanted}, uri__in={uri for _, uri in wanted})}
    missing = [d for key, d in sorted(wanted.items()) if key not in rows]
    if missing:
        Asset.objects.bulk_create(
            [
                Asset(name=d.name, uri=d.uri, group=d.group, extra=d.extra or {}, watchers=d.watchers or [], created_at=now, updated_at=now)
                for d in missing
            ],
            ignore_conflicts=True,  # another task may have named it in this very moment
        )
        for d in missing:
            described = {"is": "asset", "name": d.name, "uri": d.uri, "group": d.group, "extra": d.extra or {}}
            hooks.user_event("on_asset_created", {"asset": described}, {})
        again = Asset.objects.filter(name__in=[d.name for d in missing], uri__in=[d.uri for d in missing])
        rows |= {(a.name, a.uri): a for a in again}
    for key, d in wanted.items() if update else ():
        row = rows[key]
        said: dict[str, Any] = {"group": d.group}
        if d.extra is not None:  # a full definition; a condition only names the asset
            said |= {"extra": d.extra, "watchers": d.watchers or []}
        changes = {name: value for name, value in said.items() if getattr(row, name) != value}
        if changes:
            Asset.objects.filter(pk=row.pk).update(updated_at=now, **changes)
    return {key: rows[key].pk for key in wanted}


def define_aliases(groups: Mapping[str, str]) -> dict[str, int]:
    """Ids of these aliases (name → group) by name; missing ones are made."""
    if not groups:
        return {}
    rows = dict(AssetAlias.objects.filter(name__in=groups).values_list("name", "pk"))
    if missing := sorted(set(groups) - set(rows)):
        AssetAlias.objects.bulk_create([AssetAlias(name=n, group=groups[n]) for n in missing], ignore_conflicts=True)
        for n in missing:
            hooks.user_event("on_asset_alias_created", {"asset_alias": {"is": "alias", "name": n, "group": groups[n]}}, {})
        rows |= dict(AssetAlias.objects.filter(name__in=missing).values_list("name", "pk"))
    return rows


def dags_gone(dag_ids: Collection[str], now: datetime) -> None:
    """DAGs became stale: what only they referred to is not active any more. In the caller's transaction."""
    ids = set(AssetUse.objects.filter(dag__in=dag_ids, asset__isnull=False).values_list("asset_id", flat=True))
    if ids:
        _lock()
        _settle({i for i in ids if i is not None}, set(dag_ids), now)


def settle(now: datetime) -> None:
    """Look for assets that are active without a reference, or the other way round; the scheduler's slow duty."""
    referred = Exists(AssetUse.objects.filter(asset=OuterRef("pk"), dag__is_stale=False))
    by_alias = Exists(AssetUse.objects.filter(alias__assets=OuterRef("pk"), dag__is_stale=False))
    odd = Asset.objects.filter(
        Q(is_active=True) & ~referred & ~by_alias | Q(is_active=False) & (referred | by_alias) & Q(created_at__lt=now - ALIAS_DELAY)
    )
    if ids := set(odd.values_list("pk", flat=True)):
        with transaction.atomic():
            _lock()
            _settle(ids, set(), now)


def _lock() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK_KEY])


def _settle(touched: Collection[int], dag_ids: Collection[str], now: datetime) -> None:
    """Decide anew which of the touched assets, and of those they compete with, are active; tell in warnings."""
    mine = Asset.objects.filter(pk__in=touched)
    group = Q(pk__in=touched) | Q(name__in=mine.values("name")) | Q(uri__in=mine.values("uri"))
    referred = Exists(AssetUse.objects.filter(asset=OuterRef("pk"), dag__is_stale=False))
    by_alias = Exists(AssetUse.objects.filter(alias__assets=OuterRef("pk"), dag__is_stale=False))
    rows = list(Asset.objects.filter(group).annotate(referred=referred, by_alias=by_alias).order_by("-is_active", "pk"))
    names, uris = set(), set()
    off, on = [], []
    for row in rows:
        wanted = row.referred or (row.by_alias and (row.is_active or row.created_at < now - ALIAS_DELAY))
        if wanted and row.name not in names and row.uri not in uris:
            names.add(row.name)
            uris.add(row.uri)
            if not row.is_active:
                on.append(row.pk)
        elif row.is_active:
            off.append(row.pk)
    Asset.objects.filter(pk__in=off).update(is_active=False)
    Asset.objects.filter(pk__in=on).update(is_active=True)
    _warn({*dag_ids, *AssetUse.objects.filter(asset__in=[r.pk for r in rows]).values_list("dag_id", flat=True)}, now)


def _warn(dag_ids: Collection[str], now: datetime) -> None:
    """Make the conflict warnings of these DAGs true."""
    lines: dict[str, list[str]] = {}
    uses = AssetUse.objects.filter(dag__in=dag_ids, dag__is_stale=False, asset__is_active=False).select_related("asset")
    for use in uses.order_by("dag_id", "asset_id"):
        if use.asset is not None and (text := _conflict(use.asset)) not in (said := lines.setdefault(use.dag_id, [])):
            said.append(text)
    texts = {dag_id: "\n".join(said) for dag_id, said in lines.items()}
    for row in DagWarning.objects.filter(dag__in=dag_ids, kind=CONFLICT):
        text = texts.pop(row.dag_id, "")
        if not text:
            row.delete()
        elif text != row.message:
            DagWarning.objects.filter(pk=row.pk).update(message=text, at=now)
    here = set(Dag.objects.filter(pk__in=texts).values_list("pk", flat=True))
    DagWarning.objects.bulk_create(
        [DagWarning(dag_id=dag_id, kind=CONFLICT, message=text, at=now) for dag_id, text in texts.items() if dag_id in here],
        ignore_conflicts=True,
    )


def _conflict(asset: Asset) -> str:
    rival = Asset.objects.filter(Q(name=asset.name) | Q(uri=asset.uri), is_active=True).first()
    if rival is not None and rival.name == asset.name:
        why = f"its name is already taken by an asset with the URI {rival.uri}"
    elif rival is not None:
        why = f"its URI is already taken by the asset {rival.name}"
    else:
        why = "nothing has activated it yet"
    return f"Asset {asset.name} ({asset.uri}) is not active: {why}. Give both the same name and URI, or different ones."
