"""Usage logs that have left the books for an archive, in SQL that both stores speak."""

from typing import Final

_ENDED: Final = "state = 'refunded' AND closed_at > 0 AND closed_at < {closed_before}"
_LOGGED: Final = "EXISTS (SELECT 1 FROM usage WHERE usage.session = session.number)"


def old_logs(closed_before: str, limit: str) -> str:
    """Ids of sessions that ended before then and whose log is still here; the arguments are placeholders."""
    ended = _ENDED.format(closed_before=closed_before)
    return f"SELECT session_id FROM session WHERE {ended} AND {_LOGGED} ORDER BY closed_at, number LIMIT {limit}"


def forget_log(session_id: str, usage_root: str) -> str:
    """Delete the log of an ended session whose head is this; the arguments are placeholders."""
    return (
        "DELETE FROM usage WHERE session = (SELECT number FROM session "
        f"WHERE session_id = {session_id} AND state = 'refunded' AND usage_root = {usage_root})"
    )
