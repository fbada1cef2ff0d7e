"""The Django project of Trackside: settings, URLs, ASGI entry and the embedded PostgreSQL. Not part of the wheel."""
