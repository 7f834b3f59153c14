"""What a service that speaks S3's protocol is believed to do, and what it is sent: the setting `compat`.

AWS compares a CRC32C with the bytes it stored and refuses a write whose If-None-Match or If-Match does not hold. Others came to
that late (MinIO, Ceph, R2), in part, or not at all; some ignore such headers without a word, and some refuse the request.

- `aws`: conditions and CRC32C are sent, and the answer is proof: no other request is needed for an object. For AWS, and for
  services that are known to do the same.
- `basic`: neither is sent. The destination is looked at before each write and after it.
- `auto`: `aws` at AWS. Anywhere else both are sent, and what the service does with them is asked with its first writes
  (`s3_questions`) and remembered (`abilities`). Until it is known to keep conditions the destination is looked at before each
  write all the same, and after it unless the answer repeats the CRC32C; that of an object put in parts is not believed.

A service that is not known to compare a CRC32C is sent Content-MD5 as well, which every S3 compares; it costs an MD5 of every
byte.
Without conditions two writers of one object may both write: the workers' claims make that rare, and the last one wins, whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from common.storage.abilities import Ability

if TYPE_CHECKING:
    from collections.abc import Mapping

    from common.config import StoreOptions


@dataclass(frozen=True, slots=True)
class Dialect:
    """`extended`: conditions on writes and CRC32C are sent. `believed`: and what the service says to them is relied on."""

    extended: bool
    believed: bool

    @property
    def given(self) -> Mapping[Ability, bool]:
        """What is not asked of the service."""
        if self.believed:
            return dict.fromkeys(Ability, True)
        return {} if self.extended else dict.fromkeys(set(Ability) - {Ability.START_ANYWHERE}, False)


AWS = Dialect(extended=True, believed=True)
UNCERTAIN = Dialect(extended=True, believed=False)
BASIC = Dialect(extended=False, believed=False)


def dialect(options: StoreOptions, *, at_aws: bool) -> Dialect:
    if options.compat == "auto":
        return AWS if at_aws else UNCERTAIN
    return AWS if options.compat == "aws" else BASIC
