// Candles with their volume as SVG. Each candle carries its stored digits, which the readout shows; positions alone are floats.
import { setAttribute, setText, svg } from "./dom.js";
import { clock, day, decimalsOf, digits, moment, plainDigits } from "./format.js";

const RIGHT = 76, BOTTOM = 22, TOP = 8, VOLUME_SHARE = 0.2, LEAST_SLOTS = 48;

export class Chart {
  constructor(element, readout, spoken) {
    this.element = element;
    this.readout = readout;
    this.spoken = spoken;
    this.back = svg("g");
    this.bars = svg("g");
    this.line = svg("g", { class: "last" });
    this.cross = svg("g", { class: "cross" });
    element.append(this.back, this.bars, this.line, this.cross);
    this.data = { candles: [], seconds: 60, last: null, name: "" };
    this.at = null; // index of the candle that is read
    new ResizeObserver(() => this.render()).observe(element);
    element.addEventListener("pointermove", (event) => this.point(event));
    element.addEventListener("pointerleave", () => this.select(null));
    element.addEventListener("blur", () => this.select(null));
    element.addEventListener("keydown", (event) => this.key(event));
  }

  draw(data) {
    const moved = this.data.name !== data.name || this.data.seconds !== data.seconds;
    this.data = data;
    if (moved || this.at >= data.candles.length) this.at = null;
    this.render();
  }

  render() {
    const { width, height } = this.element.getBoundingClientRect();
    const { candles, seconds, name } = this.data;
    this.back.replaceChildren();
    this.bars.replaceChildren();
    this.line.replaceChildren();
    if (!candles.length || width < 50) { this.select(null); return; }
    setAttribute(this.element, "viewBox", `0 0 ${width} ${height}`);
    this.scale = scaleOf(candles, seconds, this.data.last, width, height);
    this.grid(width, height);
    for (const [index, candle] of candles.entries()) this.bars.append(this.candle(candle, index));
    this.lastPrice(width);
    const [first, final] = [candles[0], candles[candles.length - 1]];
    setAttribute(this.element, "aria-label", `${candles.length} candles of ${name} from ${moment(first[0] * 1000)} to `
      + `${moment(final[0] * 1000)} UTC, the last close is ${plainDigits(final[4])}`);
    this.select(this.at);
  }

  candle([time, open, high, low, close, volume, trades], index) {
    const { x, y, body, volumeTop, volumeBottom } = this.scale;
    const [o, c] = [Number(open), Number(close)];
    const top = y(Math.max(o, c)), center = x(time);
    return svg("g", { class: c >= o ? "candle up" : "candle down", "data-index": index, "data-time": time, "data-open": open,
      "data-high": high, "data-low": low, "data-close": close, "data-volume": volume, "data-trades": trades },
      svg("line", { x1: center, x2: center, y1: y(Number(high)), y2: y(Number(low)) }),
      svg("rect", { class: "body", x: center - body / 2, width: body, y: top, height: Math.max(1, y(Math.min(o, c)) - top) }),
      svg("rect", { class: "volume", x: center - body / 2, width: body, y: volumeTop(Number(volume)),
        height: Math.max(0, volumeBottom - volumeTop(Number(volume))) }));
  }

  grid(width, height) {
    const { prices, decimals, y, x, from, to } = this.scale, { seconds } = this.data;
    for (const price of prices) {
      const at = Math.round(y(price)) + 0.5;
      this.back.append(svg("line", { x1: 0, x2: width - RIGHT, y1: at, y2: at }),
        svg("text", { x: width - RIGHT + 8, y: at + 4 }, price.toLocaleString("en-US", { minimumFractionDigits: decimals, maximumFractionDigits: decimals })));
    }
    for (const time of times(from, to, (width - RIGHT) / 90)) {
      const at = Math.round(x(time)) + 0.5, milliseconds = time * 1000;
      if (at < 20 || at > width - RIGHT - 14) continue;
      const text = time % 86_400 === 0 ? day(milliseconds) : clock(milliseconds, seconds < 60);
      this.back.append(svg("line", { x1: at, x2: at, y1: TOP, y2: height - BOTTOM }),
        svg("text", { x: at, y: height - 6, "text-anchor": "middle", class: time % 86_400 === 0 ? "day" : null }, text));
    }
  }

