"""The settings of an installation that is measured: as many worker processes as a measurement asks for."""

import os

from rebalancer_site.settings import *  # noqa: F403
from rebalancer_site.settings import Q_CLUSTER

Q_CLUSTER["workers"] = int(os.environ.get("BENCH_WORKER_PROCESSES", "4"))  # noqa: TID251 - of this benchmark only
