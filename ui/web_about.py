"""The tab About: every weight with its licence, and what the page takes."""

from __future__ import annotations

from html import escape

from .web_page import Page
from .web_parts import gr

CONSENT = "Animate people only with their consent, and do not present the result as a recording."


def about_tab(page: Page) -> None:
    from weights.registry import RECORDS

    from .models_table import as_dict
    from .report import mien_version

    records = [as_dict(record) for record in RECORDS]

    def about() -> dict:
        """The version, the limits, and every weight with its licence."""
        return {"mien": mien_version(), "limits": vars(page.limits), "weights": [_public(record) for record in records]}

    limits = page.limits
    gr.Markdown(
        f"**Mien {mien_version()}**, Apache-2.0. {CONSENT} Videos that Mien writes say in their metadata that they are "
        f"AI-generated.\n\nThis page takes files up to {limits.upload_mb} MB, portraits up to {limits.megapixels:g} "
        f"megapixels, clips and sounds up to {limits.seconds:g} s, and draws one video at a time; "
        f"{limits.waiting} more can wait. Files are deleted after {limits.keep_minutes:g} minutes. Nothing leaves this "
        "machine."
    )
    gr.HTML(weights_table(records), js_on_load=None, apply_default_css=False)
    facts = gr.JSON(visible=False)
    gr.Button(visible=False).click(about, None, facts, api_name="about", queue=False)


def weights_table(records: list[dict]) -> str:
    """A table as HTML; on a phone each row becomes a paragraph."""
    names = ("Weights", "What for", "Licence", "Commercial use", "Installed")
    lines = []
    for record in records:
        cells = [record["name"], record["purpose"], record["licence"]]
        cells += ["yes" if record[key] else "no" for key in ("commercial_use", "available")]
        labels = ["", "", *(f' data-label="{name}"' for name in names[2:])]
        row = "".join(f"<td{label}>{escape(cell)}</td>" for label, cell in zip(labels, cells, strict=True))
        lines.append(f"<tr>{row}</tr>")
    head = "".join(f"<th>{name}</th>" for name in names)
    return f'<table class="mien-weights"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'


def _public(record: dict) -> dict:
    """A record without this machine's paths."""
    hidden = ("path", "details")
    return {key: value for key, value in record.items() if key not in hidden}
