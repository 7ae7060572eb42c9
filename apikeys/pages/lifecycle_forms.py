"""Forms of a key's life: another name, and the typed phrase that ends all keys."""

from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apikeys.models import ApiKey
from apikeys.pages.forms import name_problem
from apikeys.policy import names


class RenameForm(forms.Form):
    """Another name for ``key``, unique among its owner's other live keys."""

    name = forms.CharField(label=gettext_lazy("Key name"), strip=False)

    def __init__(self, data: Any = None, *, key: ApiKey, **kwargs: Any) -> None:
        # Cut, because what was typed is shown again with an error, and a megabyte of pasted text is not sent back.
        typed = None if data is None else {"name": str(data.get("name", ""))[: names.MAX_LENGTH * 21]}
        super().__init__(typed, initial={"name": key.label, **kwargs.pop("initial", {})}, **kwargs)
        self.key = key

    def clean_name(self) -> str:
        try:
            name = names.clean(self.cleaned_data["name"])
        except names.InvalidName as error:
            raise ValidationError(name_problem(error.problem)) from None
        others = ApiKey.objects.live(self.key.owner).exclude(pk=self.key.pk)
        if others.filter(label_folded=names.fold(name)).exists():
            raise ValidationError(taken_text())
        return name


def taken_text() -> str:
    return _("You have a key of this name already. Choose another one.")


class DeleteAllForm(forms.Form):
    """The phrase of the page, typed; what people can't see (joiners, case, Arabic letters) may differ."""

    phrase = forms.CharField(label=gettext_lazy("Confirmation"), strip=False)

    def clean_phrase(self) -> str:
        try:
            typed = names.clean(self.cleaned_data["phrase"])
        except names.InvalidName:
            typed = ""
        if names.fold(typed) != names.fold(delete_all_phrase()):
            raise ValidationError(_("This is not the phrase. Nothing was deleted."))
        return typed


def delete_all_phrase() -> str:
    return _("delete all keys")
