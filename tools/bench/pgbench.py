"""pgbench on a server of one's own: the one-statement debit that PostgreSQL's own load generator can do beside us."""

import re
import subprocess
from pathlib import Path
from typing import Final

import psycopg

from tools.bench.bare import SESSIONS
from tools.bench.books import DEPOSIT, PRICE

CLIENTS: Final = 32
SECONDS: Final = 4
_THREADS: Final = 2
_SCRIPT: Final = r"""\set id random(1, :sessions)
UPDATE bare SET spent = spent + :price WHERE id = :id AND spent + :price <= deposit;
"""
_RATE: Final = re.compile(r"^tps = ([\d.]+)", re.MULTILINE)


def prepare(url: str) -> None:
    """Make the table that is debited."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE bare (id integer PRIMARY KEY, spent bigint NOT NULL, deposit bigint NOT NULL)")
        connection.execute("INSERT INTO bare SELECT i, 0, %s FROM generate_series(1, %s) i", (DEPOSIT, SESSIONS))


def debits_per_second(url: str, folder: Path) -> float:
    """Guarded debits of 32 clients for four seconds, each one statement and one synced transaction."""
    script = folder / "debit.sql"
    script.write_text(_SCRIPT, encoding="ascii")
    done = subprocess.run(
        [
            "pgbench",
            "--no-vacuum",
            "--protocol=prepared",
            f"--client={CLIENTS}",
            f"--jobs={_THREADS}",
            f"--time={SECONDS}",
            f"--define=sessions={SESSIONS}",
            f"--define=price={PRICE}",
            f"--file={script}",
            url,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    rate = _RATE.search(done.stdout)
    if done.returncode or rate is None:
        raise RuntimeError(f"pgbench did not run: {done.stderr[-500:]}{done.stdout[-500:]}")
    return float(rate[1])
