"""The style sheet of the HTML report. Its hash stands in the page's content security policy, so nothing else can add style."""

STYLE = """
:root{color-scheme:light dark;--bg:#fff;--fg:#1c2128;--dim:#59636e;--line:#d5dbe1;--soft:#f4f6f8;--link:#0b5cad;--mark:#fff4c2;
--c4:#a40e26;--c3:#b93800;--c2:#8a5a00;--c1:#0b5cad;--c0:#59636e;--ok:#1a7f37;--bar:#6ea8dd;--bar2:#b58fe0;--del:#ffebe9;--add:#e6ffec}
@media(prefers-color-scheme:dark){:root{--bg:#12161c;--fg:#dfe5ec;--dim:#98a3b0;--line:#303842;--soft:#1a2028;--link:#6cb2ff;--mark:#4a3f12;
--c4:#ff7b85;--c3:#ff9b5e;--c2:#e3b341;--c1:#6cb2ff;--c0:#98a3b0;--ok:#56d374;--bar:#3d77ad;--bar2:#7a55a8;--del:#4a1d1f;--add:#143a22}}
*{box-sizing:border-box}
html{scroll-padding-top:1rem;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
a{color:var(--link);text-decoration:none}a:hover,a:focus{text-decoration:underline}
:focus-visible{outline:2px solid var(--link);outline-offset:2px}
code,pre,.m{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"Liberation Mono",monospace;font-size:.87em}
code{unicode-bidi:isolate;overflow-wrap:anywhere}
pre{unicode-bidi:isolate;margin:.4rem 0;padding:.6rem .8rem;background:var(--soft);border:1px solid var(--line);border-radius:6px;
white-space:pre-wrap;overflow-wrap:anywhere;max-height:32rem;overflow-y:auto}
h1{font-size:1.5rem;margin:0;line-height:1.25}h2{font-size:1.2rem;margin:2.4rem 0 .7rem;padding-top:.8rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:1.2rem 0 .4rem}p{margin:.4rem 0}
.frame{max-width:1560px;margin:0 auto;padding:1rem}
nav{font-size:.92em}nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.2rem .9rem;margin:.6rem 0;padding:0}
nav .count{color:var(--dim)}
@media(min-width:1080px){.frame{display:grid;grid-template-columns:11.5rem minmax(0,1fr);gap:0 2.2rem;padding:1.6rem 2rem}
nav{position:sticky;top:1.6rem;align-self:start}nav ul{display:block}nav li{padding:.16rem 0}}
main{min-width:0;overflow-x:clip}
.verdict{border:1px solid var(--line);border-left:8px solid var(--dim);border-radius:8px;padding:1rem 1.2rem;background:var(--soft)}
.verdict.findings{border-left-color:var(--c4)}.verdict.no-findings{border-left-color:var(--ok)}
.verdict.incomplete{border-left-color:var(--c2)}
.verdict p{margin:.35rem 0 0}.dim,.more{color:var(--dim)}.more{font-size:.93em}
.badge{display:inline-block;border:1px solid currentColor;border-radius:4px;padding:0 .4em;font-size:.78rem;font-weight:650;line-height:1.5;
text-transform:uppercase;letter-spacing:.02em;white-space:nowrap;vertical-align:.08em}
.s4{color:var(--c4)}.s3{color:var(--c3)}.s2{color:var(--c2)}.s1{color:var(--c1)}.s0{color:var(--c0)}.ok{color:var(--ok)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.4rem,1fr));gap:.6rem;margin:1rem 0 0;padding:0;list-style:none}
.tiles li{border:1px solid var(--line);border-radius:8px;padding:.5rem .75rem;min-width:0}
.tiles b{display:block;font-size:1.3rem;line-height:1.3}.tiles span{color:var(--dim);font-size:.86em}
.finding{border:1px solid var(--line);border-left:5px solid var(--dim);border-radius:8px;padding:.8rem 1rem;margin:.9rem 0}
.finding.f4{border-left-color:var(--c4)}.finding.f3{border-left-color:var(--c3)}.finding.f2{border-left-color:var(--c2)}
.finding.f1{border-left-color:var(--c1)}
.finding h3{margin:0 0 .3rem;font-size:1.05rem}.finding .said{font-size:1.03em}
ol.chain{list-style:none;margin:.6rem 0;padding:0;border-left:2px solid var(--line)}
ol.chain li{padding:.18rem 0 .18rem .9rem;position:relative}
ol.chain li::before{content:"";position:absolute;left:-5px;top:.72em;width:8px;height:8px;border-radius:50%;background:var(--dim)}
ol.chain .ex{display:inline-block;background:var(--mark);border-radius:3px;padding:0 .3em}
dl{display:grid;grid-template-columns:max-content minmax(0,1fr);gap:.15rem 1rem;margin:.5rem 0;font-size:.94em}dt{color:var(--dim)}
dd{margin:0}
@media(max-width:560px){dl{display:block}dt{margin-top:.35rem}}
details{margin:.25rem 0}summary{cursor:pointer}details>:not(summary){margin-left:1rem}
details.row{border-bottom:1px solid var(--line);margin:0;padding:.28rem 0}
.wide{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;width:100%;font-size:.92em}
th,td{text-align:left;padding:.28rem .7rem .28rem 0;vertical-align:top;border-bottom:1px solid var(--line)}
th{color:var(--dim);font-weight:600;white-space:nowrap}td.n,th.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td code{overflow-wrap:anywhere}
@media(max-width:760px){table{width:max-content;min-width:100%}td{max-width:17rem}td code{overflow-wrap:break-word}}
.verdict h1 .dim{font-size:.95rem;font-weight:400}
svg{display:block;width:100%;overflow:visible}svg text{fill:var(--fg);font:12px system-ui,sans-serif}svg .t2{fill:var(--dim)}
.lane{stroke:var(--line);stroke-width:1}.bar{fill:var(--bar)}.bar2{fill:var(--bar2)}.tick{fill:var(--dim)}
.k4{fill:var(--c4)}.k3{fill:var(--c3)}.k2{fill:var(--c2)}.k1{fill:var(--c1)}.k0{fill:var(--c0)}
.x summary{display:grid;grid-template-columns:3.2rem 4.2rem minmax(0,1fr) 4rem 9rem;gap:.1rem .7rem;align-items:center;
list-style-position:outside}
.x summary .u{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}.x[open] summary .u{white-space:normal}
.x summary .b{grid-column:1/-1}
@media(max-width:760px){.x summary{grid-template-columns:2.6rem 3.4rem minmax(0,1fr) 3rem}.x summary .z{display:none}
.x summary .u{grid-column:1/-1;grid-row:2;white-space:normal}}
.tree{list-style:none;margin:.5rem 0;padding:0;font-size:.94em}.tree>li{padding:.14rem 0 .14rem .6rem;border-left:1px solid transparent}
.tree .a{color:var(--dim)}
.d1{margin-left:1.2rem}.d2{margin-left:2.4rem}.d3{margin-left:3.6rem}.d4{margin-left:4.8rem}.d5{margin-left:6rem}.d6{margin-left:7.2rem}
.d7{margin-left:8.4rem}.d8{margin-left:9.6rem}
.tree>li[class]{border-left-color:var(--line)}
@media(max-width:560px){.d1{margin-left:.6rem}.d2{margin-left:1.2rem}.d3{margin-left:1.8rem}.d4{margin-left:2.4rem}
.d5,.d6,.d7,.d8{margin-left:3rem}}
.diff{padding:.4rem 0}.diff span{display:block;padding:0 .8rem}.diff .p{background:var(--add)}.diff .q{background:var(--del)}
.diff .h{color:var(--dim)}
.turn{border-left:3px solid var(--line);padding:.1rem 0 .1rem .8rem;margin:.5rem 0}.turn.assistant{border-left-color:var(--bar2)}
.turn.user{border-left-color:var(--bar)}
.turn.tool{border-left-color:var(--c2)}.turn .who{font-size:.84em;color:var(--dim);font-weight:600}
.event{border-bottom:1px solid var(--line);padding:.45rem 0}
:target{background:var(--mark);scroll-margin-top:1rem}
i.c{font-style:normal;color:var(--c4);border:1px solid var(--line);border-radius:3px;font-size:.85em;padding:0 .15em}
footer{margin:2.5rem 0 1rem;color:var(--dim);font-size:.88em}
@media print{:root{--bg:#fff;--fg:#000;--dim:#444;--line:#bbb;--soft:#f6f6f6}nav{display:none}.frame{display:block;padding:0}
body{font-size:11px}
pre{max-height:none;overflow:visible}.finding,.event,tr{break-inside:avoid}
details::details-content{display:block;content-visibility:visible}a{color:inherit}}
"""
