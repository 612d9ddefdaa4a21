// The last day in small plots, where there is a history. uPlot is loaded for them alone.
import { call } from '../api.js';
import { h, set } from '../dom.js';

const EVERY = 60000; // ms
const HEIGHT = 84;
const A_LINE = 2; // points
const bytes = (it) => (it >= 1e9 ? `${(it / 1e9).toFixed(1)} GB` : `${Math.round(it / 1e6)} MB`);
const count = (it) => String(Math.round(it * 10) / 10);
const clock = (at) => new Date(at * 1000).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hour12: false });
const PLOTS = [
  ['connected', 'Connected', count], ['memory', 'Memory', bytes], ['cpu', 'CPU', (it) => `${count(it)} %`],
  ['restarts', 'Restarts a minute', count], ['queued', 'Queue', count], ['webhooks_waiting', 'Webhooks', count],
  ['send_seconds', 'Sending', (it) => `${it.toFixed(2)} s`],
];

export function plots(into, path = `/api/history?series=${PLOTS.map(([name]) => name)}`, wanted = PLOTS) {
  let gone = false;
  let shown = [];
  const again = async () => {
    if (document.hidden || gone) return;
    const { ok, data } = await call('GET', path);
    const found = ok ? wanted.filter(([name]) => data.series[name]?.filter((it) => it !== null).length >= A_LINE) : [];
    if (gone || (!found.length && !shown.length)) return;
    const { default: UPlot } = await uplot();
    if (gone) return;
    shown.forEach((it) => it.destroy());
    into.hidden = !found.length;
    const figures = found.map(([, words]) => h('figure', { class: 'plot' }, h('figcaption', {}, h('span', { class: 'soft small' }, words), h('strong', {}))));
    into.replaceChildren(...figures);
    shown = found.map(([name, , form], at) => draw(UPlot, figures[at], data, data.series[name], form));
  };
  const timer = setInterval(again, EVERY);
  const size = () => shown.forEach((it) => it.setSize({ width: it.root.parentElement.clientWidth, height: HEIGHT }));
  const dark = matchMedia('(prefers-color-scheme: dark)');
  addEventListener('resize', size);
  document.addEventListener('theme', again);
  dark.addEventListener('change', again);
  again();
  return () => {
    gone = true;
    clearInterval(timer);
    removeEventListener('resize', size);
    document.removeEventListener('theme', again);
    dark.removeEventListener('change', again);
    shown.forEach((it) => it.destroy());
  };
}

let styled = false;
function uplot() {
  if (!styled) document.head.append(h('link', { rel: 'stylesheet', href: '/page/uplot.css' }));
  styled = true;
  return import('../uplot.js');
}

function draw(UPlot, figure, { at, step }, values, form) {
  const now = figure.querySelector('strong');
  const last = values.findLast((it) => it !== null);
  set(now, form(last));
  const style = getComputedStyle(figure);
  const [line, soft] = [style.getPropertyValue('color'), style.getPropertyValue('outline-color')];
  const say = (it) => {
    const seen = values[it.cursor.idx];
    set(now, it.cursor.idx == null ? form(last) : seen == null ? 'unknown' : `${form(seen)} at ${clock(at + it.cursor.idx * step)}`);
  };
  const options = {
    width: figure.clientWidth, height: HEIGHT, legend: { show: false }, cursor: { y: false, points: { size: 6 }, drag: { x: false, y: false } }, padding: [6, 0, 0, 0],
    scales: { x: { time: true }, y: { range: (_, least, most) => [Math.min(0, least), most > 0 ? most * 1.1 : 1] } },
    axes: [{ stroke: soft, font: '11px system-ui', size: 18, gap: 2, grid: { show: false }, ticks: { show: false }, space: 80, values: (_, all) => all.map(clock) }, { show: false }],
    series: [{}, { stroke: line, width: 1.5, fill: `color-mix(in srgb, ${line} 12%, transparent)`, points: { show: false } }],
    hooks: { setCursor: [say] },
  };
  return new UPlot(options, [values.map((_, index) => at + index * step), values], figure);
}
