"""Conditions that must hold before a run sends orders.

A new guard is one function and one row of `trading.error_codes.GUARDS`, which states what happens when it fails. The
function is in `may_trade.py` with `@trade_check` if it must hold for every single order, in `account.py` with
`@account_guard` if it reads only the database and must hold before the first, or in `plan.py` with `@plan_guard` if it
needs the plan. Guards are checked and displayed in the order of these functions.
"""
