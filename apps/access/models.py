"""Users, API tokens, connections, variables and the audit trail.

Secrets are encrypted by `apps.access.crypto` and never rendered back. Everything a person or token changes leaves an
AuditEvent in the same transaction (`apps.access.audit.record`). Next door: `policy.py` answers who may do what.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import AbstractUser
from django.contrib.postgres.fields import ArrayField
from django.db import models, transaction
from django.db.models import F
from django.utils.crypto import salted_hmac
from django.utils.timezone import now

from apps.access.fields import EncryptedTextField


class SignsInWith(models.TextChoices):
    """How an account signs in. One way each: a directory cannot take over the account of somebody who has a password here."""

    PASSWORD = "password", "a password kept here"
    TOKEN = "token", "tokens only (service account)"
    PROXY = "proxy", "the trusted proxy's header"
    LDAP = "ldap", "LDAP"
    OIDC = "oidc", "OpenID Connect"
    SAML = "saml", "SAML"


class User(AbstractUser):
    """A person or service account. Roles are Django groups named Viewer, User, Op, Admin; superusers may do everything."""

    signs_in_with = models.CharField(max_length=10, choices=SignsInWith.choices, default=SignsInWith.PASSWORD)
    """Who vouches for this account. All but `password` have no usable password; the database refuses one."""
    must_change_password = models.BooleanField(default=False)
    """Set for generated passwords."""
    preferences = models.JSONField(default=dict, blank=True)
    """What the pages remember for this person: theme, time zone, density, saved views."""
    sign_in_epoch = models.IntegerField(default=0, editable=False)
    """Raised to end all sessions and signed tokens of this person (see `apps.access.signout`)."""

    _loaded: dict[str, Any] | None = None

    class Meta(AbstractUser.Meta):
        constraints = (
            models.CheckConstraint(
                condition=models.Q(signs_in_with="password") | models.Q(password__startswith="!"),  # noqa: S106 (the mark of no password)
                name="password_only_where_it_is_used",
            ),
            models.CheckConstraint(condition=models.Q(signs_in_with__in=SignsInWith.values), name="user_signs_in_with_known"),
        )

    @classmethod
    def from_db(cls, *args: Any, **kwargs: Any) -> User:
        """Remembers what was loaded, to notice a change when it is saved."""
        user = super().from_db(*args, **kwargs)
        user._loaded = {name: user.__dict__.get(name) for name in ("is_active", "is_superuser")}
        return user

    def save(self, *args: Any, **kwargs: Any) -> None:
        """A new password, a disabled account or another superuser flag ends what the person is signed in with."""
        loaded = self._loaded or {}
        if self.signs_in_with != SignsInWith.PASSWORD and self.has_usable_password():
            self.set_unusable_password()
            self._password, self.must_change_password = None, False  # type: ignore[attr-defined]
        new_password = self._password is not None and not self._state.adding  # type: ignore[attr-defined]
        disabled = loaded.get("is_active") is True and not self.is_active
        other_rights = loaded.get("is_superuser") not in (None, self.is_superuser)
        if not self._state.adding and not args and kwargs.get("update_fields") is None:  # an epoch read long ago is not written back
            kept = self.get_deferred_fields() | {"id", "sign_in_epoch"}
            kwargs["update_fields"] = [f.name for f in self._meta.concrete_fields if f.attname not in kept]
        with transaction.atomic():
            super().save(*args, **kwargs)
            if new_password or disabled:
                self.api_tokens.filter(revoked_at=None).update(revoked_at=now())
            if disabled or other_rights:
                User.objects.filter(pk=self.pk).update(sign_in_epoch=F("sign_in_epoch") + 1)
                self.refresh_from_db(fields=["sign_in_epoch"])
        if loaded:
            self._loaded = {"is_active": self.is_active, "is_superuser": self.is_superuser}

    def get_session_auth_hash(self) -> str:
        """What sessions and signed tokens must still carry: changes with the password and the epoch."""
        return self._get_session_auth_hash()

    def _get_session_auth_hash(self, secret: str | None = None) -> str:
        salt = "apps.access.models.User.get_session_auth_hash"
        return salted_hmac(salt, f"{self.password}:{self.sign_in_epoch}", secret=secret, algorithm="sha256").hexdigest()


class ApiToken(models.Model):
    """A token for scripts: `trk_<prefix>_<secret>`; only the hash of the secret is kept."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="api_tokens")
    name = models.CharField(max_length=100)
    prefix = models.CharField(max_length=12, unique=True)
    secret_hash = models.CharField(max_length=64)
    """SHA-256, hex."""
    scopes = models.JSONField(default=list, blank=True)
    created_at = models.DateTimeField(default=now)
    expires_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} ({self.prefix})"


