"""What a device's folder says of speech."""

from enum import StrEnum


class Policy(StrEnum):
    """Whether sound in which people speak may leave a device."""

    forbidden = "forbidden"
    allowed = "allowed"
