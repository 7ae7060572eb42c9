// The OpenID provider that the tests log in with: oidc-provider with one client and any number of customers.
//
// usage: node provider.mjs PORT REDIRECT_URI CLIENT_SECRET
//
// A customer logs in by adding ?as=SUB to the address of the interaction. POST /control changes what it does:
//   {"rotate": "new id" | "same id"}   signs with a new key from now on
//   {"claims": {...}}                  overwrites claims of ID tokens; null removes one
//   {"header": {...}}, {"key": "other" | "secret" | "none"}   the same for their header and their signature
//   {"customer": {...}}                claims of the customer that logs in next
//   {"document": {...}}                overwrites entries of the discovery document
//   {"answer": {...}}                  overwrites entries of the token endpoint's answer
//   {"userinfo": {...}}                overwrites entries of the userinfo endpoint's answer
//   {"status": 503}                    every answer but that of /control has this status
//   {"logout": SUB, ...}               answers with a logout token for SUB, changed in the same ways
import { createServer } from 'node:http';
import { createHash, createHmac } from 'node:crypto';
import Provider from 'oidc-provider';
import * as jose from 'jose';

const [port, redirectUri, secret] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
let number = 0;
let keys, provider, handle, sent;
let fault = {};
let customer = {};

async function newKey(kid) {
  const { privateKey } = await jose.generateKeyPair('RS256', { extractable: true, modulusLength: 2048 });
  return { ...await jose.exportJWK(privateKey), kid, use: 'sig', alg: 'RS256' };
}

async function start(kid) {
  keys = [await newKey(kid)];
  provider = new Provider(issuer, {
    jwks: { keys },
    clients: [{
      client_id: 'portal',
      client_secret: secret,
      redirect_uris: [redirectUri],
      response_types: ['code'],
      grant_types: ['authorization_code'],
      backchannel_logout_uri: 'https://portal.test/oidc/backchannel-logout/',
      backchannel_logout_session_required: true,
    }],
    cookies: { keys: ['only for tests'] },
    claims: { openid: ['sub'], phone: ['phone_number', 'phone_number_verified'], profile: ['name'] },
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false }, backchannelLogout: { enabled: true } },
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (ctx, sub) => ({ accountId: sub, claims: () => ({ sub, ...customer }) }),
    ttl: { AccessToken: 600, AuthorizationCode: 60, Grant: 600, IdToken: 600, Interaction: 600, Session: 600 },
    // Nobody is asked for consent: the portal is the exchange's own.
    loadExistingGrant: async (ctx) => {
      const grant = new ctx.oidc.provider.Grant({
        clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId,
      });
      grant.addOIDCScope('openid phone profile');
      await grant.save();
      return grant;
    },
    // Logout tokens go to the test, which hands them to the portal.
    fetch: async (url, options) => {
      sent = new URLSearchParams(options.body).get('logout_token');
      return new Response('', { status: 200 });
    },
  });
  provider.on('server_error', (ctx, error) => console.error(error));
  provider.use(async (ctx, next) => {
    await next();
    if (ctx.path === '/token' && ctx.body?.id_token) {
      ctx.body = { ...ctx.body, id_token: await changed(ctx.body.id_token), ...fault.answer };
    }
    if (ctx.path === '/me' && fault.userinfo) ctx.body = { ...ctx.body, ...fault.userinfo };
    if (ctx.path.endsWith('/openid-configuration')) ctx.body = { ...ctx.body, ...fault.document };
  });
  handle = provider.callback();
}

const encoded = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

/** The token with the changes that were asked for, signed again as a faulty or hostile provider would. */
async function changed(token) {
  if (!fault.claims && !fault.header && !fault.key) return token;
  const claims = { ...jose.decodeJwt(token), ...fault.claims };
  for (const name of Object.keys(claims)) if (claims[name] === null) delete claims[name];
  const header = { ...jose.decodeProtectedHeader(token), ...fault.header };
  for (const name of Object.keys(header)) if (header[name] === null) delete header[name];
  if (fault.key === 'none') return `${encoded({ ...header, alg: 'none' })}.${encoded(claims)}.`;
  if (fault.key === 'secret' || fault.key === 'public') {
    // HMAC with what others know too: the client's secret, or the public key as text.
    const hmacKey = fault.key === 'secret'
      ? secret : await jose.exportSPKI(await jose.importJWK({ kty: 'RSA', n: keys[0].n, e: keys[0].e }, 'RS256'));
    const signed = `${encoded({ ...header, alg: 'HS256' })}.${encoded(claims)}`;
    return `${signed}.${createHmac('sha256', hmacKey).update(signed).digest('base64url')}`;
  }
  const key = fault.key === 'other' ? await newKey('other') : keys[0];
  const crit = Object.fromEntries((header.crit ?? []).map((name) => [name, true]));
  return new jose.SignJWT(claims).setProtectedHeader(header).sign(await jose.importJWK(key, 'RS256'), { crit });
}

async function body(request) {
  let text = '';
  for await (const chunk of request) text += chunk;
  return JSON.parse(text || '{}');
}

async function control(request, response) {
  const wanted = await body(request);
  const result = {};
  if (wanted.rotate) await start(wanted.rotate === 'same id' ? keys[0].kid : `key-${number += 1}`);
  fault = { claims: wanted.claims, header: wanted.header, key: wanted.key, document: wanted.document, answer: wanted.answer, status: wanted.status, userinfo: wanted.userinfo };
  customer = wanted.customer ?? {};
  if (wanted.logout) {
    const client = await provider.Client.find('portal');
    await client.backchannelLogout(wanted.logout, createHash('sha256').update(wanted.logout).digest('hex'));
    result.logout_token = await changed(sent);
    fault = {};
  }
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(result));
}

async function interaction(request, response, url) {
  const as = url.searchParams.get('as');
  if (as === null) {
    response.setHeader('content-type', 'text/html; charset=utf-8');
    response.end(`<!doctype html><title>Exchange</title><form>
      <label>Customer <input name="as"></label> <button>Log in</button></form>`);
    return;
  }
  const result = as === ''
    ? { error: 'access_denied', error_description: '<b>cancelled</b>' }
    : { login: { accountId: as } };
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: false });
}

await start('key-0');
createServer((request, response) => {
  const url = new URL(request.url, issuer);
  if (fault.status && url.pathname !== '/control') {
    response.statusCode = fault.status;
    response.end();
    return;
  }
  const work = url.pathname === '/control'
    ? control(request, response)
    : url.pathname.startsWith('/interaction/') ? interaction(request, response, url) : handle(request, response);
  Promise.resolve(work).catch((error) => {
    console.error(error);
    response.statusCode = 500;
    response.end();
  });
}).listen(Number(port), '127.0.0.1', () => console.log('listening'));
