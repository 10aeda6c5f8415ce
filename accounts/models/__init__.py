"""What people configure, with the history of its changes."""

from accounts.models.account import Account
from accounts.models.connection import BrokerConnection
from accounts.models.policy import RebalancePolicy
from accounts.models.replacements import ReplacementRule, ReplacementSet
from accounts.models.strategy import Strategy, TargetAllocation

__all__ = [
    "Account",
    "BrokerConnection",
    "RebalancePolicy",
    "ReplacementRule",
    "ReplacementSet",
    "Strategy",
    "TargetAllocation",
]
