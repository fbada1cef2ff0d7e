from __future__ import annotations

from django.urls import include, path

from apps.access.adminsite import site as admin_site

urlpatterns: list = [
    path("admin/", admin_site.urls),
    path("", include("apps.access.urls")),
    path("", include("apps.ui.api.urls")),
    path("", include("apps.ui.urls")),
]
