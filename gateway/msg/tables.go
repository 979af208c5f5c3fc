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
	slot slot // of elements of this name
}

// listOf tells what a flattened list is made of.
type listOf uint8

const (
	noList     listOf = iota
	ofStrings         // the text of each element
	ofElements        // each element as it is
)

// messageExtras and eventExtras hold per MsgType and Event the fields of
// go-wx-api's structs (msg_xml_receive.go): backends written for it rely on
// every one of them. A name ending in "_*" stands for all events that begin so.
var messageExtras = map[string][]extra{
	"text":       plain("MsgId", "Content"),
	"image":      plain("MsgId", "PicUrl", "MediaId"),
	"voice":      plain("MsgId", "MediaId", "Format", "Recognition"),
	"video":      plain("MsgId", "MediaId", "ThumbMediaId"),
	"shortvideo": plain("MsgId", "MediaId", "ThumbMediaId"),
	"location":   plain("MsgId", "Location_X", "Location_Y", "Scale", "Label"),
	"link":       plain("MsgId", "Title", "Description", "Url"),
}

var eventExtras = withSlots(map[string][]extra{
	"CLICK":       plain("EventKey"),
	"VIEW":        plain("EventKey", "MenuId"),
	"subscribe":   plain("EventKey", "Ticket"),
	"unsubscribe": plain("EventKey", "Ticket"),
	"SCAN":        plain("EventKey", "Ticket"),
	"LOCATION":    plain("Latitude", "Longitude", "Precision"),
	"location":    plain("Location_X", "Location_Y", "Scale", "Label", "MsgId"),

	"pic_*": {
		{name: "EventKey"},
		{name: "Count", from: "SendPicsInfo/Count"},
		{name: "PicList", from: "SendPicsInfo/PicList/item/PicMd5Sum", list: ofStrings},
	},
	"scancode_*": {
		{name: "EventKey"},
		{name: "ScanType", from: "ScanCodeInfo/ScanType"},
		{name: "ScanResult", from: "ScanCodeInfo/ScanResult"},
	},
	"location_select": {
		{name: "Location_X", from: "SendLocationInfo/Location_X"},
		{name: "Location_Y", from: "SendLocationInfo/Location_Y"},
		{name: "Scale", from: "SendLocationInfo/Scale"},
		{name: "Label", from: "SendLocationInfo/Label"},
		{name: "MsgId"},
	},
	"MASSSENDJOBFINISH": {
		{name: "MsgID"}, {name: "Status"},
		{name: "TotalCount"}, {name: "FilterCount"}, {name: "SentCount"}, {name: "ErrorCount"},
		{name: "ResultCount", from: "CopyrightCheckResult/Count"},
		{name: "ResultList", from: "CopyrightCheckResult/ResultList/item", list: ofElements},
	},
	"TEMPLATESENDJOBFINISH": {
		{name: "MsgId", from: "MsgID"}, {name: "Status"},
	},
})

var (
	everyKnown   = plain("ToUserName", "FromUserName", "CreateTime") // of the kinds in the tables
	everyMessage = plain("MsgId")                                    // of the kinds without an entry
)

func plain(names ...string) []extra {
	list := make([]extra, len(names))
	for i, name := range names {
		list[i] = extra{name: name, slot: slotOf(name)}
	}
	return list
}

func withSlots(table map[string][]extra) map[string][]extra {
	for _, list := range table {
		for i := range list {
			list[i].slot = slotOf(list[i].name)
		}
	}
	return table
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
		if list, known = eventExtras[m.Event]; known {
			return list, true
		}
		if begin, _, found := strings.Cut(m.Event, "_"); found {
			list, known = eventExtras[begin+"_*"]
		}
		return list, known
	}
	if list, known = messageExtras[m.MsgType]; known {
		return list, true
	}
	return everyMessage, false
}
