#!/usr/bin/env node
// Signs one URL for Warren. Node's own modules are enough.
//
// sign.mjs [--scheme hs256|sha256|md5] [--form query|path] [--ip ADDRESS] PATH EXPIRES [NAME=VALUE ...]
//
// CDN_BASE_URL and CDN_SECURITY_KEY come from the environment.
import { parseArgs } from "node:util";
// docs/backend.md begins
import { createHash, createHmac } from "node:crypto";

// `path` is the object's name, decoded; `expires` Unix seconds; `params` texts.
export function sign({ base, key, path, expires, params = {}, scheme = "hs256", form = "query", ip }) {
  if (!key || !/^[1-9]\d{9}$/.test(expires)) throw new Error("a key, and an expiry of ten digits of seconds, are needed");
  const names = Object.keys(params).sort();
  const pathAndTime = (params.token_path ?? path) + expires;
  const signed = names.map((name) => `${name}=${params[name]}`).join("&");
  const address = ip ? addressOf(ip) : { text: "", octets: Buffer.alloc(0) };
  let token;
  if (scheme === "hs256") {
    const mac = createHmac("sha256", key).update(pathAndTime).update(address.octets).update(signed);
    token = (ip ? "HS256-1-" : "HS256-") + mac.digest("base64url");
  } else {
    token = createHash("sha256").update(key + pathAndTime + address.text + signed).digest("base64url");
  }
  const sent = names.map((name) => `&${name}=${encodeURIComponent(params[name])}`).join("");
  const target = encodeURIComponent(path).replaceAll("%2F", "/");
  return form === "path"
    ? `${base}/bcdn_token=${token}${sent}&expires=${expires}${target}`
    : `${base}${target}?token=${token}${sent}&expires=${expires}`;
}

// The text of an address and its octets; of IPv6 the first 64 bits count.
function addressOf(ip) {
  const v4 = ip.replace(/^::ffff:(?=[\d.]+$)/i, "");
  if (!v4.includes(":")) return { text: v4, octets: Buffer.from(v4.split(".").map(Number)) };
  const text = new URL(`http://[${ip}]`).hostname.slice(1, -1);
  const [head, tail] = text.split("::").map((half) => (half ? half.split(":") : []));
  const groups = tail ? [...head, ...Array(8 - head.length - tail.length).fill("0"), ...tail] : head;
  const octets = Buffer.alloc(16);
  groups.slice(0, 4).forEach((group, place) => octets.writeUInt16BE(parseInt(group, 16), place * 2));
  return { text, octets };
}
// docs/backend.md ends

// The oldest scheme: one object, in the query, and nothing else can be said.
export function signMd5({ base, key, path, expires }) {
  if (!key || !/^[1-9]\d{9}$/.test(expires)) throw new Error("a key, and an expiry of ten digits of seconds, are needed");
  const token = createHash("md5").update(key + path + expires).digest("base64url");
  return `${base}${encodeURIComponent(path).replaceAll("%2F", "/")}?token=${token}&expires=${expires}`;
}

const { values, positionals } = parseArgs({
  options: { scheme: { type: "string" }, form: { type: "string" }, ip: { type: "string" } },
  allowPositionals: true,
});
const [path, expires, ...pairs] = positionals;
const params = Object.fromEntries(pairs.map((pair) => pair.split(/=(.*)/s, 2)));
const base = process.env.CDN_BASE_URL.replace(/\/+$/, "");
const what = { base, key: process.env.CDN_SECURITY_KEY, path, expires: Number(expires), params, ...values };
if (what.scheme !== "md5") {
  console.log(sign(what));
} else if (what.form === "path" || what.ip || pairs.length) {
  throw new Error("MD5 signs one object in the query, without an address and parameters");
} else {
  console.log(signMd5(what));
}
