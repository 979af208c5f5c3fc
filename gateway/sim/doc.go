// Package sim is a WeChat platform on this machine, so that a server for
// official accounts can be tried and tested without an account or internet.
//
// It has two halves that meet only in the server under test:
//
//   - Platform answers what WeChat's API hosts answer: tokens that are really
//     issued, expire and die, users, QR codes, menus, media, customer-service
//     messages, shop orders, web authorization. Faults are set on demand.
//   - Push sends one message or event the way WeChat does: signed, plain,
//     compatible or sealed, cut after five seconds and repeated to the letter.
//     What WeChat does not document is a Schedule that can be set, so that
//     nothing rests on one guess.
//
// The package speaks net/http and parses with encoding/xml on purpose: it shares
// only the envelope (gateway/crypt) and the JSON codec with the gateway, and it
// works against any server.
//
//	p := sim.New(sim.Config{Accounts: []sim.Account{{AppID: "wx…", Secret: "…"}}})
//	base, err := p.Start("127.0.0.1:0") // wx-api-base, wx-open-base, wx-mp-base
//	defer p.Close()
//
//	push := sim.Push{URL: "http://127.0.0.1:8080/wx", Token: "…", Body: sim.Fields{Content: "你好"}.XML()}
//	result, err := push.Send(ctx, sim.WeChat())
//
// It refuses to know anything about the gateway's own endpoints or files.
package sim
