"""Read settings from the environment as they are declared, and report all errors at once. Pure.

Each variable may also be given as ``NAME_FILE``, a path to a file with the value (secrets of Docker and systemd). White
space around a file's content is removed. Errors name the variable and never repeat its value.
"""

import enum
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar, cast

from django.core.exceptions import ImproperlyConfigured
from environs import EnvError, FileAwareEnv, ValidationError

T = TypeVar("T")

#: Its methods (``environment.int``, ``environment.list``, ...) are the readers of `Setting.read`.
environment = FileAwareEnv(strip_whitespace=True)


class Marker(enum.Enum):
    REQUIRED = "no default: the start fails if the variable is not set or empty"
    SAME = "the demo has the same default"


REQUIRED: Final = Marker.REQUIRED
SAME: Final = Marker.SAME


class Process(enum.Enum):
    """Whose behavior a setting changes: `run_portal` with the commands, `run_gateway`, or both."""

    PORTAL = "portal"
    GATEWAY = "gateway"
    BOTH = "both"


class Section(enum.Enum):
    """Sections of the table of settings, in its order."""

    PORTAL = "The portal"
    OIDC = "Login with the exchange's account (OpenID Connect)"
    STORAGE = "Database, cache, processes"
    SMS = "Text messages"
    EMAIL = "E-mail"
    GATEWAY = "The authorization API"
    LOGS = "Logs and the audit trail"
    SECURITY_TXT = "Reports of vulnerabilities (`/.well-known/security.txt`)"


class _HasError(Exception):
    """A default depends on a setting that was not read because it has an error of its own."""


@dataclass(frozen=True, eq=False)
class Setting(Generic[T]):
    """Declaration of one environment variable. ``str()`` of it is the variable's name.

    ``read``: a reader of `environment`, or a function made a reader by `parser`.
    ``default``, ``demo``: the value if the variable is not set, in production and in the demo: what the reader takes
    (text for a parser), or a function of the settings that were read before.
    ``validate``: validators of `environs.validate`, or functions that raise `environs.ValidationError`.
    ``check``: for rules that need another setting: returns what is wrong as a sentence, or "".
    ``help``, ``default_help``: Markdown for the table in docs/operating.md. The latter describes a computed default.
    ``secret``: the value is or may contain a secret; operators should use ``NAME_FILE``.
    """

    name: str
    read: Callable[..., T]
    default: Any
    section: Section
    used_by: Process
    help: str
    demo: Any = SAME
    validate: Any = None
    check: "Callable[[T, Values], str] | None" = None
    secret: bool = False
    default_help: str = ""

    def __str__(self) -> str:
        return self.name


class Values:
    """The values of all settings: ``values[declarations.PORT]``."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        #: Names of the settings that were read from here; a test compares them with the declarations.
        self.used: set[str] = set()

    def __getitem__(self, setting: Setting[T]) -> T:
        if setting.name not in self._values:
            raise _HasError(setting.name)
        self.used.add(setting.name)
        return cast(T, self._values[setting.name])

    def _add(self, setting: Setting[T], value: T) -> None:
        self._values[setting.name] = value


def parser(function: Callable[[str], T]) -> Callable[..., T]:
    """Make ``function`` (text to value, raises `environs.ValidationError`) a reader of `environment`."""
    environment.add_parser(function.__name__, function)
    return cast(Callable[..., T], getattr(environment, function.__name__))


def load(settings: Iterable[Setting[Any]], demo: Setting[bool]) -> Values:
    """Read all settings, in order; a default may use what was declared before it. ``demo`` chooses the defaults.

    Raises `ImproperlyConfigured`, which lists every variable with an error.
    """
    values = Values()
    errors: dict[str, str] = {}
    names = set()
    for setting in settings:
        names.add(setting.name)
        try:
            values._add(setting, _read(setting, values, demo))
        except _HasError:
            continue  # the other setting's error is reported
        except EnvError as error:
            messages = getattr(error, "error_messages", None)
            errors[setting.name] = " ".join(map(str, messages)) if messages else str(error)
        except ValidationError as error:
            errors[setting.name] = " ".join(map(str, error.messages))
        except ValueError as error:
            # SECURITY: the message of another parser may repeat the value, and the value may be a password.
            from_file = f"{setting.name}_FILE" in os.environ
            errors[setting.name] = (
                str(error) if from_file else f"It is not understood ({type(error).__name__})."
            )
    if errors:
        errors |= dict.fromkeys(unknown_names(names), "It is not a setting of the portal.")
        lines = [f"{name}: {message}" for name, message in errors.items()]
        raise ImproperlyConfigured(
            lines[0] if len(lines) == 1 else "\n  ".join([f"{len(lines)} settings are not valid.", *lines])
        )
    values.used.clear()
    return values


def _read(setting: Setting[T], values: Values, demo: Setting[bool]) -> T:
    name = setting.name
    if name in os.environ and f"{name}_FILE" in os.environ:
        raise ValidationError(f"{name} and {name}_FILE are both set; keep one of them.")
    default = setting.default
    if name not in os.environ and not os.environ.get(f"{name}_FILE"):
        if setting.demo is not SAME and values[demo]:
            default = setting.demo
        if callable(default):
            default = default(values)
    if setting.default is REQUIRED:
        default = "" if default is REQUIRED else default
        if not environment.str(name, default=default):
            # An error of PORTAL_DEMO itself makes this one pointless: `values` raises.
            raise ValidationError(
                "It is not set." if values[demo] else f"It is not set; it is required unless {demo}=true."
            )
    value = setting.read(
        name, default=default, **({"validate": setting.validate} if setting.validate else {})
    )
    if setting.check and (problem := setting.check(value, values)):
        raise ValidationError(problem)
    return value


def unknown_names(names: Iterable[str]) -> list[str]:
    """``PORTAL_*`` variables that are not among ``names``, sorted. ``PORTAL_TEST_*`` belongs to the tests.

    A typing error in a name would otherwise be an insecure default.
    """
    given = {name.removesuffix("_FILE") for name in os.environ if name.startswith("PORTAL_")}
    return sorted(name for name in given - set(names) if not name.startswith("PORTAL_TEST"))
