-- wrk's script: each request comes whole from a file, NUL after each, in turn; any answer but 2xx is counted as wrong.
local file = assert(io.open(os.getenv("BENCH_REQUESTS"), "rb"))
local requests, count, at = {}, 0, 0
for text in (file:read("*a")):gmatch("([^%z]+)%z") do
  count = count + 1
  requests[count] = text
end
file:close()

function request()
  at = at % count + 1
  return requests[at]
end

local pause = tonumber(os.getenv("BENCH_PAUSE_MS")) or 0
if pause > 0 then
  function delay() return math.random() * 2 * pause end
end

function done(summary)
  local errors = summary.errors
  local wrong = errors.status + errors.connect + errors.read + errors.write + errors.timeout
  print(string.format("answers %d wrong %d microseconds %d", summary.requests, wrong, summary.duration))
end
