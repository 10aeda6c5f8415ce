"""The URLs of the pages."""

from django.urls import path

from trading.monitoring.healthz import healthz
from trading.monitoring.metrics import metrics
from trading.pages import (
    account_page,
    approvals_page,
    csp,
    dashboard,
    downloads,
    event_list,
    manual_resolution_page,
    notification_page,
    queue_page,
    replacement_pages,
    run_list,
    run_page,
    schedule_page,
    sessions_page,
    strategy_pages,
    two_factor_page,
)

app_name = "trading"
urlpatterns = [
    path("", dashboard.dashboard, name="dashboard"),
    path("accounts/<str:account_id>/", account_page.account, name="account"),
    path("accounts/<str:account_id>/preview/", run_page.preview, name="preview"),
    path("accounts/<str:account_id>/schedule/", schedule_page.add, name="schedule_add"),
    path("accounts/<str:account_id>/unschedule/", schedule_page.remove, name="schedule_remove"),
    path("strategies/", strategy_pages.strategies, name="strategies"),
    path("strategies/<str:name>/", strategy_pages.strategy, name="strategy"),
    path("strategies/<str:name>/fetch/", strategy_pages.fetch, name="fetch_targets"),
    path("replacement-sets/", replacement_pages.replacement_sets, name="replacement_sets"),
    path("replacement-sets/<str:name>/", replacement_pages.replacement_set, name="replacement_set"),
    path("runs/", run_list.runs, name="runs"),
    path("runs/<str:run_id>/", run_page.run, name="run"),
    path("runs/<str:run_id>/now/", run_page.run_fragment, name="run_fragment"),
    path("approvals/", approvals_page.approvals, name="approvals"),
    path("runs/<str:run_id>/decline/", approvals_page.decline, name="decline"),
    path("runs/<str:run_id>/execute/", run_page.execute, name="execute"),
    path("runs/<str:run_id>/stop/", run_page.stop, name="stop"),
    path("runs/<str:run_id>/stop-and-cancel/", run_page.stop_and_cancel, name="stop_and_cancel"),
    path("runs/<str:run_id>/close/", manual_resolution_page.close, name="close"),
    path("runs/<str:run_id>/orders/<int:sequence>/resolve/", manual_resolution_page.resolve, name="resolve_order"),
    path("runs/<str:run_id>/trades.csv", downloads.run_csv, name="trades_csv"),
    path("runs/<str:run_id>/run.json", downloads.run_json, name="run_json"),
    path("events/", event_list.events, name="events"),
    path("schedule/", schedule_page.schedule, name="schedule"),
    path("notifications/", notification_page.notifications, name="notifications"),
    path("notifications/test/", notification_page.send_test_message, name="test_notification"),
    path("queue/", queue_page.queue, name="queue"),
    path("codes/", two_factor_page.page, name="two_factor"),
    path("codes/enter/", two_factor_page.enter, name="enter_code"),
    path("codes/enrol/", two_factor_page.enrol, name="two_factor_enrol"),
    path("codes/remove/", two_factor_page.remove, name="two_factor_remove"),
    path("sessions/", sessions_page.sessions, name="sessions"),
    path("sessions/end/", sessions_page.end, name="end_sessions"),
    path("csp-report/", csp.report, name="csp_report"),
    path("metrics", metrics, name="metrics"),
    path("healthz", healthz, name="healthz"),
]
