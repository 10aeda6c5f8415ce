"""Accounts, strategies, replacement sets, policies and connection slots. Changes by users have a history."""

from accounts.models.account import FOLLOWED_STRATEGY, Account
from accounts.models.connection import BrokerConnection
from accounts.models.policy import RebalancePolicy
from accounts.models.replacements import ReplacementRule, ReplacementSet
from accounts.models.strategy import Strategy, TargetAllocation

__all__ = [
    "FOLLOWED_STRATEGY",
    "Account",
    "BrokerConnection",
    "RebalancePolicy",
    "ReplacementRule",
    "ReplacementSet",
    "Strategy",
    "TargetAllocation",
]
