"""The contract that is traded, among those that the broker has for a symbol."""

import pytest
from ib_async import Contract, ContractDetails

from brokers.ibkr.contract_choice import ContractRefused, choose_contract, other_spelling


def details(con_id: int, exchange: str, symbol: str = "KWEB", **fields: str) -> ContractDetails:
    """Return what the broker reports for one contract."""
    contract = {"secType": "STK", "currency": "USD", **fields}
    return ContractDetails(contract=Contract(conId=con_id, symbol=symbol, primaryExchange=exchange, **contract))


@pytest.mark.parametrize(
    ("found", "chosen", "traded"),
    [
        ([details(1, "ARCA")], "", 1),
        ([details(1, "LSEETF")], "", 1),
        ([details(1, "LSEETF"), details(2, "ARCA")], "", 2),
        ([details(1, "ARCA"), details(2, "LSEETF"), details(3, "EBS")], "", 1),
        ([details(1, "PINK"), details(2, "NASDAQ")], "", 2),
        ([details(1, "NYSE"), details(2, "LSEETF")], "2", 2),
        ([details(1, "NYSE"), details(2, "NASDAQ")], "2", 2),
        ([details(1, "ARCA"), details(1, "ARCA")], "", 1),
        ([details(1, "ARCA", currency="EUR"), details(2, "ARCA", secType="CFD"), details(3, "BATS")], "", 3),
    ],
)
def test_choose_contract_returns_choice_then_us_listing_then_only_contract(found, chosen, traded):
    assert choose_contract("KWEB", found, chosen).contract.conId == traded
    assert choose_contract("KWEB", found[::-1], chosen).contract.conId == traded


@pytest.mark.parametrize(
    ("symbol", "found", "chosen", "named"),
    [
        ("KWEB", [], "", []),
        ("KWEB", [details(1, "NYSE", currency="EUR")], "", []),
        ("KWEB", [details(11, "NYSE"), details(12, "NASDAQ"), details(13, "EBS")], "", ["11 on NYSE", "12 on NASDAQ"]),
        ("KWEB", [details(11, "LSEETF"), details(12, "EBS")], "", ["11 on LSEETF", "12 on EBS"]),
        ("KWEB", [details(11, ""), details(12, "PINK")], "", ["11 on an unknown exchange", "12 on PINK"]),
        ("KWEB", [details(11, "ARCA")], "99", ["99", "11 on ARCA"]),
        ("KWEB", [], "99", ["99"]),
        ("BRK B", [details(1, "NYSE", "BRK B")], "", ["BRK.B"]),
        ("spy", [details(1, "ARCA", "SPY")], "", ["SPY"]),
    ],
)
def test_choose_contract_without_exactly_one_is_refused_by_name(symbol, found, chosen, named):
    with pytest.raises(ContractRefused) as refused:
        choose_contract(symbol, found, chosen)
    assert all(name in refused.value.reason for name in named), refused.value.reason
    assert "13 on EBS" not in refused.value.reason


@pytest.mark.parametrize(
    ("symbol", "spelling"), [("BRK-B", "BRK.B"), ("BRK B", "BRK.B"), ("BRK/B", "BRK.B"), ("BRK.B", ""), ("SPY", "")]
)
def test_other_spelling_of_a_share_class_has_a_dot(symbol, spelling):
    assert other_spelling(symbol) == spelling
