"""Settings of the measured installation, with a configurable number of worker processes."""

import os

from rebalancer_site.settings import *  # noqa: F403
from rebalancer_site.settings import Q_CLUSTER

Q_CLUSTER["workers"] = int(os.environ.get("BENCH_WORKER_PROCESSES", "4"))  # noqa: TID251 - used by this benchmark only
