// Middleware for Node 20 and later, without dependencies: the portal authorizes each request, with its query string and
// body, before the application gets it. Copy this file into the project. It wraps the handler of a server, so nothing
// of the application runs before it, and works with each framework:
//
//     const guard = require('./portal.js')({portal: 'http://127.0.0.1:8001', token: process.env.PORTAL_GATEWAY_TOKEN,
//         routes: require('/etc/exchange/portal-routes.json')});   // manage.py gateway_routes routes --format json
//     http.createServer(guard.serverOptions, guard(app)).listen(8080);                                    // express
//     Fastify({serverFactory: (handler) => http.createServer(guard.serverOptions, guard(handler))});      // fastify
'use strict';
const http = require('node:http');

// Query string and body have at most 64 KB together: the portal refuses more.
const MAX_BODY = 65536;
// Milliseconds for the portal's answer, and for a body to arrive.
const PORTAL_TIMEOUT = 2000, BODY_TIMEOUT = 10000;
// The rejections of the contract. Any other status (403: wrong token; 5xx: no decision) is 503 for the client.
const REJECTIONS = [400, 401, 408, 413, 429];
const UNAVAILABLE = '{"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}';
const NO_PATH = '{"code": -1000, "msg": "This is no path of the API."}';
const TOO_LARGE = '{"code": -1000, "msg": "The request is too large."}';
const LATE = '{"code": -1000, "msg": "The body did not arrive in time."}';
const GONE = '{"code": -1000, "msg": "The client closed the connection."}';
// SECURITY: not the headers that only the portal and this file say, or that let a service read another route than the
// authorized one. Many servers read X_Portal_User as X-Portal-User, so only plain names pass at all.
const PASSED = new RegExp('^(?!(x-(client-ip|real-ip|portal-.*|required-.*|forwarded-.*|original-.*|rewrite-url'
    + '|http-method.*|method-override)|forwarded|(proxy-)?connection|keep-alive|upgrade|sec-websocket-.*|te|trailer'
    + '|transfer-encoding|content-length|expect)$)[a-z0-9-]+$');
const IDENTITY = ['user', 'subject', 'key', 'permissions', 'security'].map((name) => `x-portal-${name}`);

