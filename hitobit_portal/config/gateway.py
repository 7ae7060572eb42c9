"""Settings of the machine door. Each has the reason for its default beside it."""

from django.core.exceptions import ImproperlyConfigured
from environs import validate

from hitobit_portal.config.env import environment as env
from hitobit_portal.config.env import read


def _one_of(name: str, choices: tuple[str, ...], default: str) -> str:
    value = read(name, env.str, default=default)
    if value not in choices:
        raise ImproperlyConfigured(f"{name} is not one of {', '.join(choices)}.")
    return value


#: On a port of its own: the customers' pages and the machine door have no visitor in common. 0: none in the demo.
GATEWAY_PORT = read("PORTAL_GATEWAY_PORT", env.int, default=8001, validate=validate.Range(0, 65_535))
#: For how long a process believes its memory without word from the database. Whoever makes a change waits as long:
#: shorter is quicker for people, longer outlasts a busier machine.
GATEWAY_LEASE_MS = read("PORTAL_GATEWAY_LEASE_MS", env.int, default=200, validate=validate.Range(60, 5_000))
#: Seconds for which known keys are answered while the database is gone. 0: a revocation can never be missed.
GATEWAY_GRACE = read("PORTAL_GATEWAY_GRACE", env.int, default=0, validate=validate.Range(0, 3_600))
#: Keys in the memory of a process, at most 2 KB each.
GATEWAY_CACHE = read("PORTAL_GATEWAY_CACHE", env.int, default=100_000, validate=validate.Range(2, 10_000_000))
GATEWAY_LIMITS = _one_of("PORTAL_GATEWAY_LIMITS", ("off", "process", "valkey"), "process")
#: Requests a minute, as Binance's; of one key, and of one address.
GATEWAY_KEY_RATE = read("PORTAL_GATEWAY_KEY_RATE", env.int, default=1_200, validate=validate.Range(1, 10**9))
GATEWAY_ADDRESS_RATE = read(
    "PORTAL_GATEWAY_ADDRESS_RATE", env.int, default=1_200, validate=validate.Range(1, 10**9)
)
REPLAY_GUARD = _one_of("PORTAL_REPLAY_GUARD", ("off", "process", "valkey"), "off")
#: Threads that ask the database for keys that are not in memory.
GATEWAY_LOADERS = 4
