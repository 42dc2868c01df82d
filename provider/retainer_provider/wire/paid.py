"""What the gated app is told of a request that it serves: in the ASGI scope, out of clients' reach."""

from typing import Final

from retainer_provider.tariffs import COUNT_UNITS, ONE_UNIT, Tariff

SCOPE_KEY: Final = "retainer"


class PaidRequest:
    """A request that is paid for, once its answer keeps the SLA: which session pays, and what it was opened for."""

    __slots__ = ("_units", "offer_id", "session_id", "tariff")

    def __init__(self, session_id: str, offer_id: str, tariff: Tariff = ONE_UNIT) -> None:
        self.session_id = session_id
        self.offer_id = offer_id
        self.tariff = tariff
        self._units: int | None = None

    @property
    def charged(self) -> int | None:
        """The units that the app has charged so far; None while it has charged nothing."""
        return self._units

    def charge(self, units: int) -> None:
        """Add whole units to what this request costs; in a stream, before the events that they are for.

        Beyond the route's maximum nothing is charged, and a stream ends. RuntimeError where the price is not the app's
        to say, ValueError for less than nothing.
        """
        if self.tariff.count != COUNT_UNITS:
            raise RuntimeError("this route does not cost what its app charges: give it `max_units`, and no `count`")
        if units < 0:
            raise ValueError(f"{units} units cannot be charged: nothing is given back")
        self._units = (self._units or 0) + units
