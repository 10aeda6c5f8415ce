"""A short version of `make soak`."""

import os

import pytest

from tests.faults.soak import POINTS_OF_A_RUN, soak, text
from trading.common.fail_points import FailPoint


@pytest.mark.timeout(300)
def test_soak_leaves_broker_records_and_journal_in_agreement(new_rig):
    clusters = 2 if os.environ.get("TEST_DATABASE") == "postgres" else 1
    result = soak(new_rig(), seed=20261125, events=16, accounts=10, clusters=clusters, kill_every=3)
    assert result["differences"] == {}, text(result)
    assert result["counts"]["events"] == 16
    assert result["counts"]["fills"] > 10, text(result)
    assert set(result["codes"]) == {-9}, "workers end only when they are killed"


def test_soak_uses_existing_fail_points():
    assert set(POINTS_OF_A_RUN) < set(FailPoint)
