"""Users and groups: Django's forms, with fields that a screen reader can name."""

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User

admin.site.unregister((User, Group))


@admin.register(User)
class SiteUserAdmin(UserAdmin[User]):
    """Admin of users. The boxes of `filter_horizontal` have no accessible names; the browser's own list has."""

    filter_horizontal = ()
    readonly_fields = ("last_login", "date_joined")


@admin.register(Group)
class SiteGroupAdmin(GroupAdmin):
    """Admin of groups."""

    filter_horizontal = ()
