"""People: who they are, and what stands over all of their keys and sessions."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models
from django.db.models.functions import Upper
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from accounts.choices import roles
from hitobit_portal.i18n.fields import is_served, parse_phone


class UserManager(BaseUserManager["User"]):
    """Creates people by phone number, in any spelling."""

    def create_user(self, phone: str, password: str | None = None, **fields: Any) -> User:
        """Raises `ValueError` when ``phone`` is no phone number, or one to which no SMS is sent."""
        number = parse_phone(phone)
        if number is None:
            raise ValueError("phone is not a phone number")
        if not is_served(number):
            raise ValueError("no SMS is sent to this phone number")
        user = self.model(phone=number, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, phone: str, password: str | None = None, **fields: Any) -> User:
        # Whoever calls this for somebody, `manage.py createsuperuser` too, knows the password.
        fields.setdefault("must_replace_password", True)
        return self.create_user(phone, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(phone=parse_phone(username or "") or "")


class User(AbstractBaseUser, PermissionsMixin):
    """A customer or a member of staff, identified by phone (E.164)."""

    phone = models.CharField(_("mobile number"), max_length=16, unique=True)
    name = models.CharField(_("name"), max_length=80, blank=True)
    is_active = models.BooleanField(_("active"), default=True)
    is_staff = models.BooleanField(_("staff"), default=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    #: When the phone proved to be theirs. Without it the row is no account: it only holds the counters and codes of a
    #: number that somebody typed into sign-up or "forgotten password".
    joined_at = models.DateTimeField(_("joined"), default=timezone.now, null=True, editable=False)
    email = models.EmailField(_("e-mail"), blank=True, help_text=_("Confirmed; for notices only."))
    #: Part of the session hash: one higher, and every session and half-finished login of the person is over.
    session_epoch = models.PositiveIntegerField(default=0, editable=False)
    #: Part of the cookie of a known browser (`accounts.access.known_browsers`): one higher, and no browser is known.
    browser_epoch = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    frozen_at = models.DateTimeField(_("frozen"), null=True, blank=True, editable=False)
    quarantined_until = models.DateTimeField(_("quarantined until"), null=True, blank=True, editable=False)
    #: The password was set by somebody else (`manage.py create_staff`): until its owner has replaced it, a login
    #: reaches the page for that and no other.
    must_replace_password = models.BooleanField(default=False, db_default=False, editable=False)
    language = models.CharField(_("language"), max_length=2, blank=True)
    theme = models.CharField(_("theme"), max_length=5, blank=True)
    digits = models.CharField(_("digits"), max_length=7, blank=True)
    #: Names of `accounts.actions.preferences.Optional` notices that the person wants beyond the mandatory ones.
    optional_notices = models.JSONField(default=list, blank=True)

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "phone"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = _("customer")
        verbose_name_plural = _("customers")
        permissions = [*roles.CUSTOM]
        indexes = [
            # Of what is rare: staff look for it, and most rows are not in it.
            models.Index(Upper("email"), condition=~models.Q(email=""), name="users_by_email"),
            models.Index(
                fields=["frozen_at"], condition=models.Q(frozen_at__isnull=False), name="frozen_users"
            ),
            models.Index(
                fields=["quarantined_until"],
                condition=models.Q(quarantined_until__isnull=False),
                name="quarantined_users",
            ),
        ]

    def __str__(self) -> str:
        return self.name or self.phone

    def is_verified(self) -> bool:
        """Whether a second factor was proved in this session; django-otp's middleware answers in place of this."""
        return False

    def _get_session_auth_hash(self, secret: str | bytes | None = None) -> str:
        """Django's, which changes with the password, and with `session_epoch` as well."""
        value = f"{self.session_epoch}:{self.password}"
        return salted_hmac("accounts.session", value, secret=secret, algorithm="sha256").hexdigest()

    @property
    def in_quarantine(self) -> bool:
        """Whether the keys only read, since the password or a factor was replaced a short while ago."""
        return self.quarantined_until is not None and self.quarantined_until > timezone.now()

    @property
    def has_both_factors(self) -> bool:
        """Whether both mandatory factors are confirmed."""
        return self.has_authenticator and self.has_phone

    @property
    def has_authenticator(self) -> bool:
        totp = getattr(self, "totp", None)
        return bool(totp and totp.confirmed)

    @property
    def has_phone(self) -> bool:
        """Whether the SMS factor is confirmed, and for the number that the account has now."""
        sms = getattr(self, "sms", None)
        return bool(sms and sms.confirmed and sms.number == self.phone)
