"""An independent client (binance-connector, with pycryptodome) signs with each kind of credential, over HTTP."""

import json

import pytest
from binance.error import ClientError
from binance.spot import Spot

from tests.support.key_pairs import Private, new_ed25519, private_pem, public_pem, rsa_of
from tests.support.live_site import LiveSite

pytestmark = pytest.mark.browser  # with the other tests of a running portal
#: Runs in the portal: a key with a secret, and one for each public key (PEM); prints [key id, secret] of each.
MAKE = """
import json, uuid
from accounts.models import User
from apikeys.models import ApiKey
from apikeys.policy.public_keys import parse
from tests.support import people
sara = User.objects.get(phone={phone!r})
made = []
for number, pem in enumerate([None, *{pems!r}]):
    key = ApiKey.objects.create_with_secret(sara, f"bot {{number}}", uuid.uuid4(), parse(pem) if pem else None)
    made.append([key.key_id, people.secret_of(key) if pem is None else ""])
print(json.dumps(made))
"""


def test_hmac_ed25519_and_rsa_pass_and_another_key_of_the_kind_does_not(portal: LiveSite) -> None:
    pairs: list[Private] = [new_ed25519(), rsa_of(3072), rsa_of(4096)]
    others: list[Private] = [new_ed25519(), rsa_of(4096), rsa_of(3072)]
    code = MAKE.format(pems=[public_pem(pair) for pair in pairs], phone=portal.customer().phone)
    made = json.loads(portal.live.manage("shell", "--no-imports", "-c", code))
    (hmac_id, secret), *public = made
    calls = [(hmac_id, {"api_secret": secret}, {"api_secret": "x" * 64})]
    for (key_id, _none), pair, other in zip(public, pairs, others, strict=True):
        calls.append((key_id, {"private_key": private_pem(pair)}, {"private_key": private_pem(other)}))
    for key_id, right, wrong in calls:
        client = Spot(api_key=key_id, base_url=portal.url, **right)
        assert client.api_key_permissions()["enableReading"] is True
        client.session.close()
        client = Spot(api_key=key_id, base_url=portal.url, **wrong)
        with pytest.raises(ClientError) as error:
            client.api_key_permissions()
        assert (error.value.status_code, error.value.error_code) == (400, -1022)
        client.session.close()
