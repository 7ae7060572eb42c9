-- What both Lua gateways share: keys from a file into the shared dictionary, libcrypto, and the rules of a key.
local ffi = require "ffi"
ffi.cdef [[
const void *EVP_sha256(void);
unsigned char *HMAC(const void *md, const void *key, int length, const unsigned char *data, size_t n,
                    unsigned char *out, unsigned int *size);
typedef struct { unsigned int h[8], nl, nh, data[16], num, length; } SHA256_CTX;
int SHA256_Init(SHA256_CTX *c);
int SHA256_Update(SHA256_CTX *c, const void *data, size_t n);
int SHA256_Final(unsigned char *out, SHA256_CTX *c);
unsigned char *ngx_hex_dump(unsigned char *out, unsigned char *from, size_t n);
]]
local check = { crypto = ffi.load("crypto.so.3"), token = nil }
local hex = ffi.new("unsigned char[64]")

-- One line a key: id, then "secret|user|permissions|expires_ms|from-to,from-to"; the first line is the token.
function check.load(path)
  local file = assert(io.open(path))
  check.token = "Bearer " .. file:read()
  for line in file:lines() do
    local id, rest = line:match("^(%S+) (.*)$")
    ngx.shared.keys:set(id, rest)
  end
  file:close()
end

function check.hex(raw)
  ffi.C.ngx_hex_dump(hex, raw, 32)
  return ffi.string(hex, 64)
end

function check.parse(text)
  local secret, user, permissions, expires, networks = text:match("^(.-)|(.-)|(.-)|(.-)|(.*)$")
  local record = { secret = secret, user = user, permissions = permissions, expires = tonumber(expires) }
  record.may, record.networks = {}, {}
  for name in permissions:gmatch("[^,]+") do record.may[name] = true end
  for from, to in networks:gmatch("(%d+)%-(%d+)") do
    record.networks[#record.networks + 1] = { tonumber(from), tonumber(to) }
  end
  return record
end

local function number_of(address)
  local a, b, c, d = address:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  return a and ((a * 256 + b) * 256 + c) * 256 + d
end

-- The signed payload and its signature, if the request is fresh and the gateway's token is right.
function check.read(now_ms)
  local var = ngx.var
  if var.http_authorization ~= check.token then return nil end
  local payload, signature = (var.http_x_original_uri or ""):match("^[^?]*%?(.*)&signature=(%x+)$")
  local timestamp = payload and tonumber(payload:match("timestamp=(%d+)"))
  if not timestamp then return nil end
  local window = tonumber(payload:match("recvWindow=(%d+)") or 5000)
  if window > 60000 or now_ms - timestamp > window or timestamp >= now_ms + 1000 then return nil end
  return payload, signature
end

function check.admits(record, now_ms)
  local address = number_of(ngx.var.http_x_client_ip or "")
  if not address or now_ms >= record.expires or not record.may[ngx.var.http_x_required_permission] then return false end
  for _, range in ipairs(record.networks) do
    if address >= range[1] and address <= range[2] then return true end
  end
  return false
end

function check.allow(record, key)
  local header = ngx.header
  header["X-Portal-User"], header["X-Portal-Key"] = record.user, key
  header["X-Portal-Permissions"] = record.permissions
  return ngx.exit(204)
end

return check
