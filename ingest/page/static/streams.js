// Every stream by exchange and symbol. Elements are kept and changed in place: thousands of streams stay cheap to show.
import { byId, h, setAttribute, setText } from "./dom.js";
import { count, milliseconds, rate, span } from "./format.js";

const ORDER = ["trades", "candles", "book", "quotes", "ticker", "funding", "open_interest", "mark_price", "liquidations"];
const NOTHING = "Nothing is collected yet. Name an exchange and its symbols in a [[collect]] block of ingest.toml and start "
  + "the daemon with it, or send SIGHUP to a running one. Streams appear as soon as the exchange has listed its instruments.";

export class Streams {
  constructor() {
    this.venues = new Map(); // exchange → {section, …}
    this.streams = [];
    this.told = [];
    byId("filter").addEventListener("input", () => this.sift());
    byId("only-ill").addEventListener("change", () => this.sift());
  }

  show(part) {
    if (part.error) { byId("streams-body").replaceChildren(h("p", { class: "empty" }, part.error)); this.venues.clear(); return; }
    this.streams = part.streams;
    this.told = part.venues;
    if (!part.streams.length) {
      byId("streams-body").replaceChildren(h("p", { class: "empty" }, NOTHING));
      this.venues.clear();
      return;
    }
    const byVenue = new Map();
    for (const stream of part.streams) {
      if (!byVenue.has(stream.exchange)) byVenue.set(stream.exchange, []);
      byVenue.get(stream.exchange).push(stream);
    }
    for (const [exchange, streams] of byVenue) this.venue(exchange, streams);
    for (const [exchange, venue] of this.venues) {
      if (!byVenue.has(exchange)) { venue.section.remove(); this.venues.delete(exchange); }
    }
    this.sift();
  }

  venue(exchange, streams) {
    let venue = this.venues.get(exchange);
    if (!venue) {
      if (!this.venues.size) byId("streams-body").replaceChildren();
      venue = { rows: new Map(), pill: h("span", { class: "pill" }), note: h("span", { class: "dim" }), sum: h("span", { class: "sum" }), list: h("ul", { class: "instruments" }) };
      venue.section = h("details", { open: "", class: "venue", "data-exchange": exchange },
        h("summary", {}, h("h3", {}, exchange), venue.pill, venue.note, venue.sum), venue.list);
      this.venues.set(exchange, venue);
      byId("streams-body").append(venue.section);
    }
    const told = this.told.find((other) => other.exchange === exchange);
    setText(venue.pill, told ? told.state : "unknown");
    setAttribute(venue.pill, "data-state", told ? told.state : "unseen");
    setText(venue.note, told ? told.sentence.replace(/^\w+ for /, "for ") : "");
    const live = streams.filter((stream) => stream.state === "live").length;
    const total = streams.reduce((sum, stream) => sum + (stream.rows_per_second ?? 0), 0);
    setText(venue.sum, `${count(live)} of ${count(streams.length)} live, ${rate(total)}`);
    const symbols = new Map();
    for (const stream of streams) {
      if (!symbols.has(stream.symbol)) symbols.set(stream.symbol, []);
      symbols.get(stream.symbol).push(stream);
    }
    for (const [symbol, own] of symbols) row(venue, symbol, own);
    for (const [symbol, made] of venue.rows) {
      if (!symbols.has(symbol)) { made.element.remove(); venue.rows.delete(symbol); }
    }
  }

  // Every word must be found in one of exchange, symbol, channel or state.
  sift() {
    const words = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean), onlyIll = byId("only-ill").checked;
    let shown = 0;
    for (const [exchange, venue] of this.venues) {
      let any = false;
      for (const [symbol, made] of venue.rows) {
        let visible = false;
        for (const cell of made.cells.values()) {
          const text = `${exchange} ${symbol} ${cell.stream.channel} ${cell.stream.state}`.toLowerCase();
          const fits = words.every((word) => text.includes(word)) && !(onlyIll && isWell(cell.stream));
          cell.element.hidden = !fits;
          visible ||= fits;
          shown += fits;
        }
        made.element.hidden = !visible;
        any ||= visible;
      }
      venue.section.hidden = !any;
    }
    const all = this.streams.length;
    setText(byId("streams-count"), !all ? "" : shown === all ? `${count(all)} streams` : shown ? `${count(shown)} of ${count(all)} streams`
      : onlyIll && !words.length ? "Every stream is live." : "No stream fits.");
  }
}

export const isWell = (stream) => stream.state === "live" || stream.only_imported;

function row(venue, symbol, streams) {
  let made = venue.rows.get(symbol);
  if (!made) {
    made = { cells: new Map(), list: h("ul", { class: "channels" }) };
    made.element = h("li", { class: "instrument" }, h("span", { class: "symbol" }, symbol), made.list);
    venue.rows.set(symbol, made);
    venue.list.append(made.element);
  }
  streams.sort((a, b) => ORDER.indexOf(a.channel) - ORDER.indexOf(b.channel));
  for (const stream of streams) {
    let cell = made.cells.get(stream.channel);
    if (!cell) {
      cell = { dot: h("span", { class: "dot", "aria-hidden": "true" }), name: h("b", {}, stream.channel), state: h("span", { class: "state" }), rate: h("span", { class: "figure" }), lag: h("span", { class: "lag" }) };
      cell.element = h("li", { class: "stream", "data-stream": `${stream.exchange} ${stream.symbol} ${stream.channel}` }, cell.dot, cell.name, cell.state, cell.rate, cell.lag);
      made.cells.set(stream.channel, cell);
      made.list.append(cell.element);
    }
    cell.stream = stream;
    setAttribute(cell.element, "data-state", stream.only_imported ? "imported" : stream.state);
    setText(cell.state, stream.only_imported ? "imported" : stream.state === "live" ? "" : stream.state);
    setText(cell.rate, speed(stream));
    setText(cell.lag, stream.state === "live" && stream.lag_seconds !== null ? milliseconds(stream.lag_seconds * 1000) : "");
    setAttribute(cell.element, "title", title(stream));
  }
  for (const [channel, cell] of made.cells) {
    if (!streams.some((stream) => stream.channel === channel)) { cell.element.remove(); made.cells.delete(channel); }
  }
}

// What comes seldom is told by when it came last.
function speed(stream) {
  if (stream.committed_seconds === null) return stream.state === "live" ? "nothing yet" : "";
  if (stream.state === "live" && stream.rows_per_second >= 0.1) return rate(stream.rows_per_second);
  return `${span(stream.committed_seconds)} ago`;
}

function title(stream) {
  const parts = [`${stream.state} for ${span(stream.state_seconds)}`, `${count(stream.rows_stored)} rows stored`];
  if (stream.rows_duplicate) parts.push(`${count(stream.rows_duplicate)} received twice`);
  if (stream.committed_seconds !== null) parts.push(`last commit ${span(stream.committed_seconds)} ago`);
  if (stream.detail) parts.push(stream.detail);
  return parts.join(", ");
}
