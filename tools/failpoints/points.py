"""The list of failpoints: every step of a session at which the world outside the process changes, in order."""

from enum import StrEnum


class Point(StrEnum):
    """A moment in the life of a service. `before` a step, `after` it, or `within` it."""

    REQUEST_ARRIVED = "request arrived"
    ADMIT_BEFORE = "ledger.admit before"
    ADMIT_AFTER = "ledger.admit after"
    SEND_OPEN_BEFORE = "chain.send open before"
    SEND_OPEN_AFTER = "chain.send open after"
    ACTIVATE_BEFORE = "ledger.activate before"
    ACTIVATE_AFTER = "ledger.activate after"
    RESERVE_BEFORE = "ledger.reserve before"
    RESERVE_AFTER = "ledger.reserve after"
    SERVE_BEFORE = "upstream.call before"
    SERVE_AFTER = "upstream.call after"
    DELIVER_BEFORE = "ledger.deliver before"
    DELIVER_AFTER = "ledger.deliver after"
    COMMIT_BEFORE = "ledger.commit before"
    COMMIT_WITHIN = "ledger.commit within"
    COMMIT_AFTER = "ledger.commit after"
    ANSWER_BEFORE = "answer before"
    ANSWER_WITHIN = "answer within"
    ANSWER_AFTER = "answer after"
    SEND_TOP_UP_BEFORE = "chain.send top_up before"
    SEND_TOP_UP_AFTER = "chain.send top_up after"
    DEPOSIT_BEFORE = "ledger.update_deposit before"
    DEPOSIT_AFTER = "ledger.update_deposit after"
    BEGIN_CLOSE_BEFORE = "ledger.begin_close before"
    BEGIN_CLOSE_AFTER = "ledger.begin_close after"
    PLAN_BEFORE = "ledger.plan_settlement before"
    PLAN_AFTER = "ledger.plan_settlement after"
    STORE_SIGNED_BEFORE = "ledger.store_signed before"
    STORE_SIGNED_AFTER = "ledger.store_signed after"
    SEND_CLOSE_BEFORE = "chain.send close before"
    SEND_CLOSE_AFTER = "chain.send close after"
    RECORD_BEFORE = "ledger.record_settled before"
    RECORD_AFTER = "ledger.record_settled after"
    DISK_SYNC_BEFORE = "disk.sync before"
    DISK_SYNC_AFTER = "disk.sync after"
    DISK_IO_ERROR = "disk.sync fails"
    DISK_FULL = "disk.write full"
    SEND_WITHDRAW_BEFORE = "chain.send withdraw before"
    SEND_WITHDRAW_AFTER = "chain.send withdraw after"
    ACCOUNT_GONE_BEFORE = "ledger.account_gone before"
    ACCOUNT_GONE_AFTER = "ledger.account_gone after"

    EXPECT_BEFORE = "ledger.expect_transfer before"
    EXPECT_AFTER = "ledger.expect_transfer after"
    SEND_TRANSFER_BEFORE = "chain.send transfer before"
    SEND_TRANSFER_AFTER = "chain.send transfer after"
    CREDIT_BEFORE = "ledger.credit_transfer before"
    CREDIT_AFTER = "ledger.credit_transfer after"

    @property
    def on_disk(self) -> bool:
        """Whether it lies in SQLite's own file system; PostgreSQL's is another process."""
        return self.startswith("disk.")

    @property
    def reclaims(self) -> bool:
        """Whether it comes only once a settled session's slot window is over."""
        return self in (
            Point.SEND_WITHDRAW_BEFORE,
            Point.SEND_WITHDRAW_AFTER,
            Point.ACCOUNT_GONE_BEFORE,
            Point.ACCOUNT_GONE_AFTER,
        )


POINTS = {str(point): point for point in Point}
"""By what the doubles say when they get somewhere; what is not in it is no failpoint."""
