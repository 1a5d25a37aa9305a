// Numbers of an exchange are its own digits: they are grouped, never rounded. Numbers of ours are rounded to be read.
import { h } from "./dom.js";

// How many decimals the numbers of a column need; what all of them end in beyond is zeros, with which venues pad.
export function decimalsOf(texts) {
  return Math.max(0, ...texts.map((text) => (text.split(".")[1] ?? "").replace(/0+$/, "").length));
}

// "64000.10000000" to two decimals is 64,000.10: zeros are left out or dimmed, no other digit ever is.
export function digits(text, decimals = 0) {
  const [whole, fraction = ""] = text.split(".");
  const kept = fraction.replace(/0+$/, "");
  const zeros = fraction.slice(kept.length, Math.max(decimals, kept.length));
  return h("span", { title: text }, kept ? `${group(whole)}.${kept}` : group(whole), zeros ? h("span", { class: "zeros" }, (kept ? "" : ".") + zeros) : null);
}

export const plainDigits = (text, decimals = 0) => digits(text, decimals).textContent;

const group = (whole) => whole.replace(/\B(?=(\d{3})+$)/g, ",");

export const count = (number) => Math.round(number).toLocaleString("en-US");

export function rate(perSecond) {
  if (perSecond === null || perSecond === undefined) return "–";
  if (perSecond >= 100) return `${count(perSecond)}/s`;
  return perSecond >= 0.1 || perSecond === 0 ? `${perSecond.toFixed(1)}/s` : `${(perSecond * 60).toFixed(1)}/min`;
}

export function milliseconds(number) {
  return number < 10_000 ? `${count(number)} ms` : span(number / 1000);
}

export function bytes(number) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let at = 0;
  while (number >= 1000 && at < units.length - 1) { number /= 1000; at += 1; }
  return `${at && number < 100 ? number.toFixed(1) : Math.round(number)} ${units[at]}`;
}

export function span(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  for (const [size, unit] of [[86_400, "d"], [3_600, "h"], [60, "min"]]) {
    if (seconds >= 2 * size) return `${Math.round(seconds / size)} ${unit}`;
  }
  return seconds >= 10 ? `${Math.round(seconds)} s` : `${Math.max(seconds, 0).toFixed(1)} s`;
}

const two = (number) => String(number).padStart(2, "0");
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

export function clock(milliseconds, withSeconds = true) {
  const time = new Date(milliseconds);
  const text = `${two(time.getUTCHours())}:${two(time.getUTCMinutes())}`;
  return withSeconds ? `${text}:${two(time.getUTCSeconds())}` : text;
}

export function day(milliseconds) {
  const time = new Date(milliseconds);
  return `${MONTHS[time.getUTCMonth()]} ${time.getUTCDate()}`;
}

export function moment(milliseconds) {
  return `${new Date(milliseconds).toISOString().slice(0, 10)} ${clock(milliseconds)}`;
}

export const isoMoment = (text) => (text ? moment(Date.parse(text)) : "–");

const UNITS = { s: 1, m: 60, h: 3_600, d: 86_400, w: 604_800 };

// "15m" as 900; null for what is no length of a candle.
export function parseInterval(text) {
  const found = /^([1-9]\d{0,3})([smhdw])$/.exec(text.trim().toLowerCase());
  const seconds = found ? Number(found[1]) * UNITS[found[2]] : 0;
  return seconds && seconds <= 31 * 86_400 ? seconds : null;
}

export function intervalName(seconds) {
  const [unit, size] = Object.entries(UNITS).reverse().find(([, length]) => seconds % length === 0);
  return `${seconds / size}${unit}`;
}
