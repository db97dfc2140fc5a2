"""How the page looks and what little it does: no network, the system's own fonts, light and dark."""

STYLE = """
:root { color-scheme: light dark;
  --paper: #fbfbfa; --card: #ffffff; --ink: #1d2126; --soft: #5d6670; --line: #dfe3e6; --tint: #f1f4f6;
  --accent: #1f6feb; --good: #e3f3e6; --truth: #8a5a00; --bad: #b3261e; --base: #7a858f; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171a; --card: #1b1f23; --ink: #e7eaed; --soft: #9aa5af; --line: #31383e; --tint: #22272c;
  --accent: #6cb0ff; --good: #193a26; --truth: #e3b458; --bad: #ff8a80; --base: #8d99a3; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1240px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 4px; }
h2 { font-size: 1.2rem; margin: 40px 0 10px; }
h3 { font-size: 1.05rem; margin: 26px 0 6px; }
h4 { font-size: .95rem; margin: 18px 0 6px; }
p, li { max-width: 82ch; }
.lead, .legend, .absent, figcaption, .facts { color: var(--soft); }
.topic { display: inline-block; vertical-align: top; max-width: 100%; margin-right: 26px; }
.legend, .absent, figcaption { font-size: .86rem; }
nav { margin: 14px 0 0; display: flex; flex-wrap: wrap; gap: 4px 16px; font-size: .92rem; }
a { color: var(--accent); }
.scroll { overflow-x: auto; width: fit-content; max-width: 100%; background: var(--card);
  border: 1px solid var(--line); border-radius: 8px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: 7px 12px; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
tr:last-child > * { border-bottom: 0; }
thead th { color: var(--soft); font-weight: 600; font-size: .82rem; vertical-align: bottom; }
th:first-child, td.text, th.text { text-align: left; }
tbody th { position: sticky; left: 0; background: var(--card); font-weight: 600; }
td small { display: block; color: var(--soft); font-size: .74rem; line-height: 1.25; }
td.best { background: var(--good); }
td.best b { font-weight: 700; }
td b { font-weight: 500; }
td.failed b, .bad { color: var(--bad); }
tr.truth > * { background: var(--tint); }
tr.truth th { color: var(--truth); }
tr.baseline th { color: var(--soft); font-weight: 500; }
td.wrap { white-space: normal; min-width: 18em; text-align: left; }
.absent { margin: 8px 0 0; padding-left: 1.2em; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(270px, 100%), 1fr)); gap: 14px; }
.plots > *, .case { background: var(--card); border: 1px solid var(--line); border-radius: 8px; margin: 0; }
.plots > * { padding: 8px; max-width: 460px; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: var(--soft); paint-order: stroke; stroke: var(--card);
  stroke-width: 3px; stroke-linejoin: round; }
svg text.title { font-weight: 600; font-size: 13px; fill: var(--ink); }
svg text.name { fill: var(--ink); }
svg .axis { stroke: var(--soft); fill: none; }
svg .grid { stroke: var(--line); }
svg .front { stroke: var(--accent); fill: none; stroke-dasharray: 1 0; opacity: .55; stroke-width: 1.5; }
svg line.truth { stroke: var(--truth); stroke-dasharray: 5 4; }
svg text.truth { fill: var(--truth); }
svg line.target { stroke: var(--soft); stroke-dasharray: 2 3; }
svg circle.system { fill: var(--accent); }
svg circle.baseline { fill: var(--card); stroke: var(--base); stroke-width: 2; }
svg .whisker { stroke-width: 1.5; }
svg .whisker.system { stroke: var(--accent); }
svg .whisker.baseline { stroke: var(--base); }
.cases { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(430px, 100%), 1fr)); gap: 18px; }
.case { padding: 12px; min-width: 0; }
.case h3 { margin: 0 0 2px; overflow-wrap: anywhere; }
.case video, .case > img { width: 100%; height: auto; border-radius: 4px; background: #181818; display: block; }
details { margin: 8px 0 0; }
summary { cursor: pointer; color: var(--accent); font-size: .9rem; }
details img { max-width: 100%; height: auto; margin-top: 8px; }
.facts { columns: 2 320px; font-size: .88rem; padding-left: 1.2em; overflow-wrap: anywhere; }
code { font-size: .88em; overflow-wrap: anywhere; }
@media (max-width: 600px) { main { padding: 18px 12px 40px; } th, td { padding: 6px 9px; } h1 { font-size: 1.4rem; } }
@media print { nav, video { display: none; } details > * { display: block; } }
"""

SCRIPT = """
const watch = new IntersectionObserver(entries => entries.forEach(entry =>
  entry.isIntersecting ? entry.target.play().catch(() => {}) : entry.target.pause()), { threshold: 0.2 });
document.querySelectorAll('video').forEach(video => watch.observe(video));
"""
"""Clips play while they are on the screen: a dozen at once would be too much for a phone."""
