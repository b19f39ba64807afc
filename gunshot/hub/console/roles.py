"""What persons may do at the console."""

from enum import StrEnum


class Role(StrEnum):
    """A viewer looks, a reviewer decides too, an admin may do all that there is."""

    viewer = "viewer"
    reviewer = "reviewer"
    admin = "admin"
