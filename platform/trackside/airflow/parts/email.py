"""`airflow.utils.email`: mail from task code, by the options `[email]` and `[smtp]` and the connection `smtp_default`."""

from __future__ import annotations

import logging
import re
import smtplib
import ssl
from collections.abc import Iterable
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from email.utils import formatdate
from pathlib import Path
from typing import Any

from trackside.airflow.parts.configuration import conf
from trackside.sdk.connection import Connection
from trackside.sdk.exceptions import AirflowException

log = logging.getLogger("airflow.utils.email")
Addresses = str | Iterable[str]


def send_email(to: Addresses, subject: str, html_content: str, *, conn_id: str | None = None, **kwargs: Any) -> Any:
    """Send by the function that the option `[email] email_backend` names; arguments as for `send_email_smtp`."""
    backend = conf.getimport("email", "email_backend")
    kwargs.setdefault("from_email", conf.get("email", "from_email", fallback=None) or None)
    chosen = conn_id or conf.get("email", "email_conn_id", fallback="smtp_default")
    return backend(", ".join(get_email_address_list(to)), subject, html_content, conn_id=chosen, **kwargs)


def send_email_smtp(
    to: Addresses,
    subject: str,
    html_content: str,
    files: list[str] | None = None,
    dryrun: bool = False,
    cc: Addresses | None = None,
    bcc: Addresses | None = None,
    mime_subtype: str = "mixed",
    mime_charset: str = "utf-8",
    conn_id: str = "smtp_default",
    from_email: str | None = None,
    custom_headers: dict[str, Any] | None = None,
    **kwargs: Any,
) -> None:
    """Send HTML by SMTP. Raises ValueError without a sender, and what `smtplib` raises."""
    sender = conf.get("smtp", "smtp_mail_from", fallback=None) or from_email
    if not sender:
        raise ValueError("You should set from email - either by smtp/smtp_mail_from config or `from_email` parameter")
    message, recipients = build_mime_message(
        sender, to, subject, html_content, files, cc, bcc, mime_subtype, mime_charset, custom_headers
    )
    send_mime_email(e_from=sender, e_to=recipients, mime_msg=message, conn_id=conn_id, dryrun=dryrun)


def build_mime_message(
    mail_from: str | None,
    to: Addresses,
    subject: str,
    html_content: str,
    files: list[str] | None = None,
    cc: Addresses | None = None,
    bcc: Addresses | None = None,
    mime_subtype: str = "mixed",
    mime_charset: str = "utf-8",
    custom_headers: dict[str, Any] | None = None,
) -> tuple[MIMEMultipart, list[str]]:
    """(the message, everybody who gets it). Who gets a blind copy is in no header."""
    recipients = get_email_address_list(to)
    message = MIMEMultipart(mime_subtype)
    message["Subject"] = subject
    if mail_from:
        message["From"] = mail_from
    message["To"] = ", ".join(recipients)
    if cc:
        copies = get_email_address_list(cc)
        message["CC"] = ", ".join(copies)
        recipients = recipients + copies
    if bcc:
        recipients = recipients + get_email_address_list(bcc)
    message["Date"] = formatdate(localtime=True)
    message.attach(MIMEText(html_content, "html", mime_charset))
    for path in map(Path, files or ()):
        part = MIMEApplication(path.read_bytes(), Name=path.name)
        part["Content-Disposition"] = f'attachment; filename="{path.name}"'
        part["Content-ID"] = f"<{path.name}>"
        message.attach(part)
    for key, value in (custom_headers or {}).items():
        message[key] = value
    return message, recipients


def send_mime_email(
    e_from: str,
    e_to: str | list[str],
    mime_msg: MIMEMultipart,
    conn_id: str | None = "smtp_default",
    dryrun: bool = False,
) -> None:
    """Send a message; a lost connection is tried again `[smtp] smtp_retry_limit` times."""
    if dryrun:
        return
    user, password = _login(conn_id)
    last = conf.getint("smtp", "smtp_retry_limit", fallback=5)
    for attempt in range(last + 1):
        try:
            with _server() as server:
                if conf.getboolean("smtp", "smtp_starttls", fallback=True):
                    server.starttls(context=_tls())
                if user and password:
                    server.login(user, password)
                server.sendmail(e_from, e_to, mime_msg.as_string())
            return
        except smtplib.SMTPServerDisconnected:
            if attempt == last:
                raise


def get_email_address_list(addresses: Addresses) -> list[str]:
    """Addresses one by one; in text they are separated by commas or semicolons. Raises TypeError."""
    if isinstance(addresses, str):
        return [part for part in re.split(r"\s*[,;]\s*", addresses.strip()) if part]
    if not isinstance(addresses, Iterable):
        raise TypeError(f"Unexpected argument type: Received '{type(addresses).__name__}'.")
    found = list(addresses)
    if not all(isinstance(one, str) for one in found):
        raise TypeError("The items in your iterable must be strings.")
    return found


def _login(conn_id: str | None) -> tuple[str | None, str | None]:
    if conn_id is None:
        return None, None
    try:
        found = Connection.get(conn_id)
    except AirflowException:
        log.debug("there is no connection %s: mail is sent without login", conn_id)
        return None, None
    return found.login, found.password


def _server() -> smtplib.SMTP:
    host, port = conf.get("smtp", "smtp_host"), conf.getint("smtp", "smtp_port")
    timeout = conf.getint("smtp", "smtp_timeout", fallback=30)
    if conf.getboolean("smtp", "smtp_ssl", fallback=False):
        return smtplib.SMTP_SSL(host=host, port=port, timeout=timeout, context=_tls())
    return smtplib.SMTP(host=host, port=port, timeout=timeout)


def _tls() -> ssl.SSLContext | None:
    wish = conf.get("email", "ssl_context", fallback="default")
    if wish not in ("default", "none"):
        raise RuntimeError(f"The option email/ssl_context must be 'default' or 'none', not {wish!r}.")
    return ssl.create_default_context() if wish == "default" else None
