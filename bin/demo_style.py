"""How the demonstration's report looks: one style sheet, light and dark."""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--ink:#1b1f27;--soft:#5d6675;--line:#e2e6ec;--lane:#eef1f5;
--good:#0f8a5f;--bad:#c4314b;--warn:#b26a00;--dead:rgba(196,49,75,.09);
--c0:#7b8798;--c1:#3f76f0;--c2:#8a5cf0;--c3:#12a08c;--c4:#e08a1e}
@media (prefers-color-scheme:dark){:root{--page:#0f1217;--card:#181c23;--ink:#e8ecf2;--soft:#98a3b3;--line:#2a303a;
--lane:#1e232c;--good:#4fd1a1;--bad:#ff7d8f;--warn:#f0b35b;--dead:rgba(255,125,143,.1);
--c0:#8d99aa;--c1:#6f9bff;--c2:#ad8bff;--c3:#3cc9b4;--c4:#f0a84c}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,
"Helvetica Neue","DejaVu Sans",sans-serif;-webkit-font-smoothing:antialiased}
main{max-width:1180px;margin:0 auto;padding:36px 24px 64px}
h1{font-size:26px;line-height:1.25;margin:2px 0 6px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:17px;margin:40px 0 12px}
h3{font-size:15px;margin:0;overflow-wrap:anywhere}
.brand{margin:0;font-weight:700;color:var(--c1);letter-spacing:.02em}
.when{margin:0;color:var(--soft);max-width:80ch}
.when strong{color:var(--ink)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(140px,1fr));gap:12px;margin-top:20px}
.tile{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:14px 16px}
.tile b{display:block;font-size:26px;line-height:1.1;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13px}
.tile.completed b{color:var(--good)}.tile.failed b{color:var(--bad)}.tile.rescued b{color:var(--warn)}
.tile.none b{color:var(--soft)}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:12px}
.timeline{display:block;min-width:640px;width:100%;padding:10px 14px 4px;font:11px system-ui,"DejaVu Sans",sans-serif}
.timeline text{fill:var(--soft)}
.timeline .host{fill:var(--ink);font-size:12px;font-weight:600}
.timeline .host.gone{text-decoration:line-through;fill:var(--bad)}
.timeline .time{text-anchor:middle}
.lane{fill:var(--lane)}.tick{stroke:var(--line)}
.dead{fill:var(--dead)}
.timeline line.kill{stroke:var(--bad);stroke-width:2}.timeline text.kill{fill:var(--bad);font-weight:600}
.noticed{stroke:var(--bad);stroke-dasharray:2 3}
.bar{stroke:var(--card);stroke-width:.6}
.bar.lost{fill:var(--card);stroke:var(--bad);stroke-width:1.6;stroke-dasharray:3 2}
.bar.bad{stroke:var(--bad);stroke-width:2}
.bar.again{stroke:var(--warn);stroke-width:2.2}
path.rescue{fill:none;stroke:var(--warn);stroke-width:2}circle.rescue{fill:var(--warn)}
.op-0{fill:var(--c0);background:var(--c0)}.op-1{fill:var(--c1);background:var(--c1)}
.op-2{fill:var(--c2);background:var(--c2)}.op-3{fill:var(--c3);background:var(--c3)}
.op-4{fill:var(--c4);background:var(--c4)}.op-other{fill:var(--soft);background:var(--soft)}
.dot{display:inline-block;width:10px;height:10px;border-radius:3px;margin-right:7px}
.dot.lost{border:1.6px dashed var(--bad);background:none}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 20px;margin:10px 2px 0;padding:0;color:var(--soft);
font-size:13px}
.cards{columns:3 300px;column-gap:16px}
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;overflow:hidden;margin:0 0 16px;
break-inside:avoid}
.card.broken{border-color:var(--bad)}
.thumb{height:186px;background:#12151a;display:flex;align-items:center;justify-content:center}
.thumb img{width:100%;height:100%;object-fit:contain}.thumb img.wide{object-fit:cover}
.thumb span{font-size:52px;color:#5c6675}
.broken .thumb span{color:#ff7d8f}
.about{padding:12px 16px 4px}
.title{margin:0;color:var(--soft)}
dl{margin:10px 0 6px;display:grid;gap:2px}
dl div{display:grid;grid-template-columns:76px 1fr}
dt{color:var(--soft);font-size:13px}dd{margin:0;font-size:13.5px;font-variant-numeric:tabular-nums}
.error{color:var(--bad);margin:8px 0;font-size:13.5px;overflow-wrap:anywhere}
.wave{padding:4px 16px}.wave img{display:block;width:100%;height:56px}
details{padding:6px 16px 0}
summary{cursor:zoom-in;list-style:none}summary::-webkit-details-marker{display:none}
details[open] summary{cursor:zoom-out}
.sheet img{display:block;width:100%;height:auto;border-radius:8px}
.card:has(details[open]){column-span:all}
.by{margin:0;padding:10px 16px 12px;color:var(--soft);font-size:12.5px}
.badge{font-weight:600;font-size:11.5px;color:var(--warn);border:1px solid currentColor;border-radius:99px;
padding:0 7px;margin-left:6px;white-space:nowrap}
table{border-collapse:collapse;width:100%;font-size:13.5px}
th,td{text-align:left;padding:7px 14px;border-top:1px solid var(--line);vertical-align:top}
th{border-top:0;color:var(--soft);font-weight:600;white-space:nowrap}
td{overflow-wrap:anywhere}
td.number,td:last-child{white-space:nowrap}
.number{text-align:right;font-variant-numeric:tabular-nums}
.state.completed{color:var(--good)}.state.failed,.state.quarantined,.state.cancelled{color:var(--bad)}
td ol{margin:0;padding:0;list-style:none;color:var(--ink)}
td li.gone{color:var(--bad);text-decoration:line-through}
small{color:var(--soft);font-size:12px}
.gone small{color:inherit}
td:nth-child(2){white-space:nowrap}
@media print{body{background:#fff}}
"""
