"""A device's folder: who it is and where its hub is (device.yaml), its certificate, key and authority, and order.pem.

device.yaml may have the address of a camera, with a password in it: no error here shows what a file holds.

That is the public key that orders are signed with; a folder without it follows none. In overrule/ are those of the
persons who may have speech sent all the same.
"""

from pathlib import Path
from typing import TypeVar

import pydantic
import yaml

from gunshot.base.files import atomic
from gunshot.device import topics
from gunshot.device.images import CLASS
from gunshot.device.policy import Policy

FILE = "device.yaml"
Kind = TypeVar("Kind", bound=pydantic.BaseModel)


def read(file: Path, kind: type[Kind], *, remedy: str) -> Kind:
    """Return what a YAML file says.

    Raises
    ------
    ValueError
        The file is none of this kind; or it is missing, and the error ends with `remedy`: how to make one.
    """
    try:
        return kind.model_validate(yaml.safe_load(file.read_text()))
    except FileNotFoundError:
        raise ValueError(f"{file}: no such file; {remedy}") from None
    except (pydantic.ValidationError, yaml.YAMLError) as e:
        names = ", ".join(name for name, field in kind.model_fields.items() if field.is_required())
        mark = getattr(e, "problem_mark", None)
        why = f"line {mark.line + 1}: {e.problem}" if mark else str(e)  # an error of YAML quotes the line
        raise ValueError(f"{file}: must hold {names}: {why}") from None


class Place(pydantic.BaseModel):
    """What device.yaml says."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    host: str  # of the broker
    port: int = pydantic.Field(ge=1, le=65535)
    name: str
    number: int = pydantic.Field(ge=0, le=topics.MOST_NUMBER)  # which its messages carry
    session: int = pydantic.Field(default=0, ge=0, le=topics.MOST_NUMBER)  # the last that the hub had of this name
    site: str | None = None  # where it hangs, where that was said when it was enrolled
    speech: Policy = Policy.forbidden  # a folder from before this was asked forbids it
    camera: str | None = pydantic.Field(default=None, pattern=r"^rtsps?://\S+$", repr=False)  # by hand; None: none
    board: str | None = pydantic.Field(default=None, pattern="^[ -~]{1,16}$")  # a bridge's: its class, by hand

    @pydantic.field_validator("board")
    @classmethod
    def _is_a_board_s(cls, board: str | None) -> str | None:
        if board == CLASS:
            raise ValueError(f"must be the class of a board, and {CLASS} is that of `gunshot device run`")
        return board

    def save(self, folder: Path) -> None:
        """Write device.yaml."""
        with atomic(folder / FILE) as part:
            part.write_text(yaml.safe_dump(self.model_dump(mode="json", exclude_defaults=True), sort_keys=False))

    @classmethod
    def load(cls, folder: Path) -> "Place":
        """Return what a folder's device.yaml says; ValueError where it is no device's folder."""
        place = read(folder / FILE, cls, remedy="`gunshot hub enrol` makes a device's folder")
        topics.check_name(place.name)
        return place
