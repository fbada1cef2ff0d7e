"""URLs of the door and of one's own account. The API's are in `apps.access.api`, the admin's below /admin/."""

from __future__ import annotations

from django.contrib.auth import views as auth_views
from django.urls import include, path

from apps.access import views

urlpatterns = [
    path("login", views.SignIn.as_view(), name="login"),
    path("login/new-password", views.new_password, name="new_password"),
    path("logout", auth_views.LogoutView.as_view(), name="logout"),
    path("account", views.account, name="account"),
    path("account/sign-out-everywhere", views.sign_out_everywhere, name="sign_out_everywhere"),
    path("sso/", include("apps.access.outside.urls")),
]
