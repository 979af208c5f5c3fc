package sim

import (
	"strings"

	"wx-gateway/gateway/codec"
)

// shopOnly refuses accounts that are known to be something else.
func shopOnly(a *account) *apiError {
	if a.Kind != "" && a.Kind != KindShop {
		return refuse(48001)
	}
	return nil
}

// orderID reads an id that may come as a string or as a number; digits only.
func orderID(raw codec.RawMessage) (string, bool) {
	s := strings.Trim(string(raw), `"`)
	if s == "" || len(s) > 32 || strings.Trim(s, "0123456789") != "" {
		return "", false
	}
	return s, true
}

// order is POST channels/ec/order/get: an invented order under the id that was
// asked for. Ids are digits beyond 2^53, as strings and, where WeChat does so, as
// numbers.
func (p *Platform) order(c *call) (any, *apiError) {
	if refusal := shopOnly(c.acct); refusal != nil {
		return nil, refusal
	}
	var q struct {
		ID codec.RawMessage `json:"order_id"`
	}
	if refusal := c.json(&q); refusal != nil {
		return nil, refusal
	}
	id, ok := orderID(q.ID)
	if !ok {
		return nil, refuse(40097)
	}
	return map[string]any{
		"errcode": 0,
		"errmsg":  "ok",
		"order": map[string]any{
			"order_id":    id,
			"openid":      invent("o", 28, c.acct.AppID, id),
			"unionid":     "",
			"create_time": 1767000000,
			"update_time": 1767000123,
			"status":      20,
			"order_detail": map[string]any{
				"product_infos": []map[string]any{{
					"product_id": codec.Number("10000076089602901"), // a number in some answers
					"sku_id":     codec.Number("23342342342342343"),
					"sku_cnt":    2,
					"title":      "示例商品 A&B <限量>",
					"sale_price": 20000,
					"sku_attrs":  []map[string]any{{"attr_key": "颜色", "attr_value": "红"}},
				}},
				"pay_info":   map[string]any{"transaction_id": "4200001234202601011234567890", "pay_time": 1767000100},
				"price_info": map[string]any{"product_price": 40000, "order_price": 40500, "freight": 500},
				"ext_info":   map[string]any{"customer_notes": "", "merchant_notes": ""},
			},
			"aftersale_detail": map[string]any{
				"aftersale_order_list":   []map[string]any{{"aftersale_order_id": codec.Number("2000000000123456789"), "status": "MERCHANT_PROCESSING"}},
				"on_aftersale_order_cnt": 1,
			},
		},
	}, nil
}

// aftersale is POST channels/ec/aftersale/getaftersaleorder.
func (p *Platform) aftersale(c *call) (any, *apiError) {
	if refusal := shopOnly(c.acct); refusal != nil {
		return nil, refusal
	}
	var q struct {
		ID codec.RawMessage `json:"after_sale_order_id"`
	}
	if refusal := c.json(&q); refusal != nil {
		return nil, refusal
	}
	id, ok := orderID(q.ID)
	if !ok {
		return nil, refuse(40097)
	}
	return map[string]any{
		"errcode": 0,
		"errmsg":  "ok",
		"after_sale_order": map[string]any{
			"after_sale_order_id": id,
			"status":              "USER_CANCELD", // WeChat's own spelling
			"openid":              invent("o", 28, c.acct.AppID, id),
			"order_id":            "3705115058471208928",
			"product_info":        map[string]any{"product_id": "10000076089602901", "sku_id": "23342342342342343", "count": 1},
			"details":             map[string]any{"desc": "尺码不合适", "receive_product": false, "cancel_time": 0, "media_id_list": []string{}},
			"refund_info":         map[string]any{"amount": 20000, "refund_reason": 2},
			"create_time":         1767000200,
			"update_time":         1767000300,
			"reason":              "INCORRECT_SELECTION",
			"reason_text":         "拍错/多拍",
			"type":                "REFUND",
		},
	}, nil
}
