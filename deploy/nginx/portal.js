// Authorizes a request with a body: the portal gets its method, query string and body, and the exchange gets the same.
// Used by gateway-njs.conf; njs 0.7 and later.

const UNAVAILABLE = '{"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}';
// The rejections of the contract. Any other status (403: wrong token; 5xx: no decision) is 503 for the client.
const REJECTIONS = [400, 401, 408, 413, 429];

async function authorize(r) {
    let reply;
    try {
        // Without a `body` of its own the sub-request has the body of this request, byte by byte.
        reply = await r.subrequest('/_portal_check', {method: r.method});
    } catch (error) {
        r.error(`portal: ${error}`);
        unavailable(r);
        return;
    }
    const headers = reply.headersOut;
    // SECURITY: only what the portal says of an allowed request; another server at its address does not.
    if (reply.status === 200 && headers['X-Portal-Security']) {
        r.variables.portal_user = headers['X-Portal-User'] || '';
        r.variables.portal_subject = headers['X-Portal-Subject'] || '';
        r.variables.portal_key = headers['X-Portal-Key'] || '';
        r.variables.portal_permissions = headers['X-Portal-Permissions'] || '';
        r.variables.portal_checked = headers['X-Portal-Security'];
        r.internalRedirect('@exchange');
        return;
    }
    if (!REJECTIONS.includes(reply.status) || !reply.responseText) {
        unavailable(r);
        return;
    }
    if (headers['Retry-After']) {
        r.headersOut['Retry-After'] = headers['Retry-After'];
    }
    r.headersOut['Content-Type'] = 'application/json';
    r.return(reply.status, reply.responseText);
}

function unavailable(r) {
    r.headersOut['Content-Type'] = 'application/json';
    r.return(503, UNAVAILABLE);
}

export default {authorize};
