// Package webauth answers WeChat's web authorization (网页授权): the browser
// comes back from WeChat with a code, the gateway finds out who that is, POSTs
// the answer to redirect-url and relays the response to the browser untouched.
//
//	browser ──GET redirect-path?code=…&state=…──▶ Handler ──sns/oauth2──▶ WeChat
//	        ◀──status, headers, cookies, body──           ──POST JSON──▶ redirect-url
//
// The backend sees the browser's own headers and cookies, and can trust that
// X-Wx-* and webhook-* are the gateway's. A code is exchanged once; the same
// phone repeating it within a minute is posted again with the same identity,
// anybody else who has got hold of it is refused.
//
// The package knows neither the configuration nor how tokens are kept.
package webauth
