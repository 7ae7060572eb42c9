// Package portalgate prepares requests for forwardAuth, which asks the portal; or answers that the portal is unavailable.
package portalgate

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
)

// Query string and body that the portal authorizes have at most 64 KB.
const maxBody = 65536

// The paths that the proxies let through; every other spelling of a path may mean another route to the exchange.
var paths = regexp.MustCompile(`^(/[A-Za-z0-9_~:@,+-][A-Za-z0-9._~:@,+-]*)+/?$`)
var targets = regexp.MustCompile(`^[!-~]*$`)

// Headers of the client that do not reach the portal or the exchange: what only the portal and Traefik say, and other names
// that servers read an address, a target or a method from. SECURITY: "Connection: X-Portal-User" would make Traefik remove
// that header on the way to the exchange. After an upgrade, nothing that is sent would be authorized.
var removed = regexp.MustCompile(`(?i)^(x-(portal|required|original|http-method)-.*|x-http-method|x-method-override|` +
	`x-rewrite-url|x-forwarded-(method|uri|prefix)|forwarded|connection|upgrade|.*_.*)$`)

// Config has no options for the gate itself. Unavailable: answer each request with 503.
type Config struct {
	Unavailable bool `json:"unavailable,omitempty"`
}

// CreateConfig is called by Traefik.
func CreateConfig() *Config { return &Config{} }

type gate struct {
	next        http.Handler
	unavailable bool
}

// New is called by Traefik.
func New(_ context.Context, next http.Handler, config *Config, _ string) (http.Handler, error) {
	return &gate{next, config.Unavailable}, nil
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if g.unavailable {
		answer(w, 503, `{"code": -1001, "msg": "Internal error; unable to process your request. Please try again."}`)
		return
	}
	target := r.URL.RequestURI()
	if !targets.MatchString(target) {
		answer(w, 400, `{"code": -1022, "msg": "Signature for this request is not valid."}`)
		return
	}
	if !paths.MatchString(strings.SplitN(target, "?", 2)[0]) {
		answer(w, 400, `{"code": -1000, "msg": "This is no path of the API."}`)
		return
	}
	if r.Body != nil && r.Body != http.NoBody {
		body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
		if err != nil {
			answer(w, 400, `{"code": -1000, "msg": "The request is malformed."}`)
			return
		}
		if len(body) > maxBody {
			answer(w, 413, `{"code": -1000, "msg": "The request is too large."}`)
			return
		}
		// The exchange gets the body with its length, and no fields behind it.
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		r.TransferEncoding = nil
		r.Trailer = nil
	}
	for name := range r.Header {
		if removed.MatchString(name) {
			delete(r.Header, name)
		}
	}
	address, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		answer(w, 400, `{"code": -1000, "msg": "The request is malformed."}`)
		return
	}
	r.Header.Set("X-Client-IP", address)
	g.next.ServeHTTP(w, r)
}

func answer(w http.ResponseWriter, status int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}
