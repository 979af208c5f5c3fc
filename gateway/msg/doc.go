// Package msg knows what the messages of WeChat look like, in both directions.
//
// A push comes in as XML or JSON. Parse reads it into a Message: the few
// header values the gateway itself acts upon, and the JSON object that the
// backend of the account receives. There is no type per message; small tables
// (tables.go) say which elements are lists, objects or numbers and which
// fields are always there. Text that real users send and a strict XML parser
// refuses (control characters, bad UTF-8, a nested "]]>", a bare "&") is
// cleaned first, so that no message is lost over it.
//
//	m, err := msg.Parse(body)
//	path, err := m.Path()                  // "/msg/text", "/event/CLICK"
//	post(base+path, msg.AppendUserInfo(nil, m.WithoutUserInfo(), userInfo, ""))
//
// An answer comes back as JSON. ParseAnswer reads it into Replies, and a Reply
// is written as passive XML, as WeChat's JSON form, or as the body of
// message/custom/send.
//
//	answer, err := msg.ParseAnswer(contentType, body)
//	out = answer.Replies[0].AppendXML(out, openid, account, now.Unix())
//
// The package refuses to know about HTTP, encryption and time. Nothing here
// panics on input, and no error quotes the text of a message.
package msg
