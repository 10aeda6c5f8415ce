"""Choice among the contracts that the broker has for a symbol. Pure functions."""

from collections.abc import Iterable, Sequence

from ib_async import Contract, ContractDetails

from brokers.ibkr import mapping

US_EXCHANGES = frozenset(
    {
        *("NYSE", "NASDAQ", "ISLAND", "ARCA", "AMEX", "BATS", "IEX", "NYSENAT", "CHX", "BEX", "PSX", "BYX", "EDGEA"),
        *("DRCTEDGE", "MEMX", "PEARL", "LTSE", "TXSE"),
    }
)
"""Primary exchanges of US listings, in the broker's spelling. Quotes over the counter (PINK) are no listings."""


class ContractRefused(Exception):  # noqa: N818 - an answer about one symbol, not a failure
    """The symbol has no contract to trade.

    Attributes:
        reason: part of a sentence for users.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def choose_contract(symbol: str, details: Sequence[ContractDetails], chosen_id: str) -> ContractDetails:
    """Return the contract that orders for a symbol trade.

    The user's choice comes first, then the only listing at a US exchange, then the only contract.

    Args:
        symbol: Symbol of a target or position, as in `mapping.our_symbol`.
        details: Everything that the broker found for the symbol.
        chosen_id: Contract id that a user has chosen; empty if none.

    Raises:
        ContractRefused: There is none, or more than one.
    """
    stocks = {one.contract.conId: one for one in details if one.contract and mapping.is_us_stock(one.contract)}
    spelled = {con_id: one for con_id, one in stocks.items() if _symbol_of(one) == symbol}
    if stocks and not spelled:
        raise ContractRefused(f"the symbol is written {', '.join(sorted(set(map(_symbol_of, stocks.values()))))} here")
    if chosen_id:
        chosen = [one for con_id, one in spelled.items() if str(con_id) == chosen_id]
        if not chosen:
            raise ContractRefused(
                f"the chosen contract {chosen_id} is not among its contracts ({_listed(spelled.values())}); correct it "
                "in the admin under contract choices"
            )
        return chosen[0]
    if not spelled:
        raise ContractRefused("the broker has no contract of a US stock or ETF with this symbol")
    listed = [one for one in spelled.values() if _contract_of(one).primaryExchange in US_EXCHANGES]
    candidates = listed or list(spelled.values())
    if len(candidates) > 1:
        raise ContractRefused(
            f"{len(candidates)} contracts have this symbol ({_listed(candidates)}); choose one in the admin under "
            "contract choices"
        )
    return candidates[0]


def other_spelling(symbol: str) -> str:
    """Return a symbol with a share class as it is written here, BRK.B for BRK-B; empty if it has no other spelling."""
    spelling = symbol.replace("-", ".").replace("/", ".").replace(" ", ".")
    return spelling if spelling != symbol else ""


def _listed(details: Iterable[ContractDetails]) -> str:
    contracts = sorted((_contract_of(one) for one in details), key=lambda contract: contract.conId)
    names = (f"{contract.conId} on {contract.primaryExchange or 'an unknown exchange'}" for contract in contracts)
    return ", ".join(names) or "none"


def _symbol_of(details: ContractDetails) -> str:
    return mapping.our_symbol(_contract_of(details))


def _contract_of(details: ContractDetails) -> Contract:
    return details.contract or Contract()