  lastPrice(width) {
    const { last } = this.data, { decimals } = this.scale;
    if (!last) return;
    const at = this.scale.y(Number(last));
    this.line.append(svg("line", { x1: 0, x2: width - RIGHT, y1: at, y2: at }),
      svg("rect", { x: width - RIGHT + 2, y: at - 10, width: RIGHT - 2, height: 20, rx: 3 }),
      svg("text", { x: width - RIGHT + 8, y: at + 4 }, plainDigits(last, decimals)));
  }

  point(event) {
    if (!this.scale) return;
    const x = event.clientX - this.element.getBoundingClientRect().left;
    const { candles } = this.data;
    let best = null;
    for (let index = 0; index < candles.length; index += 1) {
      const distance = Math.abs(this.scale.x(candles[index][0]) - x);
      if (best === null || distance < best.distance) best = { index, distance };
    }
    this.select(best ? best.index : null);
  }

  key(event) {
    const end = this.data.candles.length - 1;
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const to = { Home: 0, End: end, Escape: null }[event.key];
    if (step === undefined && to === undefined) return;
    event.preventDefault();
    this.select(step === undefined ? to : Math.min(end, Math.max(0, (this.at ?? end + (step < 0 ? 1 : 0)) + step)));
    if (this.at !== null) setText(this.spoken, this.readout.textContent);
  }

  select(index) {
    this.at = index;
    this.cross.replaceChildren();
    const { candles } = this.data, candle = candles[index ?? candles.length - 1];
    if (!candle) { this.readout.replaceChildren(); return; }
    const [time, open, high, low, close, volume, trades] = candle;
    const parts = [["", moment(time * 1000)], ["V", digits(volume)]];
    const prices = { O: open, H: high, L: low, C: close }, decimals = decimalsOf(Object.values(prices));
    parts.splice(1, 0, ...Object.entries(prices).map(([label, price]) => [label, digits(price, decimals)]));
    if (trades !== null) parts.push(["trades", trades.toLocaleString("en-US")]);
    this.readout.replaceChildren(...parts.map(([label, value]) => {
      const part = document.createElement("span");
      part.append(label ? `${label} ` : "", value);
      return part;
    }));
    if (index === null) return;
    const { height } = this.element.getBoundingClientRect(), at = this.scale.x(time);
    this.cross.append(svg("line", { x1: at, x2: at, y1: TOP, y2: height - BOTTOM }));
  }
}

// Time runs by the clock, so that a missing candle leaves its place empty; few candles stand at the right.
function scaleOf(candles, seconds, last, width, height) {
  const to = candles[candles.length - 1][0];
  const slots = Math.max(LEAST_SLOTS, (to - candles[0][0]) / seconds + 1);
  const from = to - (slots - 1) * seconds, slot = (width - RIGHT - 6) / slots;
  const values = candles.flatMap((candle) => [Number(candle[2]), Number(candle[3])]);
  if (last) values.push(Number(last));
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (low === high) { low *= 0.999; high *= 1.001; }
  const bottom = height - BOTTOM, volumeHeight = (bottom - TOP) * VOLUME_SHARE, floor = bottom - volumeHeight - 10;
  const pad = (high - low) * 0.06;
  const y = (price) => TOP + (high + pad - price) / (high - low + 2 * pad) * (floor - TOP);
  const most = Math.max(...candles.map((candle) => Number(candle[5]))) || 1;
  const step = niceStep((high - low) / Math.max(2, (floor - TOP) / 60));
  const prices = [];
  for (let price = Math.ceil(low / step) * step; price <= high + pad; price += step) prices.push(price);
  return { from, to, prices, y, volumeBottom: bottom, decimals: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)),
    x: (time) => (time - from) / seconds * slot + slot / 2,
    body: Math.max(1, Math.min(14, slot * 0.7)),
    volumeTop: (volume) => bottom - volume / most * volumeHeight };
}

function niceStep(least) {
  const size = 10 ** Math.floor(Math.log10(least));
  return size * [1, 2, 5, 10].find((factor) => factor * size >= least * 0.999);
}

// Whole steps of the clock, about as many as there is room for.
function times(from, to, most) {
  const steps = [1, 5, 15, 30, 60, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600, 2_592_000, 7_776_000, 31_536_000];
  const step = steps.find((length) => (to - from) / length <= most) ?? steps[steps.length - 1];
  const found = [];
  for (let time = Math.ceil(from / step) * step; time <= to; time += step) found.push(time);
  return found;
}
