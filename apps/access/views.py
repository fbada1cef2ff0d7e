"""Pages of the door: sign in, a new password for a generated one, the own account (password, signing out everywhere).

Who signs in with a password that must be changed is not signed in yet: the session only remembers, for a few minutes, whose
password was right, and the sign-in is completed with the new one. REST is not concerned (`POST /auth/token`).
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth import login, update_session_auth_hash
from django.contrib.auth import views as auth_views
from django.contrib.auth.decorators import login_required
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, SetPasswordForm
from django.core.exceptions import ValidationError
from django.core.signing import BadSignature, TimestampSigner
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy as lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from apps.access import audit, lockout, policy, signout
from apps.access.models import ApiToken, User

PENDING = "new_password_for"
PENDING_S = 600
"""Seconds one may take to choose a new password after the generated one was accepted."""
LONGEST_NAME = 150
BACKEND = "django.contrib.auth.backends.ModelBackend"


class SignInForm(AuthenticationForm):
    """Name and password; says how long a locked name has to wait."""

    locked_s = 0

    def clean_username(self) -> str:
        """Longer than any name there is: not worth a look."""
        name: str = self.cleaned_data["username"]
        if len(name) > LONGEST_NAME:
            raise self.get_invalid_login_error()
        return name

    def get_invalid_login_error(self) -> ValidationError:
        """The same words whether the name exists or not."""
        assert self.request is not None
        self.locked_s = lockout.locked_seconds(self.request, self.cleaned_data.get("username") or "")
        return ValidationError(lockout.sentence(self.locked_s)) if self.locked_s else super().get_invalid_login_error()


class SignIn(auth_views.LoginView):
    """The sign-in page. Django gives the session a new id with every sign-in."""

    authentication_form = SignInForm

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """With links to the other ways to sign in that are configured."""
        query = urlencode({"next": self.get_redirect_url()}) if self.get_redirect_url() else ""
        doors = [(label, f"{reverse(name, args=[which])}?{query}".rstrip("?")) for label, name, which in settings.SIGN_IN_DOORS]
        return super().get_context_data(**kwargs) | {"doors": doors}

    def form_valid(self, form: Any) -> HttpResponse:
        """Signed in, or on to the choice of a new password."""
        user = form.get_user()
        if user.must_change_password:
            lockout.forget(self.request, user.get_username())
            self.request.session.cycle_key()
            self.request.session[PENDING] = TimestampSigner().sign_object([user.pk, user.get_session_auth_hash(), self.get_redirect_url()])
            return redirect("new_password")
        audit.record("login", audit.Actor(user.get_username(), "ui"), object_type="user", object_id=user.get_username())
        return super().form_valid(form)

    def form_invalid(self, form: Any) -> HttpResponse:
        """429 while the name is locked, with the seconds to wait."""
        response = super().form_invalid(form)
        if form.locked_s:
            response.status_code = 429
            response.headers["Retry-After"] = str(form.locked_s)
        return response


def _pending(request: HttpRequest) -> tuple[User, str] | None:
    """Who still has to choose a password, and where they wanted to go."""
    try:
        pk, fingerprint, target = TimestampSigner().unsign_object(request.session[PENDING], max_age=PENDING_S)
    except (KeyError, BadSignature):
        return None
    user = User.objects.filter(pk=pk, is_active=True).first()
    return (user, target) if user is not None and user.get_session_auth_hash() == fingerprint else None


class NewPasswordForm(SetPasswordForm):
    """A password of one's own; the generated one will not do."""

    def clean_new_password1(self) -> str:
        """Not the same again."""
        password: str = self.cleaned_data["new_password1"]
        if self.user.check_password(password):
            raise ValidationError(_("This is the password you were given. Choose one that only you know."))
        return password


@never_cache
@sensitive_post_parameters()
def new_password(request: HttpRequest) -> HttpResponse:
    """After the sign-in with a generated password: choose an own one, and be signed in with that."""
    pending = _pending(request)
    if pending is None:
        return redirect(settings.LOGIN_URL or "login")
    user, target = pending
    form = NewPasswordForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            user.must_change_password = False
            form.save()
            name = user.get_username()
            audit.record("password_changed", audit.Actor(name, "ui"), object_type="user", object_id=name)
            audit.record("login", audit.Actor(name, "ui"), object_type="user", object_id=name)
        login(request, user, backend=BACKEND)
        request.session.pop(PENDING, None)
        safe = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
        return redirect(target if target and safe else resolve_url(settings.LOGIN_REDIRECT_URL))
    return render(request, "registration/new_password.html", {"form": form, "who": user})


class OwnPasswordForm(PasswordChangeForm):
    """The old password once, the new one twice."""

    field_order = ("old_password", "new_password1", "new_password2")
    old_password = forms.CharField(label=lazy("Password now"), strip=False)


@never_cache
@sensitive_post_parameters()
@login_required
def account(request: HttpRequest) -> HttpResponse:
    """One's own account: who one is, a new password, signing out everywhere. A new password ends all other sign-ins."""
    user: Any = request.user
    form = OwnPasswordForm(user, request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            user.must_change_password = False
            form.save()
            name = user.get_username()
            audit.record("password_changed", audit.Actor(name, "ui"), object_type="user", object_id=name)
        update_session_auth_hash(request, user)
        messages.success(request, _("Your password is changed. All other sign-ins and your tokens have ended."))
        return redirect("account")
    alive = ApiToken.objects.filter(user=user, revoked_at=None).count()
    roles = sorted(policy.groups_of(user)) or (["superuser"] if user.is_superuser else [])
    return render(request, "registration/account.html", {"form": form, "roles": roles, "tokens": alive})


@require_POST
@login_required
def sign_out_everywhere(request: HttpRequest) -> HttpResponse:
    """End every session and token of the person, this one too."""
    user: Any = request.user
    signout.everywhere(user, actor=audit.Actor(user.get_username(), "ui"), api_tokens="tokens" in request.POST)
    request.session.flush()
    return redirect(settings.LOGIN_URL or "login")
