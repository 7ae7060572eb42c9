"""Users: identity, preferences, and the state that applies to all of their keys and sessions."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Upper
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from accounts.choices import external_ids, roles
from hitobit_portal.i18n.fields import is_served, parse_phone


class UserManager(BaseUserManager["User"]):
    """Creates users by phone number, in any spelling."""

    def create_user(self, phone: str, password: str | None = None, **fields: Any) -> User:
        """Create a user. Raise `ValueError` if ``phone`` is no phone number, or one to which no SMS is sent."""
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
        # The caller knows the password, also with `manage.py createsuperuser`.
        fields.setdefault("must_replace_password", True)
        return self.create_user(phone, password, is_staff=True, is_superuser=True, **fields)

    def get_by_natural_key(self, username: str | None) -> User:
        return self.get(phone=parse_phone(username or "") or "")


class User(AbstractBaseUser, PermissionsMixin):
    """A customer or a member of staff, identified by phone (E.164)."""

    phone = models.CharField(_("mobile number"), max_length=16, unique=True)
    #: The exchange's own id of the customer, which answers to gateways carry. Immutable once it is set: a trigger
    #: (migration 0012) holds it for writes that bypass `save`.
    external_id = models.CharField(
        _("exchange ID"),
        max_length=external_ids.MAX_LENGTH,
        unique=True,
        null=True,
        blank=True,
        editable=False,
    )
    name = models.CharField(_("name"), max_length=80, blank=True)
    is_active = models.BooleanField(_("active"), default=True)
    is_staff = models.BooleanField(_("staff"), default=False)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)
    #: When the phone was confirmed. Without it the row is a pending account: it only holds the counters and codes of
    #: a number that somebody entered into sign-up or "forgotten password".
    joined_at = models.DateTimeField(_("joined"), default=timezone.now, null=True, editable=False)
    email = models.EmailField(_("e-mail"), blank=True, help_text=_("Confirmed; used only for notices."))
    #: Part of the session hash: incrementing it ends every session and half-finished login of the user.
    session_epoch = models.PositiveIntegerField(default=0, editable=False)
    #: Part of the cookie of known browsers: incrementing it makes all of them unknown
    #: (`accounts.access.known_browsers`).
    browser_epoch = models.PositiveIntegerField(default=0, db_default=0, editable=False)
    frozen_at = models.DateTimeField(_("frozen"), null=True, blank=True, editable=False)
    quarantined_until = models.DateTimeField(_("quarantined until"), null=True, blank=True, editable=False)
    #: Somebody else set the password (`manage.py create_staff`): until the owner replaces it, a login reaches only
    #: the page for that.
    must_replace_password = models.BooleanField(default=False, db_default=False, editable=False)
    language = models.CharField(_("language"), max_length=2, blank=True)
    theme = models.CharField(_("theme"), max_length=5, blank=True)
    digits = models.CharField(_("digits"), max_length=7, blank=True)
    #: Event values of the optional notices that the user wants (`accounts.notifications.policy.OPTIONAL`).
    optional_notices = models.JSONField(default=list, blank=True)

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "phone"
    REQUIRED_FIELDS: ClassVar[list[str]] = []

    class Meta:
        verbose_name = _("customer")
        verbose_name_plural = _("customers")
        permissions = [*roles.CUSTOM]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(external_id=None) | models.Q(external_id__regex=external_ids.PATTERN),
                name="external_id_is_well_formed",
            )
        ]
        indexes = [
            # Partial indexes for staff searches: few rows have these values.
            models.Index(Upper("email"), condition=~models.Q(email=""), name="users_by_email"),
            models.Index(
                fields=["frozen_at"], condition=models.Q(frozen_at__isnull=False), name="frozen_users"
            ),
            models.Index(
                fields=["quarantined_until"],
                condition=models.Q(quarantined_until__isnull=False),
                name="quarantined_users",
            ),
            models.Index(fields=["id"], condition=models.Q(is_active=False), name="closed_users"),
        ]

    def __str__(self) -> str:
        return self.name or self.phone

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save the user. Raise `ValidationError` if the external id would change.

        SECURITY: whoever could move an id to another account would trade and withdraw as its customer.
        """
        self.external_id = self.external_id or None
        names = kwargs.get("update_fields")
        if not self._state.adding and (names is None or "external_id" in names):
            stored = User.objects.filter(pk=self.pk).values_list("external_id", flat=True).first()
            if stored is not None and stored != self.external_id:
                raise ValidationError(_("The exchange ID of an account cannot change."))
        super().save(*args, **kwargs)

    def is_verified(self) -> bool:
        """Return whether a second factor was proved in this session. The middleware of django-otp replaces this
        method.
        """
        return False

    def _get_session_auth_hash(self, secret: str | bytes | None = None) -> str:
        """Return Django's hash, which changes with the password, and also with `session_epoch`."""
        value = f"{self.session_epoch}:{self.password}"
        return salted_hmac("accounts.session", value, secret=secret, algorithm="sha256").hexdigest()

    @property
    def in_quarantine(self) -> bool:
        """Whether the keys are read-only, because the password or a factor was replaced within the last 24 hours."""
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
        """Whether the SMS factor is confirmed for the account's current number."""
        sms = getattr(self, "sms", None)
        return bool(sms and sms.confirmed and sms.number == self.phone)