// allowOrigin: answer CORS preflight requests of this origin; by default they need what the table says.
// clientAddress(req): behind a load balancer, the address of the client.
module.exports = function portal({portal: url, token, routes, allowOrigin, clientAddress}) {
    if (!token) { throw new Error('the gateway\'s token is empty'); }
    const {hostname, port} = new URL(url), plain = new RegExp(`^${routes.path}$`);
    // The gateway closes connections that are idle for 10 s.
    const agent = new http.Agent({keepAlive: true, maxSockets: 64, timeout: 8000});
    const matches = (route, method, path) => route.methods.includes(method)
        && (route.prefix ? path.startsWith(route.path) : path === route.path);

    function ask(req, path, address, body, again, done) {
        const needs = routes.routes.find((route) => matches(route, req.method, path)) || routes.default;
        // SECURITY: of the client's headers only its keys; two keys are refused.
        const keys = req.headersDistinct['x-mbx-apikey'];
        const headers = {
            'Authorization': `Bearer ${token}`, 'X-Client-IP': address, 'X-Required-Security': needs.security,
            ...(needs.permission && {'X-Required-Permission': needs.permission}), ...(keys && {'X-MBX-APIKEY': keys}),
            ...((body.length || !['GET', 'HEAD'].includes(req.method)) && {'Content-Length': body.length}),
        };
        const target = `/gateway/v1/check${req.url}`;
        const outgoing = http.request({agent, hostname, port, method: req.method, path: target, headers});
        let timer = setTimeout(() => outgoing.destroy(new Error('timeout')), PORTAL_TIMEOUT);
        const finish = (...result) => {
            if (timer) { clearTimeout(timer); timer = null; done(...result); }
        };
        outgoing.on('response', (response) => {
            const chunks = [];
            response.on('data', (chunk) => chunks.push(chunk));
            response.on('error', finish);
            response.on('end', () => finish(null, response, Buffer.concat(chunks)));
        });
        outgoing.on('error', (error) => {
            // The gateway closed this connection while it was idle.
            if (timer && again && outgoing.reusedSocket && error.code === 'ECONNRESET') {
                clearTimeout(timer);
                timer = null;
                ask(req, path, address, body, false, done);
            } else { finish(error); }
        });
        outgoing.end(body);
    }

    const guard = (handler) => (req, res) => {
        // SECURITY: the path as sent. `..`, `//`, `%2f` or `;` may lead to another route than the one looked up here.
        const path = req.url.split('?', 1)[0];
        if (!plain.test(path) || req.url.includes('#')) { return answer(res, 400, NO_PATH); }
        const isPreflight = req.method === 'OPTIONS' && req.headers.origin && req.headers['access-control-request-method'];
        if (allowOrigin && isPreflight) {
            res.writeHead(204, {
                'Access-Control-Allow-Origin': allowOrigin, 'Access-Control-Allow-Methods': 'GET, POST, PUT, DELETE',
                'Access-Control-Allow-Headers': 'X-MBX-APIKEY, Content-Type', 'Access-Control-Max-Age': '600',
            });
            return res.end();
        }
        const named = clientAddress ? clientAddress(req) : req.socket.remoteAddress;
        const address = (named || '').replace(/^::ffff:(?=[0-9.]+$)/i, '');
        return read(req, res, (body) => ask(req, path, address, body, true, (error, response, text) => {
            const fields = response ? response.headers : {};
            if (!error && REJECTIONS.includes(response.statusCode) && fields['content-type'] === 'application/json') {
                answer(res, response.statusCode, text, fields['retry-after'] && {'Retry-After': fields['retry-after']});
            // SECURITY: only what the portal says of an allowed request; another server at its address does not.
            } else if (error || response.statusCode !== 200 || !fields['x-portal-security']) {
                answer(res, 503, UNAVAILABLE);
            // SECURITY: express's body parsers skip the body of a client that is gone. An application that forwards its
            // Content-Length without it makes the service take the next client's request for this body.
            } else if (!req.socket.readable) {
                answer(res, 400, GONE);
            } else {
                const own = ['x-client-ip', 'x-real-ip', 'x-forwarded-for'].map((name) => [name, address]);
                own.push(...IDENTITY.filter((name) => fields[name]).map((name) => [name, fields[name]]));
                if (body.length || req.headers['content-length']) { own.push(['content-length', String(body.length)]); }
                const passed = rebuilt(req, body, own);
                res.req = passed;
                handler(passed, res);
            }
        }));
    };
    // Request line and headers: a URL may have 64 KB.
    guard.serverOptions = {maxHeaderSize: 98304};
    return guard;
};

// The body is read before it is passed on, so the application gets a request that contains it.
function rebuilt(req, body, own) {
    const passed = new http.IncomingMessage(req.socket);
    Object.assign(passed, {method: req.method, url: req.url, httpVersion: req.httpVersion, complete: true,
        httpVersionMajor: req.httpVersionMajor, httpVersionMinor: req.httpVersionMinor});
    const kept = (pairs) => pairs.filter(([name]) => PASSED.test(name.toLowerCase()));
    const raw = req.rawHeaders.flatMap((name, n) => (n % 2 ? [] : [[name, req.rawHeaders[n + 1]]]));
    passed.rawHeaders = [...kept(raw), ...own].flat();
    passed.headers = Object.fromEntries([...kept(Object.entries(req.headers)), ...own]);
    passed.headersDistinct = Object.fromEntries([...kept(Object.entries(req.headersDistinct)),
        ...own.map(([name, value]) => [name, [value]])]);
    if (body.length) { passed.push(body); }
    passed.push(null);
    return passed;
}

function read(req, res, done) {
    const chunks = [];
    let size = 0, timer = setTimeout(() => give(408, LATE), BODY_TIMEOUT);
    const give = (status, text) => {
        if (!timer) { return; }
        clearTimeout(timer);
        timer = null;
        if (status) { answer(res, status, text, {Connection: 'close'}); } else { done(Buffer.concat(chunks)); }
    };
    req.on('data', (chunk) => {
        size += chunk.length;
        if (size > MAX_BODY) { give(413, TOO_LARGE); } else { chunks.push(chunk); }
    });
    req.on('end', () => give());
    // The client hung up: nobody gets the answer.
    req.on('error', () => give(400, TOO_LARGE));
}

function answer(res, status, text, headers) {
    res.writeHead(status, {...headers, 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text)});
    res.end(text);
}
