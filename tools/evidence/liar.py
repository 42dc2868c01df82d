"""A provider that lies from the first moment on: `retainer-provider serve` with one lie built in.

    python -m tools.evidence.liar latency|receipt --config FILE

Its receipts, its log and its settlement agree with each other. `latency`: nothing ever took longer than 20 ms.
`receipt`: every fifth answer of a session comes with the receipt of the fourth.
"""

import sys

import msgspec
from solders.keypair import Keypair
from starlette.types import Scope

from retainer.protocol.usage import UsageEntry
from retainer_provider.books.records import SessionRecord
from retainer_provider.cli import main
from retainer_provider.sessions import metering
from retainer_provider.wire.upstream import Upstream, UpstreamResult
from retainer_provider.wire.views import request_receipt

_ALWAYS_MS = 20
_REUSED, _LACKING = 4, 5


def lie_about_latency() -> None:
    """Measure every call as quick."""
    honest = Upstream.call

    async def call(self: Upstream, scope: Scope, body: bytes, *, stream: bool = False) -> UpstreamResult:
        result = await honest(self, scope, body, stream=stream)
        return msgspec.structs.replace(result, latency_ms=min(result.latency_ms, _ALWAYS_MS))

    Upstream.call = call  # type: ignore[method-assign]


def reuse_a_receipt() -> None:
    """Hand out the fourth receipt of a session again with its fifth answer."""
    honest, fourth = request_receipt, dict[str, str]()

    def receipt(record: SessionRecord, entry: UsageEntry, usage_hash: bytes, operator: Keypair, now: int) -> str:
        signed = honest(record, entry, usage_hash, operator, now)
        if entry.sequence == _REUSED:
            fourth[record.session_id] = signed
        return fourth[record.session_id] if entry.sequence == _LACKING else signed

    setattr(metering, "request_receipt", receipt)  # noqa: B010  a name that it does not export


LIES = {"latency": lie_about_latency, "receipt": reuse_a_receipt}

if __name__ == "__main__":
    LIES[sys.argv[1]]()
    main(["serve", *sys.argv[2:]])
