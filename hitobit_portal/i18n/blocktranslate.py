"""The template library ``i18n`` of Django, whose tag ``blocktranslate`` isolates the values of a sentence, and whose
``translate`` is quick.

It has Django's name, so that ``{% load i18n %}`` in any template loads it: no template can put a bare value into a
sentence. In an attribute or a title, where there is no markup, templates pass values through the filter ``isolated``.
"""

from typing import Any

from django import template
from django.template.base import FilterExpression, Parser, Token, TokenType
from django.template.context import Context
from django.templatetags import i18n
from django.utils.html import conditional_escape
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language

from hitobit_portal.i18n import bidi

register = template.Library()
register.tags.update(i18n.register.tags)
register.filters.update(i18n.register.filters)


class IsolatedExpression(FilterExpression):
    """A value of a sentence: as markup in HTML, as characters where the template does not escape (plain text)."""

    def __init__(self, expression: FilterExpression, parser: Parser) -> None:
        super().__init__(expression.token, parser)

    def resolve(self, context: Context, ignore_failures: bool = False) -> Any:
        value = super().resolve(context, ignore_failures)
        if not context.autoescape:
            return bidi.isolated(value)
        if isinstance(value, bidi.Isolated):
            return mark_safe(conditional_escape(value))  # nosec B308 B703
        return bidi.isolated_html(value)


class ConstantText(template.Node):
    """A translated text without variables, which is looked up once in each language. A page has a hundred of them."""

    def __init__(self, node: i18n.TranslateNode) -> None:
        self._name, node.asvar = node.asvar, None
        self._node = node
        self._texts: dict[str | None, str] = {}

    def render(self, context: Context) -> str:
        language = get_language()
        text = self._texts.get(language)
        if text is None:  # a text of a template is safe: nothing of the context changes it
            text = self._texts[language] = self._node.render(context)
        if self._name is None:
            return text
        context[self._name] = text
        return ""


@register.tag("translate")
@register.tag("trans")
def do_translate(parser: Parser, token: Token) -> template.Node:
    node = i18n.do_translate(parser, token)
    given = (node.filter_expression, node.message_context)
    is_constant = all(one is None or _is_literal(one) for one in given)
    return ConstantText(node) if is_constant else node


def _is_literal(expression: FilterExpression) -> bool:
    return not expression.filters and expression.token[:1] in ("'", '"')


@register.tag("blocktranslate")
@register.tag("blocktrans")
def do_block_translate(parser: Parser, token: Token) -> i18n.BlockTranslateNode:
    node = i18n.do_block_translate(parser, token)
    names = {
        one.contents for one in (*node.singular, *(node.plural or ())) if one.token_type == TokenType.VAR
    }
    if node.countervar in names:
        raise template.TemplateSyntaxError(
            f"{node.countervar} only chooses the plural: pass the number that is shown by another name."
        )
    for name in names:
        expression = node.extra_context.get(name) or parser.compile_filter(name)
        node.extra_context[name] = IsolatedExpression(expression, parser)
    return node


@register.filter
def bdi(value: object) -> SafeString:
    """A name or value beside a translated sentence, with its own text direction."""
    return bidi.isolated_html(value)


@register.filter
def isolated(value: object) -> str:
    """A name or value inside a title or an attribute, with its own text direction."""
    return bidi.isolated(value)


@register.filter
def line(text: str) -> str:
    """A line of plain text in the direction of its language."""
    return bidi.line(text)
