"""Contract choices in the admin."""

from django import forms
from django.contrib import admin

from brokers.registry import broker_choices
from trading.models import ContractChoice


class ContractChoiceForm(forms.ModelForm):  # type: ignore[type-arg]
    """Form of a contract choice. The broker is one of the registered brokers."""

    broker = forms.ChoiceField(choices=broker_choices, initial="ibkr")

    class Meta:
        model = ContractChoice
        fields = ("broker", "symbol", "contract_id")


@admin.register(ContractChoice)
class ContractChoiceAdmin(admin.ModelAdmin[ContractChoice]):
    """Contracts that users have chosen for ambiguous symbols."""

    form = ContractChoiceForm
    list_display = ("symbol", "broker", "contract_id")
    list_filter = ("broker",)
    search_fields = ("symbol", "contract_id")
