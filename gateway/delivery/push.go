package delivery

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"log/slog"
	"strings"
	"time"
)

// ID is the key of a push: the same for WeChat's retries and for every
// redelivery. It is the first half of a SHA-256, so its text has 32 hex digits.
type ID [16]byte

// String is the push id as backends see it in X-Wx-Push-Id.
func (id ID) String() string {
	var text [2 * len(id)]byte
	hex.Encode(text[:], id[:])
	return string(text[:])
}

// LogValue has String made only where a log line is written.
func (id ID) LogValue() slog.Value { return slog.StringValue(id.String()) }

// ParseID reads a push id; false when s is none.
func ParseID(s string) (id ID, ok bool) {
	if len(s) != 2*len(id) {
		return id, false
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err == nil
}

// MakeID computes the key of a push from its parts, each with its length in
// front so that no two pushes can share one. The caller gives service name,
// FromUserName, CreateTime, MsgType, Event, and MsgId, else MsgID, else the
// opened body. A body counts by its hash.
func MakeID(service, from, createTime, msgType, event, msgID string, body []byte) ID {
	var digest [sha256.Size]byte
	last := msgID
	if last == "" {
		digest = sha256.Sum256(body)
		last = string(digest[:])
	}
	buf := make([]byte, 0, 256)
	for _, part := range [...]string{service, from, createTime, msgType, event, last} {
		buf = binary.BigEndian.AppendUint32(buf, uint32(len(part)))
		buf = append(buf, part...)
	}
	digest = sha256.Sum256(buf)
	return ID(digest[:len(ID{})])
}

// Push is one push on its way: all its strings and bytes are its own, since it
// outlives the request that brought it.
type Push struct {
	ID       ID
	Service  string
	OpenID   string // FromUserName; some shop events have none
	Kind     string // "msg/text", "event/CLICK"
	Path     string // "/msg/text"
	Body     []byte // the backend's JSON, without userInfo
	Info     InfoMode
	Question string // the user's text, to name a late answer; "" for other kinds
	// Created is when the push arrived here first (wall clock).
	Created time.Time
	// Traceparent is the W3C header of the span that stands for the attempt
	// which brought the push; "" without tracing.
	Traceparent string
}

// InfoMode says which user info a push carries.
type InfoMode uint8

const (
	// NoInfo appends nothing.
	NoInfo InfoMode = iota
	// LookUp asks WeChat, through the cache.
	LookUp
	// Unsubscribed knows without asking: subscribe 0.
	Unsubscribed
)

// class is how the clock treats a kind of push.
type class struct {
	waits bool // a user waits for the answer: may be held beyond one attempt
	texts bool // an ack may be told as text
	quick bool // WeChat cuts after 3 s
}

// classes lists the kinds that differ from "answer within 4.5 s, no text".
// Every user message (msg/…) waits and takes a text.
// Cuts at 3 s: wechat-protocol "Delivery, retries, dedupe".
var classes = map[string]class{
	"event/CLICK":                                {waits: true, texts: true},
	"event/scancode_waitmsg":                     {waits: true, texts: true},
	"event/subscribe":                            {waits: true},
	"event/SCAN":                                 {waits: true},
	"event/channels_ec_vip_user_info_get":        {quick: true},
	"event/channels_ec_gen_order_info_init":      {quick: true},
	"event/channels_ec_order_use_vip_discount":   {quick: true},
	"event/channels_ec_order_unuse_vip_discount": {quick: true},
	"event/minigame_coin_deliver_completed":      {quick: true},
}

func classOf(kind string) class {
	if strings.HasPrefix(kind, "msg/") {
		return class{waits: true, texts: true}
	}
	if strings.HasPrefix(kind, "event/supply_order_") {
		return class{quick: true}
	}
	return classes[kind]
}
