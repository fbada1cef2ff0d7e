"""Known types of connections: what their fields are called and which keys of `extra` they read.

Only words for the form: a type that is not listed here works the same, with the generic labels. Type ids and keys of
`extra` are those of Airflow's provider packages, whose hooks read them. `secret` fields are typed hidden.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ExtraField:
    """One key of `extra` that has a field of its own in the form."""

    key: str
    label: str
    secret: bool = False
    choices: tuple[str, ...] = ()
    kind: str = "text"
    """text, int, bool, long (several lines) or json (a value typed as JSON): how it is written into the JSON."""
    hint: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionType:
    """Words for one type. An empty label hides the field (unless the connection has a value there)."""

    id: str
    name: str
    host: str = "Host"
    port: str = "Port"
    schema: str = "Schema"
    login: str = "Login"
    password: str = "Password"  # noqa: S105 - a label
    port_hint: str = ""
    extras: tuple[ExtraField, ...] = field(default=())
    placeholders: tuple[tuple[str, str], ...] = ()
    """(field, example of a value)."""
    package: str = ""
    """The installed provider package that says so; empty for Trackside's own words."""


GENERIC = ConnectionType("generic", "Generic")

_SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_TIMEOUT = ExtraField("connect_timeout", "Connect timeout", kind="int", hint="Seconds.")

TYPES = (
    GENERIC,
    ConnectionType(
        "postgres",
        "PostgreSQL",
        schema="Database",
        login="User",
        port_hint="5432",
        extras=(ExtraField("sslmode", "TLS", choices=_SSL_MODES), _TIMEOUT, ExtraField("options", "Server options")),
    ),
    ConnectionType(
        "mysql",
        "MySQL or MariaDB",
        schema="Database",
        login="User",
        port_hint="3306",
        extras=(ExtraField("charset", "Character set"), _TIMEOUT),
    ),
    ConnectionType("sqlite", "SQLite", host="File", port="", schema="", login="", password=""),
    ConnectionType("mssql", "Microsoft SQL Server", schema="Database", login="User", port_hint="1433"),
    ConnectionType(
        "snowflake",
        "Snowflake",
        host="",
        port="",
        schema="Schema",
        login="User",
        extras=(
            ExtraField("account", "Account"),
            ExtraField("warehouse", "Warehouse"),
            ExtraField("database", "Database"),
            ExtraField("role", "Role"),
            ExtraField("region", "Region"),
            ExtraField("private_key_content", "Private key", secret=True, kind="long"),
        ),
    ),
    ConnectionType(
        "http",
        "HTTP",
        host="Host or base URL",
        schema="Scheme (http or https)",
        login="User",
        extras=(
            ExtraField("timeout", "Timeout", kind="int", hint="Seconds."),
            ExtraField("verify", "Verify certificates", kind="bool"),
        ),
    ),
    ConnectionType(
        "aws",
        "Amazon Web Services",
        host="",
        port="",
        schema="",
        login="Access key id",
        password="Secret access key",  # noqa: S106
        extras=(
            ExtraField("region_name", "Region"),
            ExtraField("role_arn", "Role ARN"),
            ExtraField("endpoint_url", "Endpoint URL"),
            ExtraField("aws_session_token", "Session token", secret=True),
        ),
    ),
    ConnectionType(
        "google_cloud_platform",
        "Google Cloud",
        host="",
        port="",
        schema="",
        login="",
        password="",
        extras=(
            ExtraField("project", "Project id"),
            ExtraField("key_path", "Key file on the worker"),
            ExtraField("keyfile_dict", "Key file (JSON)", secret=True, kind="long"),
            ExtraField("scope", "Scopes", hint="Separated by commas."),
            ExtraField("num_retries", "Retries", kind="int"),
        ),
    ),
    ConnectionType(
        "wasb",
        "Azure Blob Storage",
        host="Account URL",
        port="",
        schema="",
        login="Account name or client id",
        password="Account key or secret",  # noqa: S106
        extras=(
            ExtraField("tenant_id", "Tenant id"),
            ExtraField("sas_token", "SAS token", secret=True),
            ExtraField("connection_string", "Connection string", secret=True),
        ),
    ),
    ConnectionType(
        "ssh",
        "SSH",
        schema="",
        login="User",
        port_hint="22",
        extras=(
            ExtraField("key_file", "Key file on the worker"),
            ExtraField("private_key", "Private key", secret=True, kind="long"),
            ExtraField("private_key_passphrase", "Passphrase of the key", secret=True),
            ExtraField("host_key", "Host key", kind="long"),
            ExtraField("conn_timeout", "Connect timeout", kind="int", hint="Seconds."),
        ),
    ),
    ConnectionType(
        "sftp",
        "SFTP",
        schema="",
        login="User",
        port_hint="22",
        extras=(ExtraField("private_key", "Private key", secret=True, kind="long"),),
    ),
    ConnectionType("ftp", "FTP", schema="", login="User", port_hint="21"),
    ConnectionType(
        "smtp",
        "SMTP",
        schema="",
        login="User",
        port_hint="465",
        extras=(
            ExtraField("from_email", "From"),
            ExtraField("disable_ssl", "No TLS", kind="bool"),
            ExtraField("timeout", "Timeout", kind="int", hint="Seconds."),
        ),
    ),
    ConnectionType(
        "slack",
        "Slack API",
        host="",
        port="",
        schema="",
        login="",
        password="API token",  # noqa: S106
        extras=(ExtraField("timeout", "Timeout", kind="int", hint="Seconds."),),
    ),
    ConnectionType(
        "slackwebhook",
        "Slack incoming webhook",
        port="",
        schema="",
        login="",
        host="Webhook host",
        password="Webhook token",  # noqa: S106 - a label
    ),
    ConnectionType(
        "kubernetes",
        "Kubernetes",
        host="",
        port="",
        schema="",
        login="",
        password="",
        extras=(
            ExtraField("in_cluster", "Use the pod's own account", kind="bool"),
            ExtraField("kube_config_path", "kubeconfig file on the worker"),
            ExtraField("kube_config", "kubeconfig (JSON)", secret=True, kind="long"),
            ExtraField("namespace", "Namespace"),
            ExtraField("cluster_context", "Context"),
        ),
    ),
    ConnectionType(
        "redis",
        "Redis",
        schema="",
        login="User",
        port_hint="6379",
        extras=(ExtraField("db", "Database number", kind="int"), ExtraField("ssl", "TLS", kind="bool")),
    ),
    ConnectionType(
        "spark",
        "Spark",
        host="Master",
        schema="",
        login="",
        password="",
        extras=(
            ExtraField("queue", "YARN queue"),
            ExtraField("deploy-mode", "Deploy mode", choices=("client", "cluster")),
        ),
    ),
    ConnectionType(
        "databricks",
        "Databricks",
        port="",
        schema="",
        login="User or client id",
        password="Token or secret",  # noqa: S106
        extras=(ExtraField("http_path", "HTTP path"), ExtraField("token", "Token", secret=True)),
    ),
    ConnectionType("fs", "Files (path)", host="", port="", schema="", login="", password="", extras=(ExtraField("path", "Path"),)),
)
BY_ID = {known.id: known for known in TYPES}