class RevokedToken(models.Model):
    """A signed-out JWT, by its jti, until it would have expired anyway."""

    jti = models.CharField(max_length=64, primary_key=True)
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return self.jti


class IdempotentAnswer(models.Model):
    """What a mutation under an `Idempotency-Key` was answered, for a day. Written with the mutation (`rest.idempotency`)."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    request = models.CharField(max_length=64)
    """SHA-256 of method, path, query and body: the same key may not mean something else."""
    status = models.SmallIntegerField()
    content = models.BinaryField()
    at = models.DateTimeField(default=now)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "key"), name="idempotent_answer_once"),)

    def __str__(self) -> str:
        return self.key


class RateBucket(models.Model):
    """How many requests somebody may still make, as the web processes told each other (`apps.access.rates`)."""

    key = models.CharField(max_length=60, primary_key=True)
    level = models.FloatField()
    at = models.DateTimeField()

    def __str__(self) -> str:
        return self.key


class Connection(models.Model):
    """How tasks reach another system. Airflow's Connection; password and extra are encrypted and write-only."""

    conn_id = models.CharField(max_length=250, unique=True)
    conn_type = models.CharField(max_length=500)
    description = models.TextField(null=True, blank=True)
    host = models.CharField(max_length=500, null=True, blank=True)
    schema = models.CharField(max_length=500, null=True, blank=True)
    login = models.TextField(null=True, blank=True)
    password = EncryptedTextField(null=True, blank=True)
    port = models.IntegerField(null=True, blank=True)
    extra = EncryptedTextField(null=True, blank=True)
    """JSON text."""
    team_name = models.CharField(max_length=50, null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("conn_id",)

    def __str__(self) -> str:
        return self.conn_id


class Variable(models.Model):
    """A named value for DAG files and tasks. Airflow's Variable; the value is encrypted at rest."""

    key = models.CharField(max_length=250, unique=True)
    value = EncryptedTextField(default="", blank=True)
    """Text as tasks read it; JSON values are stored as their JSON text."""
    description = models.TextField(null=True, blank=True)
    team_name = models.CharField(max_length=50, null=True, blank=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return self.key


class Team(models.Model):
    """Which folders and tags of DAG files a team owns, beside bundles that the settings give it. Rules: `apps.access.teams`."""

    name = models.CharField(max_length=50, unique=True)
    folders = ArrayField(models.CharField(max_length=500), default=list, blank=True)
    """`reports/daily` in any bundle, `bundle:reports/daily` in one; with all that is below."""
    tags = ArrayField(models.CharField(max_length=100), default=list, blank=True)
    """Exact words. Authors of DAG files choose their tags: these keep apart what is not meant to meet, nothing hostile."""

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name


class TeamMember(models.Model):
    """Somebody's role on what a team owns, beside the roles they have everywhere. Asked by `apps.access.membership`."""

    class Role(models.TextChoices):
        """Roles that make sense for a part of the site."""

        VIEWER = "Viewer"
        USER = "User"
        OP = "Op"

    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="members")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role.choices, default=Role.VIEWER)

    class Meta:
        ordering = ("user__username",)
        constraints = (
            models.UniqueConstraint(fields=("team", "user"), name="team_member_once"),
            models.CheckConstraint(condition=models.Q(role__in=("Viewer", "User", "Op")), name="team_member_role_known"),
        )

    def __str__(self) -> str:
        return f"{self.user} in {self.team}"


