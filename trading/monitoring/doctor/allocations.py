"""The allocations service, asked for the targets of every strategy that needs it."""

import asyncio

from django.conf import settings

from accounts.models import Strategy
from trading.errors import RunFailed
from trading.monitoring.doctor.findings import Finding, off, ok, problem
from trading.planning.allocations import AllocationsClient

CHECK = "allocations"
DEADLINE_SECONDS = 10.0


def check() -> list[Finding]:
    """One finding for each enabled strategy whose targets are published."""
    names = list(
        Strategy.objects.filter(enabled=True, source=Strategy.Source.API)
        .order_by("name")
        .values_list("name", flat=True)
    )
    if not names:
        return [off(CHECK, "No enabled strategy takes its targets from the allocations service.")]
    return asyncio.run(_ask_all(names))


async def _ask_all(names: list[str]) -> list[Finding]:
    key = settings.ALLOCATIONS_API_KEY.get_secret_value()
    client = AllocationsClient(settings.ALLOCATIONS_BASE_URL, key, DEADLINE_SECONDS)
    return list(await asyncio.gather(*(_ask(client, name) for name in names)))


async def _ask(client: AllocationsClient, name: str) -> Finding:
    try:
        targets = (await client.fetch(name)).items
    except RunFailed as failure:
        to_do = "Check ALLOCATIONS_BASE_URL and ALLOCATIONS_API_KEY, or disable the strategy if it is gone."
        return problem(CHECK, f"{name}: {failure.message}", to_do)
    return ok(CHECK, f"{name}: {len(targets)} targets, together {sum(item.weight for item in targets):.4f}.")
