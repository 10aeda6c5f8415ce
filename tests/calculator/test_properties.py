"""What holds for every account."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from calculator import AccountState, CalculationRefused, Commission, Position, Quote, TradeCalculator
from calculator.holdings import make_holdings
from calculator.reason_codes import REFUSALS
from calculator.selection import select
from calculator.trade_sizes import obligatory_state, size_trades
from calculator.validation import quotes_by_symbol, weights_by_symbol
from tests.calculator.makers import account, charged, config, drawn_account, executed, quote, targets

CENT = Decimal("0.01")
SYMBOLS = ["AA", "BB", "CC", "DD", "EE", "FF"]
cents = st.integers(500, 70_000).map(lambda n: Decimal(n) / 100)


@st.composite
def accounts(draw):
    symbols = draw(st.lists(st.sampled_from(SYMBOLS), min_size=1, max_size=6, unique=True))
    marks = {symbol: draw(cents) for symbol in symbols}
    quotes = [Quote(symbol=s, bid=marks[s] - Decimal("0.01"), ask=marks[s] + Decimal("0.01")) for s in symbols]
    rows = tuple(
        Position(symbol=s, quantity=Decimal(draw(st.integers(0, 300))), market_price=marks[s])
        for s in symbols
        if draw(st.booleans())
    )
    cash = Decimal(draw(st.integers(0, 20_000_000))) / 100
    total = cash + sum((row.quantity * row.market_price for row in rows), Decimal(0))
    wanted = draw(st.lists(st.sampled_from(symbols), min_size=1, unique=True))
    parts = [draw(st.integers(1, 100)) for _ in wanted]
    whole = sum(parts) + draw(st.integers(0, 20))
    weights = {s: f"{Decimal(part) / whole:.6f}" for s, part in zip(wanted, parts, strict=True)}
    policy = config(
        cash_reserve_percent=Decimal(draw(st.sampled_from([0, 2, 10]))),
        band_percent=Decimal(draw(st.sampled_from(["0", "0.5", "3"]))),
        buy_slippage_percent=Decimal(draw(st.sampled_from(["0", "0.5", "1"]))),
        commission=draw(st.sampled_from([Commission(), Commission(kind="per_share")])),
        minimum_improvement_bps=Decimal(draw(st.sampled_from([0, 10]))),
        one_share=draw(st.booleans()),
    )
    return AccountState(total_value_usd=total, cash_usd=cash, positions=rows), targets(**weights), quotes, policy


def planned(case):
    state, wanted, quotes, policy = case
    try:
        return TradeCalculator(policy).plan(state, wanted, quotes)
    except CalculationRefused as refusal:
        assert refusal.code in {"total_value_not_positive", "reserve_exceeds_value"}
        return None


def worst_cash(state, plan):
    cash = state.cash_usd
    for line in (*plan.sells, *plan.buys):
        price = line.quote_usd if line.quantity < 0 else line.price
        cash -= line.quantity * price + charged(plan.commission, abs(line.quantity), price)
    return cash


@given(accounts())
@settings(max_examples=200)
def test_a_plan_is_feasible_keeps_the_floor_and_never_sells_short(case):
    result = planned(case)
    if result is None:
        return
    held = {row.symbol: row.quantity for row in case[0].positions}
    symbols = [trade.symbol for trade in result.trades]
    assert len(symbols) == len(set(symbols))
    assert all(-trade.quantity <= held.get(trade.symbol, 0) for trade in result.trades)
    assert all(trade.price > 0 for trade in result.trades)
    if result.plan.buys:
        assert worst_cash(case[0], result.plan) >= result.plan.floor_usd
    # What is not checked when it is made would have passed.
    told = result.model_dump()
    assert type(result).model_validate(told).model_dump() == told


@given(accounts())
@settings(max_examples=200)
def test_plan_is_never_worse_than_only_what_is_obligatory(case):
    check_not_worse(case)


@given(st.integers(0, 10**9), st.sampled_from([1, 3, 19, 40, 160]))
def test_plan_of_any_number_of_symbols_is_never_worse_than_only_what_is_obligatory(seed, size):
    check_not_worse(drawn_account(seed, size))


def check_not_worse(case):
    """Liquidations and first shares are obligatory; without any, the account is compared with itself before the plan."""
    result = planned(case)
    if result is None:
        return
    state, wanted, quotes, policy = case
    weights, by_symbol = weights_by_symbol(wanted), quotes_by_symbol(quotes)
    holdings = make_holdings(state, weights, by_symbol, policy)
    selection = select(holdings)
    sized = size_trades(holdings, selection)
    least = obligatory_state(sized.objective, selection)
    assert sized.objective.is_feasible(least)
    assert sized.objective.total_error(sized.state) <= sized.objective.total_error(least)
    if not selection.liquidate and not selection.first_shares.chosen:
        assert result.expected.l1_error <= result.before.l1_error
    # No buy ends further above its target than the policy allows.
    half_share = 0 if policy.one_share else Decimal("0.5")
    allowed = result.plan.total_value_usd * policy.one_share_max_overshoot_percent / 100 if policy.one_share else 0
    for buy in result.plan.buys:
        over = (buy.held + buy.quantity) * buy.mark_usd - buy.target_value_usd
        assert over <= allowed + half_share * buy.mark_usd + CENT


@given(accounts())
def test_at_quoted_fills_all_planned_buys_fit_and_leave_the_expected_cash(case):
    result = planned(case)
    if result is None:
        return
    cash = case[0].cash_usd
    for line in result.plan.sells:
        cash -= line.quantity * line.quote_usd + charged(result.plan.commission, -line.quantity, line.quote_usd)
    fitted = TradeCalculator.fit_buys(result.plan, cash)
    assert [(t.symbol, t.quantity) for t in fitted] == [(b.symbol, b.quantity) for b in result.plan.buys]
    for buy in result.plan.buys:
        cash -= buy.quantity * buy.quote_usd + charged(result.plan.commission, buy.quantity, buy.quote_usd)
    assert result.expected.cash == cash.quantize(CENT)


@given(accounts(), st.integers(0, 100))
def test_fitted_buys_are_a_part_of_the_plan_and_can_be_paid(case, percent):
    result = planned(case)
    if result is None:
        return
    cash = case[0].cash_usd * percent / 100
    planned_shares = {buy.symbol: buy.quantity for buy in result.plan.buys}
    fitted = TradeCalculator.fit_buys(result.plan, cash)
    assert all(0 < trade.quantity <= planned_shares[trade.symbol] for trade in fitted)
    spent = sum(
        (t.quantity * t.price + charged(result.plan.commission, t.quantity, t.price) for t in fitted), Decimal(0)
    )
    assert not fitted or spent <= cash - result.plan.floor_usd


@given(accounts(), st.randoms(use_true_random=False))
def test_the_order_of_rows_does_not_matter(case, random):
    result = planned(case)
    if result is None:
        return
    state, wanted, quotes, policy = case
    shuffled = [list(state.positions), list(wanted), list(quotes)]
    for rows in shuffled:
        random.shuffle(rows)
    mixed = AccountState(total_value_usd=state.total_value_usd, cash_usd=state.cash_usd, positions=tuple(shuffled[0]))
    assert TradeCalculator(policy).plan(mixed, shuffled[1], shuffled[2]).plan.plan_hash == result.plan.plan_hash


@given(accounts())
def test_repeated_runs_at_unchanged_prices_stop_trading(case):
    state, wanted, quotes, policy = case
    for _ in range(8):
        try:
            result = TradeCalculator(policy).plan(state, wanted, quotes)
        except CalculationRefused:
            return
        if not result.trades:
            return
        state = executed(state, result, quotes)
    raise AssertionError("it continues to trade at unchanged prices")


@given(
    st.lists(st.integers(2000, 40000), min_size=6, max_size=6), st.lists(st.integers(0, 63), min_size=30, max_size=30)
)
@settings(max_examples=10)
def test_prices_that_walk_by_a_third_of_a_percent_do_not_make_it_flip_flop(cents, steps):
    """A step is six bits: which of the prices rise, while the others fall."""
    marks = {symbol: Decimal(price) / 100 for symbol, price in zip(SYMBOLS, cents, strict=True)}
    policy = config(
        cash_reserve_percent="2",
        band_percent="0.5",
        buy_slippage_percent="0.5",
        commission=Commission(kind="per_share"),
        minimum_improvement_bps="10",
    )
    state, wanted = account("100000"), targets(**dict.fromkeys(SYMBOLS, "0.1666"))
    turned, last = 0, {}
    for step in steps:
        quotes = [quote(symbol, mark - CENT, mark + CENT) for symbol, mark in marks.items()]
        result = TradeCalculator(policy).plan(state, wanted, quotes)
        state = executed(state, result, quotes)
        for trade in result.trades:
            turned += last.get(trade.symbol, trade.quantity) * trade.quantity < 0
            last[trade.symbol] = trade.quantity
        rises = [step >> bit & 1 for bit in range(len(SYMBOLS))]
        marks = {
            symbol: (mark * (1003 if up else 997) / 1000).quantize(CENT)
            for (symbol, mark), up in zip(marks.items(), rises, strict=True)
        }
        state = executed(state, None, [quote(symbol, mark) for symbol, mark in marks.items()])
    assert turned <= 2 * len(SYMBOLS), "over thirty steps a symbol turns twice at most, on the average"


ODD = st.sampled_from(["0", "1", "-1", "0.5", "0.0000001", "100", "1e-9", "123456789.123456789", "999999999999999"])


@given(st.lists(ODD, min_size=12, max_size=12), st.sampled_from(["sell", "keep", "ignore"]), st.booleans())
@settings(max_examples=200)
def test_whatever_comes_in_there_is_a_plan_or_a_refusal_by_name(numbers, unmanaged, keeps_shorts):
    total, cash, held, price, other, bid, ask, weight, rest, reserve, band, offset = (Decimal(n) for n in numbers)
    state = AccountState(
        total_value_usd=total,
        cash_usd=cash,
        positions=(
            Position(symbol="AA", quantity=held, market_price=price),
            Position(symbol="BB", quantity=other, market_price=price),
        ),
    )
    policy = config(
        cash_reserve_percent=reserve,
        band_percent=band,
        buy_slippage_percent=offset,
        sell_slippage_percent=offset,
        unmanaged=unmanaged,
        shorts="keep" if keeps_shorts else "refuse",
        max_data_mismatch_percent=Decimal(10) ** 15,
        max_frozen_percent=Decimal(10) ** 15,
    )
    quotes = [Quote(symbol="AA", bid=bid, ask=ask), Quote(symbol="BB", bid=Decimal("NaN"), ask=ask)]
    try:
        result = TradeCalculator(policy).plan(state, targets(AA=weight, CC=rest), quotes)
    except CalculationRefused as refusal:
        assert refusal.code in REFUSALS
        return
    assert all(trade.symbol == "AA" and trade.quantity >= -held and trade.price > 0 for trade in result.trades)
    explained = {trade.symbol for trade in result.trades} | {item.symbol for item in result.not_traded}
    assert explained >= {"AA", "CC"}
