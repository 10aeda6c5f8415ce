"""Tags for plans that wait for approval."""

from dataclasses import dataclass

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from trading.actions.approvals import approval_state, decliner
from trading.models import RebalanceRun

register = template.Library()

CHIPS = {
    "waiting": ("Waiting for approval", "rb-warn"),
    "approved": ("Approved", "rb-blue"),
    "declined": ("Declined", "rb-bad"),
    "expired": ("Expired", "rb-warn"),
    "superseded": ("Superseded", ""),
}
"""Label and style of each state."""


@dataclass(frozen=True)
class Approval:
    """What became of a plan that waited for approval; an empty state for another plan."""

    state: str
    declined_by: str

    @property
    def waits(self) -> bool:
        """Whether it can still be approved or declined."""
        return self.state == "waiting"


@register.simple_tag
def approval_of(plan: RebalanceRun) -> Approval:
    """Return what became of the plan."""
    return Approval(approval_state(plan), decliner(plan))


@register.filter
def has_old_quotes(plan: RebalanceRun) -> bool:
    """Return whether the plan is made again, at current prices, when it is approved now."""
    return plan.plan_expires_at is not None and plan.plan_expires_at <= timezone.now()


@register.simple_tag
def approval_chip(state: str) -> SafeString:
    """Return the state of a plan that waits, or waited, for approval."""
    label, style = CHIPS[state]
    return format_html('<span class="{}">{}</span>', f"rb-chip {style}".strip(), label)
