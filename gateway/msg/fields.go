package msg

import (
	"bytes"
	"fmt"
)

// fields are the members of an object. They are found by plain name: lower
// case, without underscores. Of several of a name the last counts, and null
// counts as absent.
type fields []pair

type pair struct{ key, value []byte }

// fieldRoom holds the fields of what backends usually answer. Whoever reads
// fields keeps one on the stack.
type fieldRoom [6]pair

// readFields appends the members of obj to f.
func readFields(f fields, obj []byte) fields {
	for key, value := range members(obj) {
		f = append(f, pair{plainText(key), value})
	}
	return f
}

// find returns the value of the named member, nil when there is none.
func (f fields) find(name string) []byte {
	for i := len(f) - 1; i >= 0; i-- {
		if f[i].value[0] != 'n' && isPlainName(f[i].key, name) {
			return f[i].value
		}
	}
	return nil
}

// isPlainName reports whether plain is the plain name of key.
func isPlainName(key []byte, plain string) bool {
	n := 0
	for _, c := range key {
		switch {
		case c == '_':
			continue
		case 'A' <= c && c <= 'Z':
			c += 'a' - 'A'
		}
		if n == len(plain) || plain[n] != c {
			return false
		}
		n++
	}
	return n == len(plain)
}

func (f fields) has(name string) bool { return f.find(name) != nil }

// text returns the first of the named members that is there, as text: numbers
// and booleans as they are spelled.
func (f fields) text(names ...string) (s string, found bool, err error) {
	for _, name := range names {
		v := f.find(name)
		switch {
		case v == nil:
			continue
		case v[0] == '{' || v[0] == '[':
			return "", true, fmt.Errorf("field %q is not a string", name)
		}
		return scalar(v), true, nil
	}
	return "", false, nil
}

// reply reads the reply of the given type into r. The type's values stand at
// the top or, as WeChat writes them, in an object named after the type; that
// one wins.
func (f fields) reply(r *Reply, kind string) error {
	r.Type, r.Seal = kind, true
	in := f
	nested := kind
	if kind == "transfer_customer_service" {
		nested = "transinfo"
	}
	if v := f.find(nested); v != nil && v[0] == '{' {
		in = readFields(f, v)
	}
	first := fault{kind: kind}
	p := picker{in, &first}
	switch kind {
	case "text":
		p.need(&r.Text, "msg", "content")
	case "image", "voice", "mpnews":
		p.want(&r.MediaID, "msg", "mediaid")
	case "video":
		p.want(&r.MediaID, "msg", "mediaid")
		p.may(&r.ThumbMediaID, "thumbmediaid")
		r.Title, r.Description = "[no title]", "[no desc]"
		p.titles(r)
	case "music":
		p.want(&r.ThumbMediaID, "msg", "thumbmediaid")
		p.may(&r.MusicURL, "musicurl")
		p.may(&r.HQMusicURL, "hqmusicurl")
		p.titles(r)
	case "news":
		p.articles(r)
	case "transfer_customer_service":
		p.may(&r.KfAccount, "msg", "kfaccount")
	case "raw":
		p.raw(r)
	case "msgmenu":
		p.may(&r.Text, "msg", "headcontent", "head")
		p.may(&r.Menu.Tail, "tailcontent", "tail")
		p.menu(r)
	case "link":
		p.titles(r)
		p.want(&r.URL, "url")
		p.may(&r.PicURL, "picurl")
		p.may(&r.ThumbURL, "thumburl")
	case "miniprogrampage":
		p.titles(r)
		p.may(&r.AppID, "appid") // a mini program's own page needs none
		p.want(&r.PagePath, "pagepath")
		p.want(&r.ThumbMediaID, "msg", "thumbmediaid")
	case "mpnewsarticle":
		p.want(&r.MediaID, "msg", "articleid")
	case "wxcard":
		p.want(&r.MediaID, "msg", "cardid")
	default:
		return fmt.Errorf("unknown reply type %q", short(kind))
	}
	if r.KfAccount == "" && kind != "raw" {
		if v := in.find("customservice"); v != nil && v[0] == '{' {
			p.in = readFields(nil, v)
		}
		p.may(&r.KfAccount, "kfaccount")
	}
	return first.err
}

