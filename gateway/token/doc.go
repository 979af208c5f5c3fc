// Package token keeps a value that expires and that only one process should
// fetch: an account's access_token or its jsapi_ticket.
//
// A Keeper fetches once however many ask, renews before the value ends, serves
// the old value while the new one is fetched, to its last second, and reads the
// last one back after a restart. It knows nothing of WeChat's HTTP API: Config
// names a function that fetches, and a Policy that says when.
//
//	k := token.New(token.Config{
//		Name:   "access_token wx1234",
//		Fetch:  issuer.Token,
//		Policy: token.Stable(),
//		Cache:  token.NewFile("/var/cache/wx", "wx1234", "token"),
//	})
//	k.Start()
//	defer k.Stop()
//	value, err := k.Token(ctx)
//	…
//	value, err = k.Renew(ctx, value) // WeChat answered 40001 to it
//
// Values are secrets: none ever appears in an error or a log line of this
// package.
package token
