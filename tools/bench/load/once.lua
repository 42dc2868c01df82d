-- wrk's script: each request is the next line of a file, an Authorization value and an Idempotency-Key, and none is
-- sent twice. When the lines run out the requests go to a path that nothing serves, which shows as an error.
local lines, head, tail

function init(arguments)
  lines = assert(io.open(arguments[1]))
  head = "GET " .. arguments[2] .. " HTTP/1.1\r\nHost: 127.0.0.1\r\n"
end

function request()
  local line = lines:read("*l")
  if line == nil then
    return "GET /lines-ran-out HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
  end
  if line == "" then
    return head .. "\r\n"
  end
  local credential, key = line:match("^(.+) (%S+)$")
  return head .. "Authorization: " .. credential .. "\r\nIdempotency-Key: " .. key .. "\r\n\r\n"
end

function done(summary, latency, requests)
  io.stderr:write(string.format(
    '{"requests":%d,"seconds":%f,"refused":%d,"broken":%d,"p50":%f,"p99":%f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000
  ))
end
