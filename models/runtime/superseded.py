"""Superseded: networks that earlier versions shipped and later ones replaced under the same name.

A run records the SHA-256 of each network that it used. If that is not one of the shipped files,
this table says which version contains it: `git show COMMIT:models/NAME.onnx` (and `.json`, its
card). Replacing a shipped network needs a new line here; a test compares the table with the
history of the repository.
"""

from __future__ import annotations

from typing import NamedTuple


class Superseded(NamedTuple):
    """A network that is not shipped any more."""

    name: str  # of models/NAME.onnx
    version: str  # of livespt
    commit: str  # the first that contains it

    def __str__(self) -> str:
        return f"livespt {self.version} at commit {self.commit}"


# SHA-256 of the file -> where it is; ordered by name and age
SUPERSEDED = {
    "e1999120b201dd8ca77285afd2af15de1dcee3e5eeb80dae7381514bb78eb95e": Superseded(
        "crowd", "0.1.0", "78c6341"
    ),
    "8ba0fef19aa91a22ef76a89dd26984b04a07ca252837f0aca9f9754e30ab80f5": Superseded(
        "crowd", "0.1.0", "16a7928"
    ),
    "ce201a7f6def1fe6d8482c046221a7b35f0c6416cef1881e0f064f5ea10568af": Superseded(
        "fast", "0.1.0", "51a4a60"
    ),
    "1a5df4c184f0a66dcae42e8b546e510a9e7c26dadd5cf6758125dfd09d73cf9a": Superseded(
        "fast", "0.1.0", "22fc447"
    ),
    "9fdcca795c03219cffab6160a5b4f6205ec614c40bfcfe5920e30134d48a2947": Superseded(
        "hologram", "0.1.0", "843de59"
    ),
    "0d141c6e4b4e0d86f9baebeaeef05a7a6315db63004de7ba5e2b7da2edd73607": Superseded(
        "segmenter", "0.1.0", "f927452"
    ),
    "ed3f34e6a7f7a7eff929b0c42925a39d85857b0562b6ef132781abfd095e0c8c": Superseded(
        "segmenter", "0.1.0", "2018ad1"
    ),
    "8a030d043dc7c87badf1dc4d6465dbfbaa1a6b28f89bf0985dad98a6d4692048": Superseded(
        "spots", "0.1.0", "66a9695"
    ),
    "d87ca2c53815c7298b73006b5260a2ec370f5c5b2fb6539dfe56cb92d67e7870": Superseded(
        "uncoating", "0.1.0", "f927452"
    ),
    "75aa77532c8745e278cf9ee768e26947f35abc40bf1e93968a9f91dd2deea82f": Superseded(
        "uncoating", "0.1.0", "010f2a9"
    ),
    "c1c7bc5dd2cf0dedf49f970a52f5b9f849cdd4bbf4f88ab575fc12db499ca7ec": Superseded(
        "uncoating", "0.1.0", "5890d14"
    ),
    "eddecaeefae050a7ee31f6f35a0bed223b3face972d7fb640d34169518529d52": Superseded(
        "uncoating", "0.1.0", "9fd82aa"
    ),
}
