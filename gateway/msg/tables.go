package msg

import "strings"

// isHeader reports whether name is one of the elements that are never arrays,
// and whether the last of several counts instead of the first.
func isHeader(name string) (last, ok bool) {
	switch name {
	case "ToUserName", "FromUserName", "CreateTime", "MsgType", "Event":
		return false, true
	case "MsgId", "MsgID":
		return true, true
	}
	return false, false
}

// comesOnce reports whether WeChat sends an element of this name at most once
// beside the header. A second one means that a text broke out of its CDATA
// section: most of these hold what a user typed, drew or scanned.
func comesOnce(name string) bool {
	switch name {
	case "Content", "Title", "Description", "Url", "Label", "Recognition", "EventKey", "PagePath", "SessionFrom",
		"InfoType", "Encrypt":
		return true
	}
	return false
}

// isList reports whether elements of this name are an array, be there one,
// many or an empty one.
func isList(name string) bool {
	switch name {
	case "List", "item", "Item", "AroundBeacon", "Actions", "DetailList", "detail", "fail_idx", "material",
		"proof_material_id", "history", "media_id_list", "scene_group_ext_list":
		return true
	}
	return false
}

// isObject reports whether an empty element of this name is an object.
func isObject(name string) bool {
	switch name {
	case "PicList", "SendPicsInfo", "ScanCodeInfo", "SendLocationInfo":
		return true
	}
	return len(name) > len("Event") && strings.HasSuffix(name, "Event")
}

// isNumber reports whether an element of this name is a JSON number, at every
// depth. Ids are not among them: they exceed what JavaScript can hold.
func isNumber(name string) bool {
	switch name {
	case "CreateTime", "Scale", "Count", "TotalCount", "FilterCount", "SentCount", "ErrorCount", "ResultCount":
		return true
	}
	return false
}

// An extra is a top-level field that the backend finds although the push has
// no such element: flattened out of a nested one, or always present.
type extra struct {
	name string
	from string // path below the root, "" when there is nothing to flatten
	list listOf
}

// listOf tells what a flattened list is made of.
type listOf uint8

const (
	noList     listOf = iota
	ofStrings         // the text of each element
	ofElements        // each element as it is
)

// extras holds per kind the fields of go-wx-api's structs (msg_xml_receive.go):
// backends written for it rely on every one of them. A name ending in "_*"
// stands for all events that begin so.
var extras = map[string][]extra{
	"msg/text":       plain("MsgId", "Content"),
	"msg/image":      plain("MsgId", "PicUrl", "MediaId"),
	"msg/voice":      plain("MsgId", "MediaId", "Format", "Recognition"),
	"msg/video":      plain("MsgId", "MediaId", "ThumbMediaId"),
	"msg/shortvideo": plain("MsgId", "MediaId", "ThumbMediaId"),
	"msg/location":   plain("MsgId", "Location_X", "Location_Y", "Scale", "Label"),
	"msg/link":       plain("MsgId", "Title", "Description", "Url"),

	"event/CLICK":       plain("EventKey"),
	"event/VIEW":        plain("EventKey", "MenuId"),
	"event/subscribe":   plain("EventKey", "Ticket"),
	"event/unsubscribe": plain("EventKey", "Ticket"),
	"event/SCAN":        plain("EventKey", "Ticket"),
	"event/LOCATION":    plain("Latitude", "Longitude", "Precision"),
	"event/location":    plain("Location_X", "Location_Y", "Scale", "Label", "MsgId"),

	"event/pic_*": {
		{name: "EventKey"},
		{name: "Count", from: "SendPicsInfo/Count"},
		{name: "PicList", from: "SendPicsInfo/PicList/item/PicMd5Sum", list: ofStrings},
	},
	"event/scancode_*": {
		{name: "EventKey"},
		{name: "ScanType", from: "ScanCodeInfo/ScanType"},
		{name: "ScanResult", from: "ScanCodeInfo/ScanResult"},
	},
	"event/location_select": {
		{name: "Location_X", from: "SendLocationInfo/Location_X"},
		{name: "Location_Y", from: "SendLocationInfo/Location_Y"},
		{name: "Scale", from: "SendLocationInfo/Scale"},
		{name: "Label", from: "SendLocationInfo/Label"},
		{name: "MsgId"},
	},
	"event/MASSSENDJOBFINISH": {
		{name: "MsgID"}, {name: "Status"},
		{name: "TotalCount"}, {name: "FilterCount"}, {name: "SentCount"}, {name: "ErrorCount"},
		{name: "ResultCount", from: "CopyrightCheckResult/Count"},
		{name: "ResultList", from: "CopyrightCheckResult/ResultList/item", list: ofElements},
	},
	"event/TEMPLATESENDJOBFINISH": {
		{name: "MsgId", from: "MsgID"}, {name: "Status"},
	},
}

var (
	everyKnown   = plain("ToUserName", "FromUserName", "CreateTime") // of the kinds in extras
	everyMessage = plain("MsgId")                                    // of the kinds without an entry
)

func plain(names ...string) []extra {
	list := make([]extra, len(names))
	for i, name := range names {
		list[i].name = name
	}
	return list
}

// extrasOf returns the extra fields of m; known tells whether its kind has an
// entry of its own.
func extrasOf(m *Message) (list []extra, known bool) {
	switch m.MsgType {
	case "":
		return nil, false
	case "device_event":
		return nil, false
	case "event":
		if list, known = extras["event/"+m.Event]; known {
			return list, true
		}
		if begin, _, found := strings.Cut(m.Event, "_"); found {
			list, known = extras["event/"+begin+"_*"]
		}
		return list, known
	}
	if list, known = extras["msg/"+m.MsgType]; known {
		return list, true
	}
	return everyMessage, false
}
