// Package endpoint answers the internal endpoints: what business systems ask
// the gateway to do with an account's access_token, which only one process may
// own. Names, nesting and messages of the answers are those of
// rosbit/go-wx-gateway, so that its callers need no change:
//
//	{"code":200,"msg":"OK", …}          and, with that HTTP status,
//	{"code":400,"msg":"s(ervice) parameter expected"}
//
// A refusal by WeChat is a 500 whose msg holds errcode and errmsg, with the
// errcode once more as a number.
//
// The package knows neither the configuration nor how tokens are kept: an
// Account is what one service offers, and Guarded puts a guard in front.
package endpoint
