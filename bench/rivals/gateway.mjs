// Node's http with the keys in a Map. node gateway.mjs PORT FILE; the file is that of check.lua.
import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";

const [port, path] = process.argv.slice(2);
const [token, ...lines] = readFileSync(path, "utf8").trimEnd().split("\n");
const bearer = `Bearer ${token}`;
const keys = new Map();
for (const line of lines) {
  const [id, rest] = line.split(" ");
  const [secret, user, permissions, expires, networks] = rest.split("|");
  const ranges = networks.split(",").map((text) => text.split("-").map(Number));
  keys.set(id, { secret, user, permissions, may: new Set(permissions.split(",")), expires: Number(expires), ranges });
}

function numberOf(address) {
  const parts = address.split(".");
  return parts.length === 4 ? parts.reduce((sum, part) => sum * 256 + Number(part), 0) : NaN;
}

function allowed(headers) {
  if (headers.authorization !== bearer) return null;
  const record = keys.get(headers["x-mbx-apikey"]);
  const uri = headers["x-original-uri"] ?? "";
  const query = uri.slice(uri.indexOf("?") + 1);
  const mark = query.lastIndexOf("&signature=");
  if (!record || mark < 0) return null;
  const payload = query.slice(0, mark);
  const timestamp = Number(/(?:^|&)timestamp=(\d+)/.exec(payload)?.[1]);
  const window = Number(/(?:^|&)recvWindow=(\d+)/.exec(payload)?.[1] ?? 5000);
  const now = Date.now();
  if (!(window <= 60000 && now - timestamp <= window && timestamp < now + 1000)) return null;
  const signature = Buffer.from(query.slice(mark + 11), "hex");
  const right = createHmac("sha256", record.secret).update(payload).digest();
  if (signature.length !== 32 || !timingSafeEqual(signature, right)) return null;
  if (now >= record.expires || !record.may.has(headers["x-required-permission"])) return null;
  const address = numberOf(headers["x-client-ip"] ?? "");
  return record.ranges.some(([from, to]) => address >= from && address <= to) ? record : null;
}

createServer((request, response) => {
  const record = request.url === "/gateway/v1/auth" ? allowed(request.headers) : null;
  if (record) {
    response.writeHead(204, {
      "X-Portal-User": record.user,
      "X-Portal-Key": request.headers["x-mbx-apikey"],
      "X-Portal-Permissions": record.permissions,
    });
  } else {
    response.writeHead(request.url === "/healthz" ? 204 : 401);
  }
  response.end();
}).listen(Number(port), "127.0.0.1");
