// What is missing, and the database.
import { byId, h, renew, setText, table } from "./dom.js";
import { bytes, count, isoMoment, span } from "./format.js";

const STATES = { open: "open", repairing: "repairing", repaired: "repaired", awaiting_dump: "awaiting a dump", unrecoverable: "unrecoverable" };

const pill = (state, text = state) => h("span", { class: "pill", "data-state": state }, text);

export function showGaps(part) {
  const body = byId("gaps-body");
  if (part.error) { body.replaceChildren(h("p", { class: "empty" }, part.error)); return; }
  const { counts, latest } = part;
  const told = Object.entries(STATES).filter(([state]) => counts[state]).map(([state, words]) => `${count(counts[state])} ${words}`);
  if (counts.windows_waiting) told.push(`${count(counts.windows_waiting)} windows of history to fetch`);
  if (counts.windows_failed) told.push(`${count(counts.windows_failed)} windows failed`);
  setText(byId("gaps-count"), told.join(", "));
  if (!latest.length) {
    body.replaceChildren(h("p", { class: "empty good" }, "Nothing was ever missed: no stream has a gap."));
    return;
  }
  renew(body, table("Gaps",
    [["State", ""], ["Stream", ""], ["From, UTC", "num"], ["Lasted", "num"], ["Ids", "num wide"], ["Cause", "wide"], ["Tries", "num wide"]],
    latest.map((gap) => [
      pill(gap.state, STATES[gap.state]), `${gap.symbol} ${gap.channel}, ${gap.exchange}`, isoMoment(gap.from_time), span(gap.seconds),
      gap.missing_ids === null ? "–" : count(gap.missing_ids), gap.detail ? `${gap.cause}: ${gap.detail}` : gap.cause, count(gap.attempts)])));
}

export function showDatabase(part) {
  const body = byId("database-body");
  if (part.error) { body.replaceChildren(h("p", { class: "empty" }, part.error)); return; }
  const { server, tables, jobs } = part;
  setText(byId("database-facts"), `${server.database}: PostgreSQL ${server.postgresql.split(" ")[0]}, TimescaleDB ${server.timescaledb} `
    + `${server.edition} edition, schema ${server.migration}`);
  const failed = jobs.filter((job) => job.last_status === "failed").length;
  const verdict = failed ? `${count(failed)} failed` : jobs.some((job) => job.last_status) ? "all went well" : "none has run yet";
  const opened = body.querySelector("details")?.open ?? failed > 0;
  renew(body,
    tables.length ? table("Tables",
      [["Table", ""], ["Size", "num"], ["Rows, about", "num"], ["Chunks", "num wide"], ["Compressed", "num wide"], ["From", "num wide"]],
      tables.map((row) => [row.name, bytes(row.bytes), row.rows_estimate ? count(row.rows_estimate) : "–", row.chunks ? count(row.chunks) : "–",
        row.compression_ratio ? `${count(row.compressed_chunks)}, ${row.compression_ratio.toFixed(1)} ×` : "–", row.oldest ? isoMoment(row.oldest).slice(0, 10) : "–"]))
      : h("p", { class: "empty" }, "No table holds a row yet."),
    h("details", opened ? { open: "" } : {}, h("summary", {}, `${count(jobs.length)} policies keep the tables, `, pill(failed ? "failed" : "ok", verdict)),
      table("Policies", [["Last run", ""], ["Policy", ""], ["Table", ""], ["By", "wide"], ["Every", "num wide"], ["Succeeded", "num"], ["Why not", "wide"]],
        jobs.map((job) => [pill(job.scheduled ? job.last_status ?? "waiting" : "stopped", job.scheduled ? job.last_status ?? "not yet" : "switched off"),
          job.policy, job.table, job.run_by, span(job.every_seconds), isoMoment(job.last_succeeded_at), job.last_error ?? ""]))));
}
