"""A tag for the tables of rows in admin forms."""

from django import template
from django.utils.html import format_html
from django.utils.safestring import mark_safe

register = template.Library()
UNNAMED = '<th class="original"></th>'


@register.simple_block_tag
def named_first_column(content: str, name: str) -> str:
    """Return a table of rows with a name for its first column, which screen readers announce."""
    named = format_html('<th class="original"><span class="rb-hidden">{}</span></th>', name)
    return mark_safe(content.replace(UNNAMED, named))  # noqa: S308 - the template between the tags has escaped it
