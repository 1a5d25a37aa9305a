// The chart's card: which instrument, its candles, its order book, its last trades.
import { Chart } from "./chart.js";
import { byId, h, setAttribute, setEmpty, setText } from "./dom.js";
import { clock, decimalsOf, digits, intervalName, moment, parseInterval, span } from "./format.js";

const INTERVALS = ["5s", "1m", "5m", "15m", "1h", "4h", "1d", "1w"];

export class Market {
  // `choose` is called with what the viewer wants to see.
  constructor(choose) {
    this.choose = choose;
    this.choice = fromHash();
    this.names = "";
    this.previous = null;
    this.chart = new Chart(byId("chart"), byId("readout"), byId("chart-spoken"));
    byId("intervals").append(...INTERVALS.map((name) => h("label", {},
      h("input", { type: "radio", name: "interval", value: name }), h("span", {}, name))));
    byId("intervals").addEventListener("change", (event) => this.setInterval(parseInterval(event.target.value)));
    byId("other").addEventListener("change", (event) => this.other(event.target));
    byId("instrument").addEventListener("change", (event) => this.setInstrument(...split(event.target.value)));
    window.addEventListener("hashchange", () => this.follow());
    this.mark();
  }

  // The instruments to choose from; the first choice is the one that is traded most.
  offer(streams) {
    const found = new Map();
    for (const stream of streams) {
      const list = found.get(stream.exchange) ?? new Set();
      found.set(stream.exchange, list.add(stream.symbol));
    }
    const names = JSON.stringify([...found].map(([exchange, symbols]) => [exchange, ...symbols]));
    if (names === this.names || !streams.length) return;
    this.names = names;
    const select = byId("instrument");
    select.replaceChildren(...[...found].map(([exchange, symbols]) => h("optgroup", { label: exchange },
      ...[...symbols].map((symbol) => h("option", { value: `${exchange} ${symbol}` }, `${symbol}  ·  ${exchange}`)))));
    select.disabled = false;
    if (!this.choice.exchange) {
      const first = streams.reduce((best, stream) => (worth(stream) > worth(best) ? stream : best));
      this.choice = { ...this.choice, exchange: first.exchange, symbol: first.symbol };
      this.changed(false);
    }
    this.mark();
  }

  other(input) {
    const seconds = parseInterval(input.value);
    input.setCustomValidity(seconds || !input.value ? "" : "Write a number and s, m, h, d or w, such as 7m; 31d at most.");
    input.reportValidity();
    if (seconds) this.setInterval(seconds);
  }

  setInterval(seconds) { this.choice = { ...this.choice, seconds }; this.changed(); }
  setInstrument(exchange, symbol) { this.choice = { ...this.choice, exchange, symbol }; this.changed(); }

  follow() {
    const wanted = fromHash();
    if (!wanted.exchange || JSON.stringify(wanted) === JSON.stringify(this.choice)) return;
    this.choice = wanted;
    this.changed(false);
  }

  changed(keep = true) {
    const { exchange, symbol, seconds } = this.choice;
    if (keep) history.replaceState(null, "", `#${exchange}/${symbol}/${intervalName(seconds)}`);
    this.previous = null;
    byId("market").setAttribute("aria-busy", "true");
    this.mark();
    this.tell();
  }

  tell() { if (this.choice.exchange) this.choose(this.choice); }

  mark() {
    const name = intervalName(this.choice.seconds);
    for (const radio of byId("intervals").querySelectorAll("input")) radio.checked = radio.value === name;
    byId("other").value = INTERVALS.includes(name) ? "" : name;
    if (this.choice.exchange) byId("instrument").value = `${this.choice.exchange} ${this.choice.symbol}`;
  }

  show(market) {
    const { exchange, symbol, seconds } = this.choice;
    const about = market.choice;
    if (about.exchange !== exchange || about.symbol !== symbol || about.seconds !== seconds) return;
    byId("market").removeAttribute("aria-busy");
    const { candles, trades, book } = market;
    const last = trades.length ? trades[0][2] : candles.length ? candles[candles.length - 1][4] : null;
    this.chart.draw({ candles, seconds, last: candles.length ? last : null, name: `${symbol} at ${exchange}` });
    setEmpty(byId("chart-empty"), market.error ?? (candles.length ? null : noCandles(exchange, symbol, seconds)), byId("chart"), byId("readout"));
    this.price(last, candles);
    showBook(book, market.error);
    showTrades(trades, market.error);
  }

