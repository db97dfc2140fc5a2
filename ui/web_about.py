"""The tab About: every weight with its licence, and what the page takes."""

from __future__ import annotations

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
    rows = [
        [
            record["name"],
            record["licence"],
            "yes" if record["commercial_use"] else "no",
            "yes" if record["available"] else "no",
            record["purpose"],
        ]
        for record in records
    ]
    gr.Dataframe(
        rows,
        headers=["weights", "licence", "commercial use", "here", "what for"],
        interactive=False,
        wrap=True,
        datatype="str",
        column_widths=["18%", "26%", "10%", "8%", "38%"],
        label="Weights and their licences",
    )
    facts = gr.JSON(visible=False)
    gr.Button(visible=False).click(about, None, facts, api_name="about", queue=False)


def _public(record: dict) -> dict:
    """A record without this machine's paths."""
    hidden = ("path", "details")
    return {key: value for key, value in record.items() if key not in hidden}