// A picker takes the values of one reply out of fields.
type picker struct {
	in fields
	*fault
}

// A fault is the first error of a picker, which names the field. It is apart
// from it because it leaves the function, and with it the fields would: they
// could not stay on the stack.
type fault struct {
	kind string
	err  error
}

func (f *fault) fail(format string, args ...any) {
	if f.err == nil {
		f.err = fmt.Errorf("%s reply: %w", f.kind, fmt.Errorf(format, args...))
	}
}

// may sets dst to the first of the named fields, and leaves it as it is where
// there is none.
func (p *picker) may(dst *string, names ...string) {
	if s, found, err := p.in.text(names...); err != nil {
		p.fail("%w", err)
	} else if found {
		*dst = s
	}
}

// need is may for a field that has to be there, be it empty.
func (p *picker) need(dst *string, names ...string) {
	s, found, err := p.in.text(names...)
	switch {
	case err != nil:
		p.fail("%w", err)
	case found:
		*dst = s
	default:
		p.fail("field %q is missing", names[0])
	}
}

// want is need for a field that must not be empty either.
func (p *picker) want(dst *string, names ...string) {
	p.need(dst, names...)
	if *dst == "" {
		p.fail("field %q is empty", names[0])
	}
}

func (p *picker) titles(r *Reply) {
	p.may(&r.Title, "title")
	p.may(&r.Description, "desc", "description")
}

func (p *picker) articles(r *Reply) {
	p.each("articles", maxArticles, func(item []byte) {
		var room fieldRoom
		a := picker{readFields(room[:0], item), p.fault}
		var out Article
		a.may(&out.Title, "title")
		a.may(&out.Description, "desc", "description")
		a.may(&out.PicURL, "picurl")
		a.may(&out.URL, "url")
		r.Articles = append(r.Articles, out)
	})
	if len(r.Articles) == 0 {
		p.fail("field %q is missing or empty", "articles")
	}
}

func (p *picker) menu(r *Reply) {
	p.each("list", maxMenuItems, func(item []byte) {
		var room fieldRoom
		m := picker{readFields(room[:0], item), p.fault}
		var out MenuItem
		m.want(&out.ID, "id")
		m.want(&out.Content, "content")
		r.Menu.Items = append(r.Menu.Items, out)
	})
	if len(r.Menu.Items) == 0 {
		p.fail("field %q is missing or empty", "list")
	}
}

// each calls read for up to limit objects of the array name; the rest is left
// out. The XML-like spelling {"item":[…]} is an array as well.
func (p *picker) each(name string, limit int, read func(item []byte)) {
	array := p.in.find(name)
	if array == nil {
		return
	}
	if array[0] == '{' {
		if item := readFields(nil, array).find("item"); item != nil {
			array = item
		}
	}
	if array[0] != '[' {
		p.fail("field %q is not an array", name)
		return
	}
	n := 0
	for item := range elements(array) {
		if item[0] != '{' {
			p.fail("%s[%d] is not an object", name, n)
			return
		}
		if n == limit {
			return
		}
		read(item)
		n++
	}
}

// raw takes a body that goes to WeChat as it is: text, or JSON to the letter.
func (p *picker) raw(r *Reply) {
	v := p.in.find("msg")
	if v == nil {
		p.fail("field %q is missing", "msg")
		return
	}
	if v[0] == '{' || v[0] == '[' {
		r.Raw = bytes.Clone(v)
	} else {
		r.Raw = []byte(scalar(v))
	}
	if seal := p.in.find("seal"); seal != nil {
		switch string(seal) {
		case "true":
		case "false":
			r.Seal = false
		default:
			p.fail("field %q is neither true nor false", "seal")
		}
	}
}
