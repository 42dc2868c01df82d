"""An agent to be killed: asks one question after another over a session that it keeps in a file, and notes each answer.

    python -m tools.evidence.agent URL KEYPAIR RPC_URL FOLDER [--until N] [--forget]

What is noted in FOLDER/answers.jsonl was delivered. Whoever is started again goes on with the first question that is
not noted there, under that question's own Idempotency-Key.
"""

import argparse
import asyncio
import json
import os
from pathlib import Path

from retainer import SessionClient, SpendingCaps, create_channel_store, create_sqlite_channel_store, load_keypair

DEPOSIT = "4.0"


def noted(folder: Path) -> dict[str, str]:
    """Answers by key; a line that a kill cut short was not delivered."""
    answers = {}
    path = folder / "answers.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        answers[entry["key"]] = entry["answer"]
    return answers


async def ask(arguments: argparse.Namespace) -> None:
    """Ask for ever, or until so many answers are noted; then close the session and print what that came to."""
    folder = Path(arguments.folder)
    store = create_channel_store() if arguments.forget else create_sqlite_channel_store(folder / "sessions.sqlite")
    answers = noted(folder)
    caps = SpendingCaps(per_session=DEPOSIT)
    agent = load_keypair(arguments.keypair)
    async with SessionClient(agent, rpc_url=arguments.rpc_url, caps=caps, deposit=DEPOSIT, store=store) as client:
        print("asking", flush=True)
        with (folder / "answers.jsonl").open("a") as notes:
            notes.write("\n")  # whatever a kill left of a line ends here
            number = 0
            while arguments.until is None or number < arguments.until:
                key = f"question-{number}"
                number += 1
                if key in answers:
                    continue
                answer = await client.request("GET", arguments.url, idempotency_key=key)
                answer.raise_for_status()
                notes.write(json.dumps({"key": key, "answer": answer.text}) + "\n")
                notes.flush()
                os.fsync(notes.fileno())
        sessions = await client.sessions()
        closed = [await client.close_session(session.session_id) for session in sessions]
        print(json.dumps({"sessions": len(sessions), "settled": sum(one.settled for one in closed)}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("keypair")
    parser.add_argument("rpc_url")
    parser.add_argument("folder")
    parser.add_argument("--until", type=int)
    parser.add_argument("--forget", action="store_true", help="keep sessions in memory only")
    asyncio.run(ask(parser.parse_args()))
