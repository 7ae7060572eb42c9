-- Asks the portal about each request: `http-request lua.portal_authorize`. HAProxy 2.6 and later.
-- The token is in the environment (PORTAL_GATEWAY_TOKEN), and so is the address of `listen portal_gateway` in haproxy.cfg.

local portal = "http://" .. os.getenv("PORTAL_GATEWAY_LISTENER")
local token = os.getenv("PORTAL_GATEWAY_TOKEN") or ""
if token == "" then
    error("PORTAL_GATEWAY_TOKEN is not set")
end

local UNAVAILABLE = '{"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}'
local TOO_LARGE = '{"code": -1000, "msg": "The request is too large."}'
-- Query string and body have at most 64 KB together: the portal refuses more.
local MAX_BODY = 65536
-- The rejections of the contract. Any other status (403: wrong token; 5xx: no decision) is 503 for the client.
local REJECTIONS = {[400] = true, [401] = true, [408] = true, [413] = true, [429] = true}

local function answer(txn, status, body, retry_after)
    local reply = txn:reply({status = status})
    reply:add_header("Content-Type", "application/json")
    if retry_after then
        reply:add_header("Retry-After", retry_after)
    end
    reply:set_body(body)
    txn:done(reply)
end

-- The only value of a header of the portal's response, or nil.
local function header(response, name)
    local values = response.headers and response.headers[name]
    return values and values[0]
end

local function authorize(txn)
    local security, permission = string.match(txn:get_var("txn.portal_needs") or "", "^(%l+) ([%l-]+)$")
    if not security then
        return answer(txn, 503, UNAVAILABLE)
    end
    -- SECURITY: only these headers reach the portal. All values of the key's header do: two keys are refused.
    local headers = {
        ["authorization"] = {"Bearer " .. token},
        ["x-client-ip"] = {txn.f:src()},
        ["x-original-method"] = {txn.f:method()},
        ["x-required-security"] = {security},
    }
    if permission ~= "-" then
        headers["x-required-permission"] = {permission}
    end
    local keys = txn.http:req_get_headers()["x-mbx-apikey"]
    if keys then
        headers["x-mbx-apikey"] = {}
        for n = 0, #keys do
            table.insert(headers["x-mbx-apikey"], keys[n])
        end
    end
    local target, body = txn.f:pathq(), txn.f:req_body() or ""
    if #body > MAX_BODY or (tonumber(txn.f:req_body_size()) or 0) > MAX_BODY then
        return answer(txn, 413, TOO_LARGE)
    end
    local response
    if #body == 0 then
        headers["x-original-uri"] = {target}
        response = core.httpclient():get({
            url = portal .. "/gateway/v1/auth?answer=client", headers = headers,
        })
    else
        headers["content-type"] = {"application/x-www-form-urlencoded"}
        response = core.httpclient():post({
            url = portal .. "/gateway/v1/check" .. target, headers = headers, body = body,
        })
    end
    local status, checked = response and response.status, response and header(response, "x-portal-security")
    -- SECURITY: only what the portal says of an allowed request; another server at its address does not.
    if (status == 200 or status == 204) and checked then
        txn:set_var("txn.portal_checked", checked)
        for _, name in ipairs({"user", "subject", "key", "permissions"}) do
            local value = header(response, "x-portal-" .. name)
            if value then
                txn:set_var("txn.portal_" .. name, value)
            end
        end
        return
    end
    if status and REJECTIONS[status] and response.body and #response.body > 0 then
        return answer(txn, status, response.body, header(response, "retry-after"))
    end
    return answer(txn, 503, UNAVAILABLE)
end

core.register_action("portal_authorize", {"http-req"}, authorize, 0)
