"""How the page looks: fonts of the system, plain labels, and a layout that fits a phone."""

from __future__ import annotations

import gradio as gr

CSS = """
.gradio-container {
  overflow: clip !important; width: 100% !important; max-width: min(1400px, 100vw) !important;
  min-width: 0 !important; margin: 0 auto !important;
}
.gradio-container main, .gradio-container main > .wrap, .gradio-container .tabs { width: 100%; }
.gradio-container footer .divider { display: none; }
.mien-head h1 { margin: 0; }
.mien-head p { margin: 0 0 .3em; opacity: .8; }
.mien-columns > .column { flex: 1 1 0 !important; }
.mien-out { position: sticky !important; top: 8px; align-self: flex-start !important; }

/* an input that is filled needs no second way to fill it; its X empties it again */
.mien-in:has(img, video, .waveform-container) .source-selection { display: none; }
.mien-sound button.center { min-height: 0 !important; height: 130px !important; }
.mien-sound .icon-wrap { display: none; }

/* what a mistake says is told once, as a message and in the status */
.mien-out [data-testid="status-tracker"] > .error, .mien-out .clear-status { display: none !important; }
.mien-status { min-height: 2.6em; overflow-wrap: anywhere; }
.mien-status progress { appearance: none; width: 100%; height: 8px; border: 0; border-radius: 4px; overflow: hidden; }
.mien-status progress { background: var(--border-color-primary); }
.mien-status progress::-webkit-progress-bar { background: var(--border-color-primary); }
.mien-status progress::-webkit-progress-value { background: var(--color-accent); }
.mien-status progress::-moz-progress-bar { background: var(--color-accent); }
.mien-status progress.idle { display: none; }
.form:has(.mien-command textarea:placeholder-shown),
.form:has(.mien-command textarea:placeholder-shown) ~ .mien-report { display: none !important; }
.gradio-container .label-wrap { text-align: left; gap: .5em; }
.mien-try { flex-direction: column; gap: 6px !important; }
.mien-try p { margin: 0; }
.mien-try button { width: fit-content; font-weight: 400; border: 1px solid var(--border-color-primary); }
.mien-command .block-title, .mien-command [data-testid=block-info] { padding-right: 2.6em; }
/* filled from its middle, where nothing is changed, not from its left end */
.mien-both input[type=range]::-webkit-slider-runnable-track {
  background: linear-gradient(to right, var(--neutral-200) min(50%, var(--range_progress)),
    var(--slider-color) min(50%, var(--range_progress)), var(--slider-color) max(50%, var(--range_progress)),
    var(--neutral-200) max(50%, var(--range_progress))) !important;
}
.mien-columns:has(#group-faces) #group-portrait { height: 120px !important; }
.mien-go {
  position: sticky !important; bottom: 0; z-index: 60; padding: 8px 0; background: var(--body-background-fill);
  flex-wrap: nowrap !important;
}
.mien-go > button { min-width: 0 !important; }

.mien-live { position: relative; aspect-ratio: 1; max-height: 62vh; margin: 0 auto; border-radius: 8px;
  overflow: hidden; background: var(--block-background-fill); border: 1px solid var(--border-color-primary); }
.mien-live canvas { width: 100%; height: 100%; object-fit: contain; }
.mien-live video { position: absolute; right: 10px; bottom: 10px; width: 26%; border-radius: 6px;
  transform: scaleX(-1); }
.mien-live p { position: absolute; inset: 0; display: grid; place-items: center; margin: 0; padding: 1em;
  text-align: center; opacity: .7; }
.mien-live:not(.on) video, .mien-live:not(.on) canvas, .mien-live.on p { display: none; }
#mien-live-status { margin: .6em 0 0; text-align: center; min-height: 1.6em; }

.mien-weights { width: 100%; border-collapse: collapse; margin-top: 1em; font-size: .92rem; }
.mien-weights, .mien-weights tr, .mien-weights th, .mien-weights td { border: 0 !important; }
.mien-weights tr { border-bottom: 1px solid var(--border-color-primary) !important; }
.mien-weights th, .mien-weights td { text-align: left; vertical-align: top; padding: .45em .7em .45em 0 !important; }
.mien-weights td:first-child { font-weight: 600; overflow-wrap: anywhere; }

@media (max-width: 640px) {
  .tab-wrapper button { padding: 0 5px !important; font-size: .85rem !important; }
  .mien-columns { flex-direction: column !important; }
  .mien-columns > .column { flex: 0 0 auto !important; width: 100%; }
  .mien-out { position: static !important; scroll-margin-top: 8px; }
  .mien-go { position: fixed !important; left: 0; right: 0; padding: 8px; box-shadow: 0 -2px 8px #0002; }
  .mien-go > button { font-size: .9rem !important; padding: 8px 4px !important; white-space: nowrap; }
  .mien-out .mien-result { height: 44vh !important; }
  #edit-grid { flex-direction: column !important; }
  #edit-left, #edit-right { display: contents !important; }
  #edit-sliders { order: 3; }
  #edit-files { order: 4; }
  #edit-out { order: 2; position: sticky; top: 0; z-index: 50; }
  #edit-out .block { height: 38vh !important; }
  .mien-weights thead { display: none; }
  .mien-weights tr { display: block; padding: .6em 0; }
  .mien-weights td { display: block; padding: 0 !important; }
  .mien-weights td[data-label]::before { content: attr(data-label) ": "; opacity: .7; }
}
"""

#: What lies outside of the part that gradio lets `CSS` reach in a media rule.
HEAD = """<style>
@media (max-width: 640px) { .gradio-container .main.app { padding: 8px 12px 76px !important; } }
</style>"""


def theme() -> gr.themes.Base:
    """Fonts of the system: the page asks nobody else for anything."""
    return gr.themes.Soft(
        primary_hue="indigo",
        font=["system-ui", "sans-serif"],
        font_mono=["ui-monospace", "monospace"],
    ).set(
        block_border_width="1px",
        block_border_color="*border_color_primary",
        block_title_background_fill="transparent",
        block_title_background_fill_dark="transparent",
        block_title_padding="0",
        block_title_text_color="*body_text_color",
        block_title_text_color_dark="*body_text_color",
        block_title_text_weight="500",
        block_label_background_fill="*background_fill_primary",
        block_label_background_fill_dark="*background_fill_secondary",
        block_label_text_color="*body_text_color",
        block_label_text_color_dark="*body_text_color",
        block_label_text_weight="500",
    )
