// An application behind deploy/middleware/portal.js: it forwards what it receives to the exchange.
//     node forwarding_server.js express|fastify      with PORTAL_GATEWAY_TOKEN and MIDDLEWARE (JSON) in the environment
'use strict';
const http = require('node:http');
const path = require('node:path');

const setting = JSON.parse(process.env.MIDDLEWARE);
const guard = require(path.join(setting.deploy, 'middleware/portal.js'))({
    portal: setting.portal, token: process.env.PORTAL_GATEWAY_TOKEN, routes: setting.routes, allowOrigin: setting.allow_origin,
});
const exchange = new URL(setting.exchange);
const agent = new http.Agent({keepAlive: true});

// What the application read of the request: its method, target, headers and body. The length is that of the headers, as
// proxies for Node send it: the middleware must not pass a request whose body is not read.
function forward(req, body, res) {
    const {hostname, port} = exchange;
    const asked = http.request({agent, hostname, port, method: req.method, path: req.url, headers: req.rawHeaders}, (response) => {
        res.writeHead(response.statusCode, {'Content-Type': response.headers['content-type'],
            'Content-Length': response.headers['content-length']});
        response.pipe(res);
    });
    asked.on('error', () => res.destroy());
    asked.end(body);
}

if (process.argv[2] === 'express') {
    const express = require('express');
    const app = express();
    app.use(express.raw({type: () => true, limit: '100kb'}));
    app.use((req, res) => forward(req, Buffer.isBuffer(req.body) ? req.body : '', res));
    http.createServer(guard.serverOptions, guard(app)).listen(setting.port, '127.0.0.1');
} else {
    const app = require('fastify')({
        serverFactory: (handler) => http.createServer(guard.serverOptions, guard(handler)),
    });
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', {parseAs: 'buffer'}, (request, body, done) => done(null, body));
    app.all('/*', (request, reply) => {
        reply.hijack();
        forward(request.raw, request.body || '', reply.raw);
    });
    app.listen({port: setting.port, host: '127.0.0.1'});
}
