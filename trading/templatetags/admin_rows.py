"""A tag for the tables of rows in admin forms."""

from django import template
from django.utils.html import format_html
from django.utils.safestring import mark_safe

register = template.Library()
UNNAMED_FIRST, UNUSED_LAST = '<th class="original"></th>', "<th></th>"


@register.simple_block_tag
def named_columns(content: str, first: str) -> str:
    """Return a table of rows with a name for its first column, and without the empty heading of a last one.

    Screen readers announce the headings; Django's table has empty ones.
    """
    named = format_html('<th class="original"><span class="rb-hidden">{}</span></th>', first)
    table = content.replace(UNNAMED_FIRST, named).replace(UNUSED_LAST, "")
    return mark_safe(table)  # noqa: S308 - the template between the tags has escaped it
