"""Style sheet of a calibration page, for light and dark screens, phones and paper."""

__all__ = ["STYLE"]

STYLE = """:root{--ink:#222;--line:#ddd;--paper:#fff;--link:#0550ae;--caution:#fff4d6;color-scheme:light dark}
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:var(--ink);
background:var(--paper)}
a{color:var(--link)}nav{display:flex;flex-wrap:wrap;gap:.25rem 1.1rem}h1,p{overflow-wrap:anywhere}
.wide{overflow-x:auto;background:linear-gradient(to right,var(--paper) 30%,transparent) left/3rem 100% no-repeat local,
linear-gradient(to left,var(--paper) 30%,transparent) right/3rem 100% no-repeat local,
linear-gradient(to right,rgb(128 128 128/.45),transparent) left/.8rem 100% no-repeat scroll,
linear-gradient(to left,rgb(128 128 128/.45),transparent) right/.8rem 100% no-repeat scroll}
table{border-collapse:collapse;margin:1rem 0}
td,th{border-bottom:1px solid var(--line);padding:.2rem .8rem;text-align:left}
td.n,th.n{text-align:right;white-space:nowrap}th.n{white-space:normal}td.n{font-variant-numeric:tabular-nums}
.figures{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,28rem),1fr));gap:1.2rem}
img{width:100%;max-width:34rem}td:first-child{min-width:8rem}.caution{background:var(--caution);padding:.4rem .8rem}
@media(max-width:40rem){td,th{padding:.2rem .15rem;font-size:12px}td:first-child{min-width:5.5rem}
th.n,td.n:nth-child(3){white-space:normal}.summary :is(td,th){padding:.2rem .5rem}
.summary :is(td,th):first-child{position:sticky;left:0;background:var(--paper)}}
details>summary{cursor:pointer;font-weight:600;margin:1rem 0}
@media screen and (prefers-color-scheme:dark){:root{--ink:#e6edf3;--line:#30363d;--paper:#0d1117;--link:#79b8ff;
--caution:#3a2d0c}img{filter:invert(.93) hue-rotate(180deg)}}
@media print{body{font-size:9px;max-width:none;margin:0}nav,#gain{display:none}
.wide{overflow:visible;background:none}
h2{font-size:12px;margin:.4rem 0;break-after:avoid}
.figures{display:none}table{margin:.2rem 0}td,th{padding:0 .3rem}p{margin:.2rem 0}}"""
"""CSS; a shadow at the edge of a wide table says that it scrolls, and figures keep their hues in the dark."""
