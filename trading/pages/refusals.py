from django.contrib import messages
from django.http import HttpRequest

from trading.access.audit import note_refusal
from trading.errors import TradingError


def show_refusal(request: HttpRequest, refusal: TradingError) -> None:
    """Show why an action was refused; record it if a permission or a code was missing."""
    messages.error(request, refusal.message)
    note_refusal(refusal.code, request.path)
