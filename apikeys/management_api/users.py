"""Users: create, list, get, freeze, close."""

from __future__ import annotations

from django.contrib.auth.hashers import make_password
from django.db import IntegrityError, transaction

from accounts import audit
from accounts.access import sessions
from accounts.actions import freeze, pending_accounts
from accounts.choices.events import Event
from accounts.choices.external_ids import is_external_id
from accounts.models import User
from accounts.transfer import RowRefused, check_row
from apikeys.management_api.documents import customers, user_document
from apikeys.management_api.endpoints import Answer, Call, check_match
from apikeys.management_api.problems import ApiProblem, invalid, not_found
from apikeys.management_api.reasons import reason_of
from apikeys.management_api.rows import after_number, find, page_of

NEW_FIELDS = ("external_id", "phone", "name", "email", "language")


def list_users(call: Call) -> Answer:
    people = customers().filter(pk__gt=after_number(call))
    external_id = call.query.get("external_id")
    if external_id is not None:
        if not is_external_id(external_id):
            raise invalid("external_id", "1 to 64 characters out of A-Z a-z 0-9 . _ : @ -")
        people = people.filter(external_id=external_id)
    return page_of(call, people, user_document)


def get_user(call: Call, user_id: int) -> Answer:
    return 200, user_document(find(customers(), user_id))


def create_user(call: Call) -> Answer:
    """Create an account that nobody can log in to by password, and without a factor.

    SECURITY: a stolen token could otherwise give a customer's identity to its holder: no password, no factor, no link
    to the phone comes with the account.
    """
    for name in ("external_id", "phone"):
        if name not in call.body:
            raise invalid(name, "required")
    try:
        row = check_row(0, dict(call.body))
    except RowRefused as refusal:
        raise invalid("body", refusal.problem.sentence) from None
    if User.objects.filter(external_id=row.external_id).exists():
        raise ApiProblem(409, "exists", "There is a user with this external_id.")
    try:
        with transaction.atomic():
            pending_accounts.delete_for_number(row.phone)
            user = User.objects.create(
                external_id=row.external_id,
                phone=row.phone,
                name=row.name,
                email=row.email,
                language=row.language,
                password=make_password(None),
            )
    except IntegrityError:
        raise ApiProblem(409, "exists", "There is a user with this phone or external_id.") from None
    audit.record(Event.USER_CREATED, None, customer=user, via="api", token=call.token.name)
    return 201, user_document(customers().get(pk=user.pk))


def freeze_user(call: Call, user_id: int) -> Answer:
    reason = reason_of(call)
    user = _locked(call, user_id)
    freeze.freeze(None, user, via="api", reason=reason, token=call.token.name)
    return 200, user_document(find(customers(), user_id))


def close_user(call: Call, user_id: int) -> Answer:
    reason = reason_of(call)
    user = _locked(call, user_id)
    if User.objects.filter(pk=user.pk, is_active=True).update(is_active=False):
        sessions.end_all(user)
        audit.record(
            Event.ACCOUNT_CLOSED, None, customer=user, via="api", token=call.token.name, reason=reason
        )
    return 200, user_document(find(customers(), user_id))


def _locked(call: Call, user_id: int) -> User:
    """Return the user, locked until the transaction ends, as ``If-Match`` says."""
    if not customers().select_related(None).select_for_update().filter(pk=user_id).exists():
        raise not_found()
    user = find(customers(), user_id)
    check_match(call, user_document(user))
    return user
