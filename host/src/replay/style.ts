// How the page of a replay looks.
export const STYLE = `
:root { color-scheme: light dark; --line: #8884; --bad: #c33; --new: #27a; --good: #2a7; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
code, pre, td { overflow-wrap: anywhere; } pre { font-size: 12px; white-space: pre-wrap; margin: .3rem 0; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding: .25rem .5rem; border-top: 1px solid var(--line); }
thead th { border: 0; font-weight: 600; opacity: .7; } .number { text-align: right; font-variant-numeric: tabular-nums; }
.counts { list-style: none; display: flex; flex-wrap: wrap; gap: .5rem; padding: 0; }
.counts li { border: 1px solid var(--line); border-radius: .5rem; padding: .4rem .8rem; } .counts b { font-size: 1.2rem; }
.different .outcome, .failed .outcome, li.different, li.failed { color: var(--bad); } li.same { color: var(--good); }
details { border: 1px solid var(--line); border-radius: .5rem; margin: .5rem 0; padding: .4rem .8rem; }
summary { cursor: pointer; } summary .first { display: block; font-size: 13px; opacity: .8; padding-left: 1rem; }
.decisions th:first-child { width: 6rem; } .decisions td, .decisions thead th { width: 45%; } .differs td { color: var(--bad); }
.timeline { table-layout: fixed; margin-top: .8rem; } .timeline th:first-child { width: 9rem; }
.time { white-space: nowrap; text-align: right; } .bar { display: block; width: 100%; height: 5px; fill: var(--new); background: var(--line); }
.gone { color: var(--bad); text-decoration: line-through; } .gone td:last-child { text-decoration: none; } .new { color: var(--new); }
`;
