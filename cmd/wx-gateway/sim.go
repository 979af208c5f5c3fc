package main

import (
	"context"
	"fmt"
	"io"

	"wx-gateway/conf"
	"wx-gateway/gateway/sim"
)

// simulate plays WeChat. With --conf or CONF_FILE it knows the accounts of
// that file.
func simulate(ctx context.Context, args []string, getenv func(string) (string, bool), stdout, stderr io.Writer) int {
	file, args := sim.SplitConf(args)
	if file == "" {
		file, _ = getenv("CONF_FILE")
	}
	var accounts []sim.Account
	if file != "" {
		cfg, _, err := conf.Load(file, getenv)
		if err != nil {
			fmt.Fprintln(stderr, err)
			return 1
		}
		for _, s := range cfg.Services {
			accounts = append(accounts, sim.Account{
				AppID: s.AppID, Secret: s.AppSecret.Reveal(), Token: s.Token.Reveal(),
				AESKey: s.AESKey.Reveal(), Kind: string(s.Kind),
			})
		}
	}
	return sim.Run(ctx, args, accounts, stdout, stderr)
}
