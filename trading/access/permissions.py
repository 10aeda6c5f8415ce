from django.contrib.auth.models import User

from trading.errors import Refused


def check_permissions(user: User, *permissions: str, action: str) -> None:
    """Check that the user has all of the permissions.

    Raises:
        Refused: the user lacks one; the message names it and the action.
    """
    for permission in permissions:
        if not user.has_perm(permission):
            message = f"You do not have permission to {action} ({permission}). Contact an administrator."
            raise Refused("not_permitted", message)