class RoleRight(models.Model):
    """What a role of one's own (a group) allows, beside what files of DAGs say of it. Read by `policy`; the four roles need none."""

    class Kind(models.TextChoices):
        """What the right is on."""

        DAG = "dag", "DAGs, with runs, tasks and logs"
        CONNECTION = "connection", "connections"
        VARIABLE = "variable", "variables"
        POOL = "pool", "pools"
        ASSET = "asset", "assets"
        MONITOR = "monitor", "processes"
        AUDIT = "audit", "the audit trail"

    class Level(models.TextChoices):
        """How far it goes; each one includes those before it."""

        SEE = "see", "see"
        TRIGGER = "trigger", "see and trigger"
        CHANGE = "change", "see, trigger, make and change"
        ALL = "all", "everything, deletion too"

    group = models.ForeignKey("auth.Group", on_delete=models.CASCADE, related_name="rights")
    kind = models.CharField(max_length=20, choices=Kind.choices)
    level = models.CharField(max_length=10, choices=Level.choices, default=Level.SEE)
    dag_id = models.CharField("only this DAG", max_length=250, default="", blank=True)
    """Empty: all of the kind."""

    class Meta:
        ordering = ("kind", "dag_id")
        constraints = (
            models.UniqueConstraint(fields=("group", "kind", "dag_id"), name="role_right_once"),
            models.CheckConstraint(condition=models.Q(dag_id="") | models.Q(kind="dag"), name="role_right_of_a_dag"),
            models.CheckConstraint(condition=models.Q(level__in=("see", "trigger", "change", "all")), name="role_right_level_known"),
        )

    def __str__(self) -> str:
        return f"{self.level} {self.kind}{f' {self.dag_id}' if self.dag_id else ''}"


class SavedView(models.Model):
    """The filters of a list under a name: somebody's own, or shared with all who may open that list. See `savedviews`."""

    owner = models.ForeignKey(User, on_delete=models.CASCADE, related_name="saved_views")
    page = models.CharField(max_length=10)
    """A key of `savedviews.FILTERS`."""
    name = models.CharField(max_length=100)
    filters = models.JSONField(default=dict)
    """Name of the filter: its value, as in the address of the page."""
    shared = models.BooleanField(default=False)

    class Meta:
        ordering = ("shared", "name", "pk")
        constraints = (models.UniqueConstraint(fields=("owner", "page", "name"), name="saved_view_once"),)

    def __str__(self) -> str:
        return self.name


class DefaultView(models.Model):
    """The view that a list opens with, for one person: one of their own, or a shared one. See `savedviews`."""

    person = models.ForeignKey(User, on_delete=models.CASCADE, related_name="default_views")
    page = models.CharField(max_length=10)
    view = models.ForeignKey(SavedView, on_delete=models.CASCADE, related_name="+")

    class Meta:
        constraints = (models.UniqueConstraint(fields=("person", "page"), name="default_view_once"),)

    def __str__(self) -> str:
        return f"{self.page} of {self.person_id}"


class AuditEvent(models.Model):
    """One thing that somebody (or the system) changed. Append-only; REST shows it as an event log."""

    at = models.DateTimeField(default=now)
    action = models.CharField(max_length=100)
    """Airflow's event names where they exist: trigger_dag_run, patch_dag, clear_task_instances, paused …"""
    actor = models.CharField(max_length=250, default="system")
    """User name, token name or process."""
    means = models.CharField(max_length=30, default="system")
    """rest, ui, admin, cli, scheduler, worker …"""
    dag_id = models.CharField(max_length=250, null=True)
    run_id = models.CharField(max_length=250, null=True)
    task_id = models.CharField(max_length=250, null=True)
    map_index = models.IntegerField(null=True)
    try_number = models.IntegerField(null=True)
    logical_date = models.DateTimeField(null=True)
    object_type = models.CharField(max_length=50, null=True)
    object_id = models.CharField(max_length=500, null=True)
    address = models.GenericIPAddressField(null=True)
    """Where the request came from; null for what no request asked for."""
    extra = models.JSONField(default=dict)
    """Before and after. Never a secret."""

    class Meta:
        indexes = (
            models.Index(fields=("-at", "-id"), name="audit_newest"),  # list of the newest events
            models.Index(fields=("dag_id", "-at"), name="audit_dag"),  # events of one DAG, newest first
            models.Index(fields=("object_type", "object_id", "-at"), name="audit_object"),  # history of one object
        )

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M:%S} {self.actor} {self.action}"
