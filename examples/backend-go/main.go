// Command backend-go is a business backend behind wx-gateway: plain JSON comes
// in by POST, plain JSON goes out.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"os"
)

type push struct {
	FromUserName, Content, MediaId, EventKey string
	UserInfo                                 struct{ Nickname string } `json:"userInfo"`
}

func reply(w http.ResponseWriter, answer map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(answer)
}

func handle(pattern string, answer func(push) map[string]any) {
	http.HandleFunc("POST "+pattern, func(w http.ResponseWriter, r *http.Request) {
		var p push
		if err := json.NewDecoder(r.Body).Decode(&p); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		reply(w, answer(p))
	})
}

func main() {
	handle("/msg/text", func(p push) map[string]any {
		return map[string]any{"type": "text", "msg": "You said: " + p.Content}
	})
	handle("/msg/image", func(p push) map[string]any {
		return map[string]any{"type": "image", "msg": p.MediaId}
	})
	handle("/event/subscribe", func(p push) map[string]any {
		return map[string]any{"type": "news", "articles": []map[string]string{{
			"title": "Welcome", "desc": "Read this first",
			"picUrl": "https://example.com/welcome.jpg", "url": "https://example.com/welcome",
		}}}
	})
	handle("/event/CLICK", func(p push) map[string]any {
		return map[string]any{"type": "text", "msg": "You clicked " + p.EventKey}
	})
	handle("/login", func(p push) map[string]any {
		return map[string]any{"hello": p.UserInfo.Nickname}
	})
	handle("/", func(push) map[string]any { return map[string]any{"type": "success"} })

	addr := "127.0.0.1:7070"
	if a := os.Getenv("LISTEN"); a != "" {
		addr = a
	}
	log.Println("backend listens on", addr)
	log.Fatal(http.ListenAndServe(addr, nil))
}
