// Connects, and hands each part of what comes to whoever shows it. The connection is made again for ever.
import { byId, setAttribute, setText, svg } from "./dom.js";
import { bytes, clock, count, milliseconds, rate, span } from "./format.js";
import { Market } from "./market.js";
import { isWell, Streams } from "./streams.js";
import { showDatabase, showGaps } from "./upkeep.js";

const SILENT_MS = 6_000, FIRST_RETRY_MS = 500, LAST_RETRY_MS = 10_000, SPARKS = 90;

let socket = null, retry = FIRST_RETRY_MS, heardAt = 0, offset = 0;
const rates = []; // [time, rows stored], to draw the last minutes from
const seen = { ill: 0, streams: null }; // null: not told yet

const streams = new Streams();
const market = new Market((choice) => { if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(choice)); });

function connect() {
  const address = new URL("/page/feed", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  socket = new WebSocket(address);
  socket.addEventListener("open", () => { heardAt = Date.now(); market.tell(); });
  socket.addEventListener("message", (event) => {
    heardAt = Date.now();
    retry = FIRST_RETRY_MS;
    take(JSON.parse(event.data));
  });
  socket.addEventListener("close", (event) => {
    const full = event.code === 1013;
    if (full) retry = LAST_RETRY_MS;
    state("away", full ? "too many viewers" : "no connection");
    notice(full ? "Too many viewers look at this daemon already. This page tries again every ten seconds."
      : "No connection to the daemon: it was stopped, or the network between is down. This page goes on trying; what it shows is old.");
    setTimeout(connect, retry);
    retry = Math.min(LAST_RETRY_MS, retry * 2);
  });
}

function take(update) {
  facts(update.daemon);
  if (update.streams) {
    streams.show(update.streams);
    if (update.streams.streams) { market.offer(update.streams.streams); streamFigures(update.streams.streams); }
  }
  if (update.gaps) { showGaps(update.gaps); if (update.gaps.counts) gapFigures(update.gaps.counts); }
  if (update.database) { showDatabase(update.database); if (update.database.server) databaseFigures(update.database.server); }
  if (update.market) market.show(update.market);
  if (update.away) {
    state("away", "database away");
    notice(`The database is away: ${update.away}. Collecting goes on, rows wait on disk; this page asks again every second.`);
  } else {
    notice(null);
    const { ill } = seen;
    if (seen.streams === null) state("waiting", "connected");
    else if (!seen.streams) state("waiting", "nothing collected yet");
    else state(ill ? "degraded" : "online", ill ? `${count(ill)} of ${count(seen.streams)} not live` : "all live");
  }
}

function facts(daemon) {
  offset = daemon.now_ms - Date.now();
  const last = rates[rates.length - 1];
  if (last && daemon.stored < last[1]) rates.length = 0; // another daemon
  if (!last || daemon.now_ms > last[0]) rates.push([daemon.now_ms, daemon.stored]);
  if (rates.length > SPARKS) rates.shift();
  const [from, to] = [rates[Math.max(0, rates.length - 6)], rates[rates.length - 1]];
  setText(byId("figure-rate"), to[0] > from[0] ? rate((to[1] - from[1]) / (to[0] - from[0]) * 1000) : "–");
  setText(byId("note-rate"), `${count(daemon.stored)} since the start${daemon.rejected ? `, ${count(daemon.rejected)} rejected` : ""}`);
  setText(byId("figure-lag"), daemon.stored ? milliseconds(daemon.lag_ms) : "–");
  setText(byId("note-lag"), `${count(daemon.held_rows)} rows wait in memory`);
  setText(byId("figure-spool"), bytes(daemon.spool_rows ? daemon.spool_bytes : 0));
  setText(byId("note-spool"), daemon.spool_rows ? `${count(daemon.spool_rows)} rows, ${(daemon.spool_bytes / daemon.spool_max_bytes * 100).toFixed(1)} % of the spool`
    : `spool empty, ${bytes(daemon.spool_max_bytes)} of room`);
  mark("figure-spool", daemon.spool_rows ? "warn" : "");
  setText(byId("uptime"), `up ${span((daemon.now_ms - daemon.started_ms) / 1000)}`);
  setText(byId("version"), `ingest ${daemon.version}`);
  spark();
}

function streamFigures(list) {
  const live = list.filter((stream) => stream.state === "live").length;
  seen.streams = list.length;
  seen.ill = list.filter((stream) => !isWell(stream)).length;
  setText(byId("figure-streams"), `${count(live)} / ${count(list.length)}`);
  const exchanges = new Set(list.map((stream) => stream.exchange)).size;
  setText(byId("note-streams"), !list.length ? "" : `${exchanges === 1 ? "live, at one exchange" : `live, at ${exchanges} exchanges`}`);
  mark("figure-streams", seen.ill ? "bad" : "");
  document.title = list.length ? `${seen.ill ? "⚠ " : ""}${live}/${list.length} live · ingest` : "ingest";
}

function gapFigures(counts) {
  const open = counts.open + counts.repairing, lost = counts.unrecoverable + counts.awaiting_dump;
  setText(byId("figure-gaps"), count(open));
  const parts = [];
  if (open) parts.push(`oldest ${span(counts.oldest_seconds)}`);
  if (counts.repaired) parts.push(`${count(counts.repaired)} repaired`);
  if (lost) parts.push(`${count(lost)} beyond repair by REST`);
  setText(byId("note-gaps"), parts.join(", ") || "nothing was missed");
  mark("figure-gaps", open ? "warn" : "");
}

function databaseFigures(server) {
  setText(byId("figure-database"), bytes(server.bytes));
  setText(byId("note-database"), `TimescaleDB ${server.timescaledb}, ${server.edition}`);
}

const mark = (id, kind) => setAttribute(byId(id), "class", kind);

function state(name, text) {
  setAttribute(byId("state"), "data-state", name);
  setText(byId("state"), text);
}

function notice(text) {
  byId("notice").hidden = !text;
  setText(byId("notice"), text ?? "");
}

// Rows a second, as a line without figures.
function spark() {
  const element = byId("spark"), steps = [];
  for (let at = 1; at < rates.length; at += 1) steps.push((rates[at][1] - rates[at - 1][1]) / (rates[at][0] - rates[at - 1][0]));
  if (steps.length < 3) { element.replaceChildren(); return; }
  const smooth = steps.map((_, at) => { const near = steps.slice(Math.max(0, at - 2), at + 1); return near.reduce((a, b) => a + b) / near.length; });
  const most = Math.max(...smooth) || 1, width = 100, height = 28;
  const points = smooth.map((value, at) => `${(width * (at + SPARKS - 1 - smooth.length) / (SPARKS - 2)).toFixed(1)},${(height - 2 - value / most * (height - 4)).toFixed(1)}`);
  setAttribute(element, "viewBox", `0 0 ${width} ${height}`);
  setAttribute(element, "preserveAspectRatio", "none");
  const first = points[0].split(",")[0];
  element.replaceChildren(svg("polygon", { points: `${first},${height} ${points.join(" ")} ${width},${height}` }), svg("polyline", { points: points.join(" ") }));
}

setInterval(() => {
  setText(byId("clock"), clock(Date.now() + offset));
  const silent = Date.now() - heardAt;
  if (socket?.readyState === WebSocket.OPEN && silent > SILENT_MS) {
    state("away", "no word");
    notice(`No word from the daemon for ${span(silent / 1000)}. What this page shows is old.`);
  }
}, 500);

connect();
