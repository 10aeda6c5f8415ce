from django.contrib import admin
from django.urls import include, path

from trading.api.api import api, unknown_path
from trading.pages.login import LoginForm

admin.site.login_form = LoginForm
admin.site.site_header = admin.site.site_title = "Rebalancer"
admin.site.index_title = "System"
admin.site.site_url = None  # no link "View site": the admin is part of the site

handler400 = "trading.pages.error_pages.bad_request"
handler403 = "trading.pages.error_pages.permission_denied"
handler404 = "trading.pages.error_pages.page_not_found"
handler500 = "trading.pages.error_pages.server_error"

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", api.urls),
    path("api/<path:path>", unknown_path),
    path("", include("trading.urls")),
]
