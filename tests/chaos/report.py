"""The report of a run: Markdown for people, and a picture of its recoveries as SVG. Nothing in it names a machine."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from tests.chaos.catalogue import KINDS
from tests.chaos.figures import Figures, KindFigures, figures_of
from tests.chaos.nemesis import Ended

_ROW_PX, _LEFT_PX, _RIGHT_PX, _HEAD_PX = 18, 260, 440, 34


def write(path: Path, ended: Sequence[Ended], *, bus: str, seed: int, left_out: Sequence[str]) -> None:
    """`path` without an ending: `.md` and `.svg` are put behind it."""
    figures = figures_of(ended)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".svg").write_text(_picture(figures))
    path.with_suffix(".md").write_text(_text(path.stem, figures, ended, bus=bus, seed=seed, out=left_out))


def _text(name: str, figures: Figures, ended: Sequence[Ended], *, bus: str, seed: int, out: Sequence[str]) -> str:
    pace = ended[0].act
    shapes = ", ".join(dict.fromkeys(act.act.shape.name for act in ended))
    left = f" Left out, since they need root: {', '.join(out)}." if out else ""
    lines = [
        f"# Chaos: {bus} bus, seed {seed}",
        "",
        f"`python -m tests.chaos --bus {bus} --seed {seed} --rate {pace.per_second:g} --connections {pace.connections} "
        f"--calm {pace.calm_s:g}`, {figures.took_s / 60:.0f} minutes, deployments: {shapes}.{left}",
        "",
        *_summary(figures),
        "",
        f"![Recovery by kind of fault]({name}.svg)",
        "",
        *_table(figures.kinds),
        "",
        *_failures(ended),
    ]
    return "\n".join(lines)


def _summary(figures: Figures) -> list[str]:
    rows = {
        "calls sent": f"{figures.sent:,}",
        "events acknowledged to clients": f"{figures.acked:,}",
        "faults": f"{figures.faults:,} of {len(figures.kinds)} kinds (of {len(KINDS)} that there are)",
        "**lost** (acknowledged or begun, and neither delivered, dead nor admitted)": f"**{figures.lost}**",
        "admitted by the ledger (no room, damaged frames)": f"{figures.admitted:,}",
        "recorded without their bodies (no room)": f"{figures.bodies_dropped:,}",
        "duplicates on the wire": f"{figures.wire_duplicates:,}",
        "**duplicates after keys**": f"**{figures.visible_duplicates}**",
        "phantoms, wrong payloads": f"{figures.phantoms}, {figures.wrong_payloads}",
        "dead letters": f"{figures.dead:,}",
        "interrupted exchanges told": f"{figures.interrupted:,}",
        "recovery p50 / p99": f"{figures.recovery_p50_s:.2f} s / {figures.recovery_p99_s:.2f} s",
        "ledger closed": f"in {figures.ledgers_closed} of {figures.acts} acts",
    }
    return ["| what | figure |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows.items())]


def _table(kinds: Sequence[KindFigures]) -> list[str]:
    head = [
        "| fault | times | failed | served again p99 (s) | recovery p50 (s) | p99 (s) | max (s) |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    rows = [
        f"| {k.name} | {k.faults} | {k.failed} | {k.served_again_p99_s:.2f} | {k.recovery_p50_s:.2f} "
        f"| {k.recovery_p99_s:.2f} | {k.recovery_max_s:.2f} |"
        for k in kinds
    ]
    told = "Served again: the next 200 after the healing. Recovery: until all that was acknowledged before the healing "
    return [
        *head,
        *rows,
        "",
        told + "lay in every backend. All time constants are at about a twentieth of production's.",
    ]


def _failures(ended: Sequence[Ended]) -> list[str]:
    failures = [f"- {act.act.shape.name}: {failure}" for act in ended for failure in act.failures]
    return ["## Failures", "", *failures, ""] if failures else []


def _picture(figures: Figures) -> str:
    longest = max((kind.recovery_max_s for kind in figures.kinds), default=1.0) or 1.0
    height = _HEAD_PX + _ROW_PX * len(figures.kinds) + 10
    bars = [_bar(kind, number, longest) for number, kind in enumerate(figures.kinds)]
    title = f"Recovery after each kind of fault: median (dark) and slowest (light), up to {longest:.1f} s"
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT_PX + _RIGHT_PX + 70}" height="{height}" '
            'font-family="sans-serif" font-size="12" role="img">',
            f"<title>{escape(title)}</title>",
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            f'<text x="10" y="20" font-weight="bold">{escape(title)}</text>',
            *bars,
            "</svg>\n",
        ]
    )


def _bar(kind: KindFigures, number: int, longest: float) -> str:
    y = _HEAD_PX + number * _ROW_PX
    slowest, median = (value / longest * _RIGHT_PX for value in (kind.recovery_max_s, kind.recovery_p50_s))
    return (
        f'<text x="{_LEFT_PX - 8}" y="{y + 12}" text-anchor="end">{escape(kind.name)}</text>'
        f'<rect x="{_LEFT_PX}" y="{y + 2}" width="{slowest:.1f}" height="12" fill="#9ec5e8"/>'
        f'<rect x="{_LEFT_PX}" y="{y + 2}" width="{median:.1f}" height="12" fill="#1f5f99"/>'
        f'<text x="{_LEFT_PX + slowest + 6:.1f}" y="{y + 12}" fill="#555555">{kind.recovery_max_s:.1f}</text>'
    )
