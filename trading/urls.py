"""The addresses of the product's pages."""

from django.urls import path

from trading.health import healthz
from trading.pages import codes, csp, schedule_actions, views

app_name = "trading"
urlpatterns = [
    path("", views.dashboard, name="dashboard"),
    path("accounts/<str:account_id>/", views.account, name="account"),
    path("accounts/<str:account_id>/preview/", views.preview, name="preview"),
    path("accounts/<str:account_id>/schedule/", schedule_actions.add, name="schedule_add"),
    path("accounts/<str:account_id>/unschedule/", schedule_actions.remove, name="schedule_remove"),
    path("runs/", views.runs, name="runs"),
    path("runs/<str:run_id>/", views.run, name="run"),
    path("runs/<str:run_id>/now/", views.run_fragment, name="run_fragment"),
    path("runs/<str:run_id>/execute/", views.execute, name="execute"),
    path("runs/<str:run_id>/stop/", views.stop, name="stop"),
    path("runs/<str:run_id>/trades.csv", views.trades_csv, name="trades_csv"),
    path("events/", views.events, name="events"),
    path("codes/", codes.page, name="codes"),
    path("codes/enrol/", codes.enrol, name="codes_enrol"),
    path("codes/remove/", codes.remove, name="codes_remove"),
    path("csp-report/", csp.report, name="csp_report"),
    path("healthz", healthz, name="healthz"),
]
