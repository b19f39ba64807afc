"""A device's folder: who it is and where its hub is (device.yaml), its certificate, key and authority, and order.pem.

That is the public key that orders are signed with; a folder without it follows none.
"""

from pathlib import Path

import pydantic
import yaml

from gunshot.base.files import atomic
from gunshot.device import topics

FILE = "device.yaml"


class Place(pydantic.BaseModel):
    """What device.yaml says."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    host: str  # of the broker
    port: int = pydantic.Field(ge=1, le=65535)
    name: str
    number: int = pydantic.Field(ge=0, le=topics.MOST_NUMBER)  # which its messages carry

    def save(self, folder: Path) -> None:
        """Write device.yaml."""
        with atomic(folder / FILE) as part:
            part.write_text(yaml.safe_dump(self.model_dump(), sort_keys=False))

    @classmethod
    def load(cls, folder: Path) -> "Place":
        """Return what a folder's device.yaml says; ValueError where it is no device's folder."""
        file = folder / FILE
        try:
            place = cls.model_validate(yaml.safe_load(file.read_text()))
        except FileNotFoundError:
            raise ValueError(f"{file}: no such file; `gunshot hub enrol` makes a device's folder") from None
        except (pydantic.ValidationError, yaml.YAMLError) as e:
            raise ValueError(f"{file}: must hold host, port, name and number: {e}") from None
        topics.check_name(place.name)
        return place
