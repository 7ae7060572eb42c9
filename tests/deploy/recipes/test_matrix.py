"""The matrix: each case of `cases` on each proxy of `tests.support.recipes`, all of them real."""

from collections.abc import Iterator

import pytest

from tests.deploy.recipes.cases import CASES, Case, Refused
from tests.support import recipes
from tests.support.gateways import GatewayProcess

pytestmark = [pytest.mark.verify, pytest.mark.postgres, pytest.mark.usefixtures("kept_db")]
BEARER = "hbgw_for-the-proxies-of-the-tests"
#: All requests of the tests come from one address. The rate of a key suffices for 300 requests on a connection.
RATES = {"PORTAL_GATEWAY_KEY_RATE": "600", "PORTAL_GATEWAY_ADDRESS_RATE": "1000000"}


@pytest.fixture(scope="module")
def gateway(kept_db: None) -> Iterator[GatewayProcess]:
    with GatewayProcess(BEARER, RATES, grpc=True) as process:
        yield process


@pytest.fixture(scope="module", params=recipes.RECIPES)
def running(
    request: pytest.FixtureRequest, gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[recipes.Front]:
    recipe = recipes.RECIPES[request.param]
    recipes.require(recipe)
    with recipes.front(recipe, gateway, tmp_path_factory.mktemp(recipe.name)) as front:
        yield front


@pytest.fixture
def front(running: recipes.Front) -> recipes.Front:
    """The proxy with its token in the database, from which a test may have taken it."""
    running.trust()
    return running


@pytest.mark.parametrize("case", [pytest.param(each, id=each.name) for each in CASES.values()])
def test_holds_on_every_proxy(front: recipes.Front, case: Case) -> None:
    if case.name in front.recipe.refuses:
        with pytest.raises(Refused):
            case.run(front)
    else:
        case.run(front)
