"""A provider's audit as one HTML file that asks nobody for anything: tables, and plots as inline SVG."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from string import Template
from typing import Final

from retainer.audit.tally import DAY, SHARES, Tally
from retainer.protocol.amounts import format_amount

_WIDTH: Final = 720
_HEIGHT: Final = 160
_BASE: Final = 20  # room for words under the bars
_MOST_BARS: Final = 120
_PAGE: Final = Template("""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>$title</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; margin: 1rem 0 } td, th { border: 1px solid #ccc; padding: .25rem .6rem }
th { text-align: left; background: #f3f3f3 } code { word-break: break-all }
.wrong { color: #b00020 } .fine { color: #1b6e2f } rect { fill: #3b6ea5 } text { font-size: 11px; fill: #555 }
</style>
<h1>$title</h1>
<p>$subtitle</p>
$verdict
$body
</html>
""")


def provider_page(
    provider: str, subtitle: str, tally: Tally, decimals: Mapping[str, int], *, wrong: Sequence[str], untold: int
) -> str:
    """The page. ``wrong`` are the first findings as sentences, ``untold`` how many more there are."""
    title = f"Provider {provider}"
    if wrong:
        more = f"<li>and {untold} more</li>" if untold else ""
        items = "".join(f"<li>{escape(one)}</li>" for one in wrong)
        verdict = f'<h2 class="wrong">{len(wrong) + untold} contradictions</h2><ol class="wrong">{items}{more}</ol>'
    else:
        verdict = '<h2 class="fine">Nothing here contradicts</h2>'
    return _PAGE.substitute(
        title=escape(title), subtitle=escape(subtitle), verdict=verdict, body="".join(_body(tally, decimals))
    )


def _body(tally: Tally, decimals: Mapping[str, int]) -> Iterator[str]:
    yield _table(["what became of them", "sessions"], [[str(o), str(n)] for o, n in tally.outcomes.most_common()])
    rows = []
    for mint, sums in tally.by_token.items():
        amounts = [
            format_amount(amount, decimals.get(mint, 0))
            for amount in (sums.deposited, sums.settled, sums.refunded, sums.held)
        ]
        rows.append([mint, str(sums.sessions), *amounts, str(sums.units)])
    yield _table(["token", "sessions", "deposited", "settled", "refunded", "still held", "units charged"], rows)
    yield _plot("Sessions opened by day", _days(tally.opened_by_day))
    yield _plot("Sessions settled by day", _days(tally.settled_by_day))
    shares = [(f"{100 * at // SHARES} %", count) for at, count in enumerate(tally.shares)]
    yield _plot("Share of the deposit that was settled", shares)
    agreed = [[price, sla_hash, str(count)] for (price, sla_hash), count in tally.terms.most_common()]
    yield _table(["price per unit (base units)", "hash of the SLA terms", "sessions"], agreed)
    for name, counted in (("payee", tally.payees), ("operator", tally.operators)):
        yield _table([name, "sessions"], [[key, str(count)] for key, count in counted.most_common()])


def _days(counted: Counter[int]) -> list[tuple[str, int]]:
    """The newest days, those without a session among them."""
    if not counted:
        return []
    last = max(counted)
    first = max(min(counted), last - _MOST_BARS + 1)
    return [
        (datetime.fromtimestamp(day * DAY, UTC).strftime("%Y-%m-%d"), counted[day]) for day in range(first, last + 1)
    ]


def _plot(title: str, bars: Sequence[tuple[str, int]]) -> str:
    if not any(count for _, count in bars):
        return ""
    most, width = max(count for _, count in bars), _WIDTH / len(bars)
    every = max(1, len(bars) // 10)
    drawn = []
    for at, (name, count) in enumerate(bars):
        height = (_HEIGHT - 2 * _BASE) * count / most
        drawn.append(
            f'<rect x="{at * width:.1f}" y="{_HEIGHT - _BASE - height:.1f}" width="{max(1.0, width - 2):.1f}" '
            f'height="{height:.1f}"><title>{escape(name)}: {count}</title></rect>'
        )
        if at % every == 0:
            drawn.append(f'<text x="{at * width:.1f}" y="{_HEIGHT - 5}">{escape(name)}</text>')
    drawn.append(f'<text x="0" y="12">most: {most}</text>')
    svg = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">{"".join(drawn)}</svg>'
    return f"<h3>{escape(title)}</h3>{svg}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    top = "".join(f"<th>{escape(one)}</th>" for one in head)
    lines = ("<tr>" + "".join(f"<td><code>{escape(cell)}</code></td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>"
