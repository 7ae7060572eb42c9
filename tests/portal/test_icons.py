"""Icons of pages: the tag draws one of the sprite's, and every name in the templates is one of them."""

import re

from django.template import Context, Template

from tests.support.production import ROOT

SPRITE = ROOT / "static/img/icons.svg"


def drawn() -> set[str]:
    return set(re.findall(r'id="([a-z-]+)"', SPRITE.read_text(encoding="utf-8")))


def test_every_icon_that_a_template_names_is_drawn() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "templates").rglob("*.html")]
    named = {name for text in texts for name in re.findall(r'\{% icon "([^"]*)"', text)}
    assert len(named) > 30
    assert named <= drawn()


def test_an_icon_is_decoration_with_the_sprites_hashed_address() -> None:
    markup = Template('{% icon "arrow" flip=True %}').render(Context())
    assert re.fullmatch(
        r'<svg class="icon flip" aria-hidden="true"><use href="/static/img/icons\.[0-9a-f]{12}\.svg#arrow"/></svg>',
        markup,
    )
