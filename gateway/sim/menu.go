package sim

import "wx-gateway/gateway/codec"

// createMenu is POST cgi-bin/menu/create; it checks what WeChat checks first.
func (p *Platform) createMenu(c *call) (any, *apiError) {
	type button struct {
		Name string             `json:"name"`
		Sub  []codec.RawMessage `json:"sub_button"`
	}
	var q struct {
		Button []button `json:"button"`
	}
	if refusal := c.json(&q); refusal != nil {
		return nil, refusal
	}
	if len(q.Button) < 1 || len(q.Button) > 3 {
		return nil, refuse(40016)
	}
	for _, b := range q.Button {
		if b.Name == "" || len(b.Name) > 16 {
			return nil, refuse(40018)
		}
		if len(b.Sub) > 5 {
			return nil, refuse(40023)
		}
		for _, raw := range b.Sub {
			var s button
			if codec.Unmarshal(raw, &s) != nil || s.Name == "" || len(s.Name) > 60 {
				return nil, refuse(40025)
			}
		}
	}
	c.acct.menu = append(codec.RawMessage(nil), c.body...)
	return nil, nil
}

func (p *Platform) getMenu(c *call) (any, *apiError) {
	if c.acct.menu == nil {
		return nil, refuse(46003)
	}
	return map[string]any{"menu": c.acct.menu}, nil
}

func (p *Platform) deleteMenu(c *call) (any, *apiError) {
	c.acct.menu = nil
	return nil, nil
}