  price(last, candles) {
    const decimals = decimalsOf(candles.slice(-20).map((candle) => candle[4]));
    byId("last-price").replaceChildren(last ? digits(last, decimals) : "");
    const before = this.previous;
    this.previous = last;
    if (last && before && last !== before) byId("last-price").className = Number(last) > Number(before) ? "up" : "down";
    const change = byId("change");
    if (!last || !candles.length) { change.replaceChildren(); return; }
    const percent = (Number(last) / Number(candles[0][1]) - 1) * 100;
    const hours = span(candles[candles.length - 1][0] - candles[0][0] + this.choice.seconds);
    change.className = percent >= 0 ? "up" : "down";
    setText(change, `${percent >= 0 ? "▲ +" : "▼ −"}${Math.abs(percent).toFixed(2)} % in ${hours}`);
  }
}

const worth = (stream) => ({ trades: 2, candles: 1 }[stream.channel] ?? 0) * 1e15 + stream.rows_stored;

function showBook(book, error) {
  const empty = !book || !(book.bid_prices.length + book.ask_prices.length);
  const why = "No order book was stored in the last day. Collect the channel book of this instrument to see it.";
  setEmpty(byId("book-empty"), empty && !error ? why : null, byId("book"));
  byId("book").toggleAttribute("hidden", empty);
  if (empty) { setText(byId("book-note"), ""); return; }
  setText(byId("book-note"), `${clock(Date.parse(book.time))}${book.in_sync ? "" : ", out of sync"}`);
  const asks = sums(book.ask_prices, book.ask_amounts), bids = sums(book.bid_prices, book.bid_amounts);
  const most = Math.max(...[...asks, ...bids].map((level) => level.sum), 0) || 1;
  const prices = decimalsOf([...book.ask_prices, ...book.bid_prices]), amounts = decimalsOf([...book.ask_amounts, ...book.bid_amounts]);
  const row = (side) => (level) => {
    const made = h("tr", { class: side }, h("td", {}, digits(level.price, prices)), h("td", {}, digits(level.amount, amounts)), h("td", {}, level.sum.toLocaleString("en-US", { minimumFractionDigits: amounts, maximumFractionDigits: amounts })));
    made.style.setProperty("--fill", `${(level.sum / most * 100).toFixed(1)}%`);
    return made;
  };
  const spread = h("tr", { class: "spread" }, h("td", { colspan: "3" }, "spread ", book.spread ? digits(book.spread, prices) : "–"));
  byId("book").tBodies[0].replaceChildren(...asks.reverse().map(row("ask")), spread, ...bids.map(row("bid")));
}

function sums(prices, amounts) {
  let sum = 0;
  return prices.map((price, at) => ({ price, amount: amounts[at], sum: (sum += Number(amounts[at])) }));
}

function showTrades(trades, error) {
  const why = "No trade of this instrument is stored yet.";
  setEmpty(byId("trades-empty"), trades.length || error ? null : why);
  byId("trades").toggleAttribute("hidden", !trades.length);
  const prices = decimalsOf(trades.map((trade) => trade[2])), amounts = decimalsOf(trades.map((trade) => trade[3]));
  byId("trades").tBodies[0].replaceChildren(...trades.map(([time, side, price, amount]) => h("tr", { class: side ?? "" },
    h("td", {}, h("span", { class: "mark", role: "img", "aria-label": side ?? "side not known" }, { buy: "▲", sell: "▼" }[side] ?? "·"), digits(price, prices)),
    h("td", {}, digits(amount, amounts)), h("td", { title: `${moment(time * 1000)} UTC` }, clock(time * 1000)))));
}

function noCandles(exchange, symbol, seconds) {
  const source = seconds % 60 ? "trade" : "candle";
  return `No ${source} of ${symbol} is stored yet. The first comes within a minute where it is collected; `
    + `history comes by: ingest backfill run ${exchange} '${symbol}' --from "30 days"`;
}

function split(value) {
  const at = value.indexOf(" ");
  return [value.slice(0, at), value.slice(at + 1)];
}

// #binance/BTC/USDT/1m: the exchange, the symbol (which has slashes of its own), the interval.
function fromHash() {
  const found = /^#([^/]+)\/(.+)\/([^/]+)$/.exec(decodeURIComponent(location.hash));
  const seconds = found ? parseInterval(found[3]) : null;
  return seconds ? { exchange: found[1], symbol: found[2], seconds } : { exchange: null, symbol: null, seconds: 60 };
}
